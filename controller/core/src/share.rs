//! Turns who lacks something into who is given it in this pass, tenants in turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::outside::Outside;
use crate::resolve::{Id, InstanceR, NetworkR, Resolved};
use crate::world::{Key, World};

/// How much is given out in one pass, and to whom not.
///
/// What is given out moves a cursor, and is to be on record before the next pass, which would
/// give it out once more; so no more is given than is written in a moment.
#[derive(Clone)]
pub struct Share<'a> {
    /// The most Networks that are given something. More than of Instances: a router is paid by
    /// the list, and what comes at once goes in one.
    pub networks: usize,
    /// The most Instances that are given something.
    pub instances: usize,
    /// The number of the pass: the tenant that is first is another one in each.
    pub turn: u64,
    /// Objects that the API did not take the last change of. Neither they nor what they have
    /// the cursor of are given anything until they are tried again.
    pub resting: &'a BTreeSet<Id>,
    /// What the targets were seen to have: no number is given that is in use there, and none
    /// before they were looked at. `None` where there is nothing outside.
    pub outside: Option<&'a Outside<'a>>,
}

/// The most Instances that are given something in one pass.
pub const MOST: usize = 64;
/// The most of the first of several such passes: who comes first can be begun, and does not wait
/// until all that came along are written as well.
pub const FIRST: usize = 16;
/// The least that the most may come to.
pub const LEAST: usize = 8;
/// How long writing what was given may keep the next pass waiting, and all that is new with it.
const AIM: Duration = Duration::from_millis(150);

/// How many Instances may be given something in the next pass, when so many might be in the last
/// and writing what was given took so long: an API server that is busy is given less to do
/// before others have their turn.
#[must_use]
pub fn next(instances: usize, took: Duration) -> usize {
    let next = if took > 2 * AIM {
        instances / 2
    } else if took < AIM {
        instances.saturating_mul(2)
    } else {
        instances
    };
    next.clamp(LEAST, MOST)
}

/// Nobody rests.
static NOBODY: BTreeSet<Id> = BTreeSet::new();

impl Share<'static> {
    /// Everybody is given what they lack.
    #[must_use]
    pub fn everybody() -> Self {
        Self {
            networks: usize::MAX,
            instances: usize::MAX,
            turn: 0,
            resting: &NOBODY,
            outside: None,
        }
    }
}

impl Share<'_> {
    /// The Networks that lack something, in the order in which they are given it, and those
    /// that cannot be given anything now.
    pub(crate) fn networks(&self, world: &World, resolved: &Resolved) -> (Vec<Key>, Vec<Key>) {
        let routed = |network: &NetworkR| {
            let tenant = world.tenants.get(&network.tenant);
            let routing = tenant.and_then(|t| t.status.as_ref()).map(|s| &s.routing);
            let mut routing = routing.into_iter().flatten();
            routing.any(|r| r.region == network.region)
        };
        let lacking = resolved.networks.values().filter(|network| {
            let mut trunks = network.trunks.iter();
            let complete = trunks.all(|t| network.vlans.contains_key(&t.key));
            network.vni.is_none() || !complete || !routed(network)
        });
        let (able, unable) = lacking.partition(|network| {
            !self.rests(&Id::Network(network.key.clone()))
                && !self.rests(&Id::Region(network.region.clone()))
                && (routed(network) || !self.rests(&Id::Tenant(network.tenant.clone())))
        });
        (self.in_turn(able, self.networks), keys(unable))
    }

    /// The same of Instances, where these `waiting` have no numbers or no cursor.
    pub(crate) fn instances(
        &self,
        resolved: &Resolved,
        waiting: &BTreeSet<Id>,
    ) -> (Vec<Key>, Vec<Key>) {
        let lacking = resolved.instances.values().filter(|instance| {
            let mut nics = instance.nics.iter();
            instance.vmid.is_none() || nics.any(|nic| nic.recorded.is_none())
        });
        let (able, unable) = lacking.partition(|instance| {
            let networks = instance.nics.iter();
            let mut networks = networks.map(|nic| Id::Network(nic.network.clone()));
            !self.rests(&Id::Instance(instance.key.clone()))
                && !self.rests(&Id::Provider(instance.cluster.clone()))
                && networks.all(|id| !waiting.contains(&id) && !self.rests(&id))
        });
        (self.in_turn(able, self.instances), keys(unable))
    }

    /// Whether the routers were looked at that may have the numbers of a network.
    pub(crate) fn sees_network(&self, resolved: &Resolved, network: &NetworkR) -> bool {
        self.outside
            .is_none_or(|outside| outside.knows_region(resolved, &network.region))
    }

    /// Whether the clusters were looked at that may have the numbers of an instance.
    pub(crate) fn sees_instance(&self, resolved: &Resolved, instance: &InstanceR) -> bool {
        let networks = instance.nics.iter();
        let mut networks = networks.filter_map(|nic| resolved.networks.get(&nic.network));
        self.outside.is_none_or(|outside| {
            outside.knows_cluster(&instance.cluster)
                && networks.all(|network| outside.knows_network(network))
        })
    }

    fn rests(&self, id: &Id) -> bool {
        self.resting.contains(id)
    }

    /// As they are, where there is enough for all; else one of each tenant after the other.
    fn in_turn<T: Keyed>(&self, able: Vec<&T>, most: usize) -> Vec<Key> {
        if able.len() <= most {
            return keys(able);
        }
        let mut tenants: BTreeMap<&str, VecDeque<Key>> = BTreeMap::new();
        for item in able {
            let tenant = tenants.entry(&item.key().namespace).or_default();
            tenant.push_back(item.key().clone());
        }
        let mut queues: VecDeque<VecDeque<Key>> = tenants.into_values().collect();
        let first = self.turn % u64::try_from(queues.len()).unwrap_or(1);
        queues.rotate_left(usize::try_from(first).unwrap_or_default());
        let mut all = Vec::new();
        while let Some(mut queue) = queues.pop_front() {
            all.extend(queue.pop_front());
            if !queue.is_empty() {
                queues.push_back(queue);
            }
        }
        all
    }
}

/// What has a namespace and a name.
trait Keyed {
    fn key(&self) -> &Key;
}

impl Keyed for NetworkR {
    fn key(&self) -> &Key {
        &self.key
    }
}

impl Keyed for InstanceR {
    fn key(&self) -> &Key {
        &self.key
    }
}

fn keys<T: Keyed>(items: Vec<&T>) -> Vec<Key> {
    items.into_iter().map(|item| item.key().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_api_server_is_given_less_at_once_and_a_quick_one_more() {
        let mut instances = MOST;
        for _ in 0..10 {
            instances = next(instances, Duration::from_secs(1));
        }
        assert_eq!(instances, LEAST, "it goes on, however slow it is");
        assert_eq!(next(instances, AIM), LEAST);
        for _ in 0..10 {
            instances = next(instances, Duration::from_millis(20));
        }
        assert_eq!(instances, MOST);
    }
}
