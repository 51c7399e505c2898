//! Turns a few words into a world of objects, and plays API, routers and clusters to it.
//!
//! Everything goes through the real types and the real decisions; what is played is only what
//! they talk to. A whole life of a tenant is so tested without any I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use bb_crds::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::guard::Deletes;
use crate::outcome::Outcomes;
use crate::resolve::Id;
use crate::status::Note;
use crate::vyos::Lines;
use crate::vyos::plan::marks;
use crate::world::{Key, Uid, World};

mod run;
mod targets;

use targets::{Cluster, Router};

/// The installation whose marks are ours.
pub(crate) const HERE: &str = "here";

/// A world, the targets it is put on, and a count of what it cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kit {
    pub(crate) world: World,
    pub(crate) outcomes: Outcomes,
    pub(crate) deletes: Deletes,
    pub(crate) routers: BTreeMap<String, Router>,
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// Writes to the API, finalizers included.
    pub(crate) writes: BTreeMap<Id, usize>,
    pub(crate) events: Vec<(Id, Note)>,
    second: i64,
    serial: u64,
    turn: usize,
    /// How many are given an identity in one pass, where that is bounded.
    pub(crate) most: Option<usize>,
    /// Objects that the API does not take changes of.
    pub(crate) resting: BTreeSet<Id>,
    /// How many passes over the objects there were.
    pub(crate) passes: u64,
}

/// The id of a network, and so on: `acme/web`.
pub(crate) fn network(name: &str) -> Id {
    Id::Network(key(name))
}

pub(crate) fn volume(name: &str) -> Id {
    Id::Volume(key(name))
}

pub(crate) fn instance(name: &str) -> Id {
    Id::Instance(key(name))
}

pub(crate) fn tenant(name: &str) -> Id {
    Id::Tenant(name.to_owned())
}

pub(crate) fn provider(name: &str) -> Id {
    Id::Provider(name.to_owned())
}

pub(crate) fn region(name: &str) -> Id {
    Id::Region(name.to_owned())
}

/// The key that `NAMESPACE/NAME` stands for.
pub(crate) fn key(name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap();
    Key::new(namespace, name)
}

impl Kit {
    /// The lab's fabric: zones north and south, a router and a cluster in each.
    pub(crate) fn two_sites() -> Self {
        static KIT: LazyLock<Kit> = LazyLock::new(Kit::make_two_sites);
        KIT.clone()
    }

