//! Turns zones, vnets and subnets into a pending and a running view, with the global lock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Digest as _;

use crate::call::Call;
use crate::refusal::{Answer, Refusal};

/// Properties of one object.
pub(crate) type Object = BTreeMap<String, Value>;

/// All objects of the three kinds, by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objects {
    #[serde(default)]
    pub zones: BTreeMap<String, Object>,
    #[serde(default)]
    pub vnets: BTreeMap<String, Object>,
    #[serde(default)]
    pub subnets: BTreeMap<String, Object>,
}

/// Software defined networking: what is configured and what runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sdn {
    #[serde(default)]
    pub config: Objects,
    /// What the last apply put to work; `None` before the first.
    #[serde(default)]
    pub running: Option<Objects>,
    /// The token of the global lock.
    #[serde(default)]
    pub lock: Option<String>,
}

/// Which kind of object a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Zone,
    Vnet,
    Subnet,
}

impl What {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Vnet => "vnet",
            Self::Subnet => "subnet",
        }
    }

    fn of(self, objects: &Objects) -> &BTreeMap<String, Object> {
        match self {
            Self::Zone => &objects.zones,
            Self::Vnet => &objects.vnets,
            Self::Subnet => &objects.subnets,
        }
    }

    pub(crate) fn of_mut(self, objects: &mut Objects) -> &mut BTreeMap<String, Object> {
        match self {
            Self::Zone => &mut objects.zones,
            Self::Vnet => &mut objects.vnets,
            Self::Subnet => &mut objects.subnets,
        }
    }
}

pub(crate) const BAD_TOKEN: &str =
    "invalid lock token provided! at /usr/share/perl5/PVE/Network/SDN.pm line 291.";
pub(crate) const MODIFIED: &str =
    "detected modified configuration - file changed by other user? Try again.";

impl Sdn {
    /// The zone of a vnet.
    pub(crate) fn zone_of(&self, vnet: &str) -> Option<&str> {
        self.config.vnets.get(vnet)?.get("zone")?.as_str()
    }

    /// Whether a vnet is up, so that guests can be plugged into it.
    pub(crate) fn runs_vnet(&self, vnet: &str) -> bool {
        self.running
            .as_ref()
            .is_some_and(|r| r.vnets.contains_key(vnet))
    }

    pub(crate) fn running_zones(&self) -> Vec<String> {
        self.running
            .iter()
            .flat_map(|r| r.zones.keys().cloned())
            .collect()
    }

    pub(crate) fn has_pending(&self) -> bool {
        match &self.running {
            None => self.config != Objects::default(),
            Some(running) => *running != self.config,
        }
    }

    pub(crate) fn check_token(&self, token: Option<&str>) -> Answer<()> {
        match &self.lock {
            Some(held) if Some(held.as_str()) != token => Err(Refusal::fail(BAD_TOKEN)),
            _ => Ok(()),
        }
    }

    pub(crate) fn digest(&self, what: What) -> String {
        let text = json!(what.of(&self.config)).to_string();
        crate::model::hex(&sha2::Sha256::digest(text.as_bytes()))[..40].to_owned()
    }

    fn row(what: What, id: &str, object: &Object, digest: Value) -> Value {
        let mut row: Map<String, Value> = object.clone().into_iter().collect();
        row.insert(what.word().to_owned(), json!(id));
        if what == What::Subnet {
            row.insert("id".to_owned(), json!(id));
            row.entry("dhcp-range").or_insert(json!([]));
        }
        row.insert("digest".to_owned(), digest);
        Value::Object(row)
    }

    /// The list of one kind: configured, running, or with what is pending.
    pub(crate) fn list(&self, what: What, call: &Call<'_>) -> Vec<Value> {
        let none = BTreeMap::new();
        let running = self.running.as_ref().map_or(&none, |r| what.of(r));
        if call.p.flag("running") {
            let rows = running.iter();
            return rows
                .map(|(id, o)| Self::row(what, id, o, Value::Null))
                .collect();
        }
        let config = what.of(&self.config);
        if !call.p.flag("pending") {
            let digest = json!(self.digest(what));
            let rows = config.iter();
            return rows
                .map(|(id, o)| Self::row(what, id, o, digest.clone()))
                .collect();
        }
        let ids: std::collections::BTreeSet<&String> =
            config.keys().chain(running.keys()).collect();
        ids.into_iter()
            .map(|id| {
                let shown = running
                    .get(id)
                    .or_else(|| config.get(id))
                    .cloned()
                    .unwrap_or_default();
                let fixed = |o: &Object| -> Object {
                    let keep = ["type", "cidr", "mask", "network", "vnet", "id"];
                    let zone = what == What::Subnet;
                    o.iter()
                        .filter(|(k, _)| keep.contains(&k.as_str()) || (zone && *k == "zone"))
                        .map(|(k, v)| (k.clone(), v.clone()))
                        .collect()
                };
                let (state, shown, pending) = match (running.get(id), config.get(id)) {
                    (None, Some(new)) => {
                        let mut rest = new.clone();
                        let fixed = fixed(new);
                        rest.retain(|k, _| !fixed.contains_key(k));
                        (Some("new"), fixed, Some(rest))
                    }
                    (Some(_), None) => (Some("deleted"), shown, Some(Object::new())),
                    (Some(old), Some(new)) if old != new => {
                        let changed: Object = new
                            .iter()
                            .filter(|(k, v)| old.get(*k) != Some(v))
                            .map(|(k, v)| (k.clone(), v.clone()))
                            .collect();
                        (Some("changed"), shown, Some(changed))
                    }
                    _ => (None, shown, None),
                };
                let mut row = Self::row(what, id, &shown, Value::Null);
                if let (Some(state), Some(pending)) = (state, pending) {
                    row["state"] = json!(state);
                    row["pending"] = json!(pending);
                }
                row
            })
            .collect()
    }
}
