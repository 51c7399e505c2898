//! Turns an object that cannot be understood into what must be left alone because of it.
//!
//! A newer definition, or a field that somebody broke, makes an object unreadable, not absent:
//! its numbers stay taken, and nothing that it may use goes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::resolve::Id;
use crate::world::{Key, Uid};

/// Objects that are there and cannot be understood, by kind and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unread(pub BTreeMap<Id, Unreadable>);

/// An object that cannot be understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unreadable {
    /// Its UID.
    pub uid: Uid,
    /// Why it cannot be understood.
    pub error: String,
    /// It was understood before, and stands among the others as it was then.
    pub known: bool,
    /// The numbers that are recorded in it.
    pub holds: Holds,
}

/// Numbers recorded in a status, as far as they can be found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Region and VNI, of networks and of tenants.
    pub vnis: Vec<(String, u32)>,
    /// Region and VRF table.
    pub tables: Vec<(String, u32)>,
    /// Router, interface and VLAN.
    pub vlans: Vec<((String, String), u32)>,
    /// Cluster and VMID.
    pub vmids: Vec<(String, u32)>,
    /// Network in the object's namespace, and address.
    pub addresses: Vec<(String, std::net::Ipv4Addr)>,
}

impl Holds {
    /// Reads what it can of an object; what is not where it should be is passed over.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let status = &object["status"];
        let mut holds = Self::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        if let Some(vni) = number(&status["vni"]) {
            holds.vnis.push((text(&status["region"]), vni));
        }
        for routing in list(&status["routing"]) {
            let region = text(&routing["region"]);
            let vni = number(&routing["l3vni"]).map(|vni| (region.clone(), vni));
            holds.vnis.extend(vni);
            let table = number(&routing["table"]).map(|table| (region, table));
            holds.tables.extend(table);
        }
        for vlan in list(&status["vlans"]) {
            let trunk = (text(&vlan["router"]), text(&vlan["interface"]));
            let number = number(&vlan["vlan"]).map(|number| (trunk, number));
            holds.vlans.extend(number);
        }
        if let Some(vmid) = crate::resolve::recorded_vmid(status["providerID"].as_str()) {
            holds.vmids.push((text(&status["cluster"]), vmid.get()));
        }
        for card in list(&status["addresses"]) {
            let address = card["address"].as_str().and_then(|a| a.parse().ok());
            let address = address.map(|address| (text(&card["network"]), address));
            holds.addresses.extend(address);
        }
        holds
    }
}

impl Unread {
    /// Whether this object cannot be understood as it is now: nothing is written to it.
    #[must_use]
    pub fn has(&self, id: &Id) -> bool {
        self.0.contains_key(id)
    }

    /// Those that stand nowhere else: of them nothing is known but their names and numbers.
    fn strangers(&self) -> impl Iterator<Item = (&Id, &Unreadable)> {
        self.0.iter().filter(|(_, object)| !object.known)
    }

    /// Those in a namespace.
    pub fn inside<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Id> {
        self.strangers()
            .map(|(id, _)| id)
            .filter(move |id| key(id).is_some_and(|key| key.namespace == namespace))
    }

    /// The instances in a namespace: each may have a card in any network there.
    pub fn instances<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Key> {
        self.inside(namespace).filter_map(|id| match id {
            Id::Instance(key) => Some(key),
            _ => None,
        })
    }

    /// Whether a network in a namespace is among them: it may be in the tenant's VRF.
    #[must_use]
    pub fn network_in(&self, namespace: &str) -> bool {
        self.inside(namespace)
            .any(|id| matches!(id, Id::Network(_)))
    }

    /// In words, all that may use a Provider or a Region: that is anything.
    pub fn anything(&self) -> impl Iterator<Item = String> {
        self.strangers()
            .map(|(id, _)| format!("{}, which cannot be read", words(id)))
    }

    /// The numbers of those that stand nowhere else, with the namespace that they are in.
    pub fn holds(&self) -> impl Iterator<Item = (&str, &Holds)> {
        self.strangers().map(|(id, object)| {
            let namespace = key(id).map_or("", |key| key.namespace.as_str());
            (namespace, &object.holds)
        })
    }
}

fn key(id: &Id) -> Option<&Key> {
    match id {
        Id::Region(_) | Id::Provider(_) | Id::Tenant(_) => None,
        Id::Network(key) | Id::Volume(key) | Id::Instance(key) => Some(key),
    }
}

/// An object's kind and name, for people.
#[must_use]
pub fn words(id: &Id) -> String {
    match id {
        Id::Region(name) => format!("region {name}"),
        Id::Provider(name) => format!("provider {name}"),
        Id::Tenant(name) => format!("tenant {name}"),
        Id::Network(key) => format!("network {key}"),
        Id::Volume(key) => format!("volume {key}"),
        Id::Instance(key) => format!("instance {key}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_in_what_cannot_be_understood() {
        let network = json!({"spec": {"ipv4": 7}, "status": {"region": "lab", "vni": 10_001,
            "vlans": [{"router": "r1", "interface": "eth2", "vlan": 101}, "?"],
            "targets": [{"reason": "AWordOfTomorrow"}]}});
        let holds = Holds::of(&network);
        assert_eq!(holds.vnis, [("lab".to_owned(), 10_001)]);
        let trunk = ("r1".to_owned(), "eth2".to_owned());
        assert_eq!(holds.vlans, [(trunk, 101)]);
        let instance = json!({"status": {"cluster": "c1", "providerID": "proxmox://c1/100007",
            "addresses": [{"network": "web", "address": "10.0.0.7"}, {"address": "broken"}]}});
        let holds = Holds::of(&instance);
        assert_eq!(holds.vmids, [("c1".to_owned(), 100_007)]);
        let address = "10.0.0.7".parse().unwrap();
        assert_eq!(holds.addresses, [("web".to_owned(), address)]);
        assert_eq!(Holds::of(&json!({"status": "?"})), Holds::default());
    }
}