    fn make_two_sites() -> Self {
        let mut kit = Self::default();
        let attachment = |zone, cluster, router| {
            json!({"name": zone, "cluster": cluster, "vlan":
                {"router": router, "interface": "eth2", "bridge": "vmbr1", "vlans": "100-3999"}})
        };
        kit.apply(
            &region("lab"),
            json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999", "mtu": 9000,
                "attachments": [attachment("north", "c1", "r1"), attachment("south", "c2", "r2")]}),
        );
        kit.router("r1", "north", "10.255.0.1");
        kit.router("r2", "south", "10.255.0.2");
        kit.cluster("c1", "north");
        kit.cluster("c2", "south");
        kit
    }

    /// Two sites and the tenant acme with a stretched network `web` and a plain one `db`,
    /// all of it Ready.
    pub(crate) fn acme() -> Self {
        static KIT: LazyLock<Kit> = LazyLock::new(Kit::make_acme);
        KIT.clone()
    }

    fn make_acme() -> Self {
        let mut kit = Self::two_sites();
        kit.tenant("acme");
        kit.network(
            "acme/web",
            json!({"ipv4": {"prefix": "10.10.0.0/24",
            "dhcp": {"from": "10.10.0.200", "to": "10.10.0.220"}}}),
        );
        kit.network(
            "acme/db",
            json!({"zones": ["north"], "ipv4": {"prefix": "10.10.1.0/24"}}),
        );
        kit.settle();
        kit
    }

    pub(crate) fn router(&mut self, name: &str, zone: &str, id: &str) {
        self.apply(
            &provider(name),
            json!({"region": "lab", "zone": zone, "vyos": {"endpoint": format!("https://{name}"),
                "credentials": {"secret": name}, "tls": {"caSecret": "ca"}, "routerId": id}}),
        );
        self.routers.insert(name.to_owned(), Router::default());
    }

    pub(crate) fn cluster(&mut self, name: &str, zone: &str) {
        self.apply(
            &provider(name),
            json!({"region": "lab", "zone": zone, "proxmox": {
                "endpoints": [format!("https://{name}:8006")],
                "credentials": {"secret": name}, "tls": {"caSecret": "ca"},
                "vmids": "100000-199999", "pool": "bitbuilder", "holder": 900,
                "storage": [{"name": "ssd", "storage": "ceph"}, {"name": "local", "storage": "local"}],
                "images": [
                    {"name": "debian-12", "template": 9000},
                    {"name": "alpine", "archive": "local:vztmpl/alpine.tar.zst", "class": "local"}]}}),
        );
        self.clusters.insert(name.to_owned(), Cluster::default());
    }

    pub(crate) fn tenant(&mut self, name: &str) {
        self.apply(&tenant(name), json!({}));
    }

    pub(crate) fn network(&mut self, name: &str, spec: Value) {
        self.apply(&network(name), spec);
    }

    pub(crate) fn volume(&mut self, name: &str, spec: Value) {
        self.apply(&volume(name), spec);
    }

    pub(crate) fn instance(&mut self, name: &str, spec: Value) {
        self.apply(&instance(name), spec);
    }

    /// A machine with one card of the network's name and nothing else.
    pub(crate) fn machine(&mut self, name: &str, network: &str) {
        self.instance(
            name,
            json!({"image": "debian-12", "networks": [{"name": network, "network": network}]}),
        );
    }

    /// Creates an object, a second younger than the last, or gives it another spec.
    pub(crate) fn apply(&mut self, id: &Id, spec: Value) {
        self.second += 1;
        if self.get(id).is_some() {
            self.edit(id, |object| object["spec"] = spec);
            return;
        }
        self.serial += 1;
        let mut meta = json!({
            "uid": format!("00000000-0000-4000-8000-{:012}", self.serial),
            "generation": 1,
            "creationTimestamp": self.now(),
        });
        match id {
            Id::Region(name) | Id::Provider(name) | Id::Tenant(name) => meta["name"] = json!(name),
            Id::Network(key) | Id::Volume(key) | Id::Instance(key) => {
                meta["name"] = json!(key.name);
                meta["namespace"] = json!(key.namespace);
            }
        };
        let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind_of(id),
            "metadata": meta, "spec": spec});
        put(&mut self.world, id, object);
    }

    /// The object as the API would show it.
    pub(crate) fn get(&self, id: &Id) -> Option<Value> {
        let w = &self.world;
        match id {
            Id::Region(name) => shown(w.regions.get(name)),
            Id::Provider(name) => shown(w.providers.get(name)),
            Id::Tenant(name) => shown(w.tenants.get(name)),
            Id::Network(key) => shown(w.networks.get(key)),
            Id::Volume(key) => shown(w.volumes.get(key)),
            Id::Instance(key) => shown(w.instances.get(key)),
        }
    }

    /// Changes an object as a person would; a changed spec is a new generation.
    pub(crate) fn edit(&mut self, id: &Id, change: impl FnOnce(&mut Value)) {
        let before = self.get(id).unwrap();
        let mut after = before.clone();
        change(&mut after);
        if after["spec"] != before["spec"] {
            after["metadata"]["generation"] =
                json!(before["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        put(&mut self.world, id, after);
    }

    /// Changes one field of a spec.
    pub(crate) fn set(&mut self, id: &Id, field: &str, value: Value) {
        self.edit(id, |o| o["spec"][field] = value);
    }

    pub(crate) fn pause(&mut self, id: &Id) {
        self.edit(id, |o| {
            o["metadata"]["annotations"] = json!({bb_crds::PAUSED: "true"});
        });
    }

    pub(crate) fn resume(&mut self, id: &Id) {
        self.edit(id, |o| o["metadata"]["annotations"] = json!({}));
    }

    /// Deletes an object as the API does: at once without finalizers, else by a mark.
    pub(crate) fn delete(&mut self, id: &Id) {
        let object = self.get(id).unwrap();
        let held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if !held {
            remove(&mut self.world, id);
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            let now = self.now();
            self.edit(id, |o| o["metadata"]["deletionTimestamp"] = json!(now));
        }
    }

    /// Puts an object there as it is.
    pub(crate) fn put(&mut self, id: &Id, object: Value) {
        put(&mut self.world, id, object);
    }

    /// Takes an object away as if nothing of it had been left anywhere.
    pub(crate) fn vanish(&mut self, id: &Id) {
        remove(&mut self.world, id);
    }

    pub(crate) fn gone(&self, id: &Id) -> bool {
        self.get(id).is_none()
    }

    /// Status, reason and message of a condition.
    pub(crate) fn condition(&self, id: &Id, type_: &str) -> (String, String, String) {
        let object = self.get(id).unwrap_or_default();
        let found = object["status"]["conditions"]
            .as_array()
            .and_then(|list| list.iter().find(|c| c["type"] == type_).cloned())
            .unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    pub(crate) fn ready(&self, id: &Id) -> bool {
        self.condition(id, "Ready").0 == "True"
    }

    /// Why it is not Ready, and the words for it.
    pub(crate) fn unready(&self, id: &Id) -> (Reason, String) {
        let (status, reason, message) = self.condition(id, "Ready");
        assert_eq!(status, "False", "{id:?} {reason}: {message}");
        let reason = Reason::ALL.into_iter().find(|r| r.as_str() == reason);
        (reason.unwrap(), message)
    }

    /// A value of the status by path, such as `/vni`; the empty path is all of it.
    pub(crate) fn status(&self, id: &Id, path: &str) -> Value {
        let status = &self.get(id).unwrap()["status"];
        status.pointer(path).cloned().unwrap_or_default()
    }

    pub(crate) fn uid(&self, id: &Id) -> Uid {
        self.get(id).unwrap()["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn now(&self) -> Time {
        Time(Timestamp::from_second(1_750_000_000 + self.second).unwrap())
    }

    /// What the routers run and the clusters have.
    pub(crate) fn on_targets(&self) -> (Vec<Lines>, Vec<Cluster>) {
        let routers = self.routers.values().map(|r| r.running.clone());
        (routers.collect(), self.clusters.values().cloned().collect())
    }

    /// The objects of which something is on a router or a cluster.
    pub(crate) fn owners_on_targets(&self) -> BTreeSet<Uid> {
        let marked = self
            .routers
            .values()
            .flat_map(|r| marks(HERE, &r.running).into_values());
        let guests = self
            .clusters
            .values()
            .flat_map(|c| c.guests.keys().cloned());
        let volumes = self
            .clusters
            .values()
            .flat_map(|c| c.volumes.keys().cloned());
        marked.chain(guests).chain(volumes).collect()
    }

    /// Every object.
    pub(crate) fn ids(&self) -> Vec<Id> {
        let w = &self.world;
        let regions = w.regions.keys().cloned().map(Id::Region);
        let providers = w.providers.keys().cloned().map(Id::Provider);
        let tenants = w.tenants.keys().cloned().map(Id::Tenant);
        let networks = w.networks.keys().cloned().map(Id::Network);
        let volumes = w.volumes.keys().cloned().map(Id::Volume);
        let instances = w.instances.keys().cloned().map(Id::Instance);
        let all = regions.chain(providers).chain(tenants).chain(networks);
        all.chain(volumes).chain(instances).collect()
    }
}

fn kind_of(id: &Id) -> &'static str {
    match id {
        Id::Region(_) => "Region",
        Id::Provider(_) => "Provider",
        Id::Tenant(_) => "Tenant",
        Id::Network(_) => "Network",
        Id::Volume(_) => "Volume",
        Id::Instance(_) => "Instance",
    }
}

fn shown<T: Serialize>(object: Option<&Arc<T>>) -> Option<Value> {
    object.map(|o| serde_json::to_value(o.as_ref()).unwrap())
}

fn put(world: &mut World, id: &Id, object: Value) {
    fn typed<T: DeserializeOwned>(object: Value) -> Arc<T> {
        let text = object.to_string();
        Arc::new(serde_json::from_value(object).unwrap_or_else(|e| panic!("{e}: {text}")))
    }
    match id {
        Id::Region(name) => drop(world.regions.insert(name.clone(), typed(object))),
        Id::Provider(name) => drop(world.providers.insert(name.clone(), typed(object))),
        Id::Tenant(name) => drop(world.tenants.insert(name.clone(), typed(object))),
        Id::Network(key) => drop(world.networks.insert(key.clone(), typed(object))),
        Id::Volume(key) => drop(world.volumes.insert(key.clone(), typed(object))),
        Id::Instance(key) => drop(world.instances.insert(key.clone(), typed(object))),
    }
}

fn remove(world: &mut World, id: &Id) {
    match id {
        Id::Region(name) => drop(world.regions.remove(name)),
        Id::Provider(name) => drop(world.providers.remove(name)),
        Id::Tenant(name) => drop(world.tenants.remove(name)),
        Id::Network(key) => drop(world.networks.remove(key)),
        Id::Volume(key) => drop(world.volumes.remove(key)),
        Id::Instance(key) => drop(world.instances.remove(key)),
    }
}
