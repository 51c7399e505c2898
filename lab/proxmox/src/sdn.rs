//! Turns zones, vnets and subnets into a pending and a running view, with the global lock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Digest as _;

use crate::call::Call;
use crate::engine::{Next, Work};
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};

/// Properties of one object.
type Object = BTreeMap<String, Value>;

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
    fn word(self) -> &'static str {
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

    fn of_mut(self, objects: &mut Objects) -> &mut BTreeMap<String, Object> {
        match self {
            Self::Zone => &mut objects.zones,
            Self::Vnet => &mut objects.vnets,
            Self::Subnet => &mut objects.subnets,
        }
    }
}

const BAD_TOKEN: &str =
    "invalid lock token provided! at /usr/share/perl5/PVE/Network/SDN.pm line 291.";
const MODIFIED: &str = "detected modified configuration - file changed by other user? Try again.";

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

    fn has_pending(&self) -> bool {
        match &self.running {
            None => self.config != Objects::default(),
            Some(running) => *running != self.config,
        }
    }

    fn check_token(&self, token: Option<&str>) -> Answer<()> {
        match &self.lock {
            Some(held) if Some(held.as_str()) != token => Err(Refusal::fail(BAD_TOKEN)),
            _ => Ok(()),
        }
    }

    fn digest(&self, what: What) -> String {
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
    fn list(&self, what: What, call: &Call<'_>) -> Vec<Value> {
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

/// The id a call speaks of.
fn id_of(what: What, call: &Call<'_>) -> String {
    call.p.text(what.word()).to_owned()
}

/// What a create or update carries besides the keys of the call itself.
fn object_of(call: &Call<'_>, what: What) -> Object {
    const CALL: &[&str] = &["lock-token", "digest", "delete", "node"];
    let number = |v: &str| v.parse::<i64>().map_or_else(|_| json!(v), |n| json!(n));
    call.p
        .0
        .iter()
        .filter(|(k, _)| !CALL.contains(&k.as_str()) && k.as_str() != what.word())
        .map(|(k, v)| {
            let numeric = matches!(
                k.as_str(),
                "tag"
                    | "mtu"
                    | "vrf-vxlan"
                    | "vxlan-port"
                    | "snat"
                    | "vlanaware"
                    | "isolate-ports"
                    | "dp-id"
            );
            (k.clone(), if numeric { number(v) } else { json!(v) })
        })
        .collect()
}

impl Cluster {
    pub(crate) fn sdn_list(&self, call: &Call<'_>, what: What) -> Value {
        let mut rows = self.sdn.list(what, call);
        if what == What::Subnet {
            let vnet = call.p.text("vnet");
            rows.retain(|r| r["vnet"] == json!(vnet));
        } else {
            rows.retain(|r| {
                let zone = if what == What::Zone {
                    &r["zone"]
                } else {
                    &r["zone"]
                };
                let zone = zone.as_str().or_else(|| r["pending"]["zone"].as_str());
                let path = format!("/sdn/zones/{}", zone.unwrap_or_default());
                self.may_any(call.who, &path, &["SDN.Audit", "SDN.Use", "SDN.Allocate"])
            });
        }
        json!(rows)
    }

    pub(crate) fn sdn_get(&self, call: &Call<'_>, what: What) -> Answer<Value> {
        let id = id_of(what, call);
        let rows = self.sdn.list(what, call);
        let row = rows.into_iter().find(|r| r[what.word()] == json!(id));
        row.ok_or_else(|| Refusal::fail(format!("sdn '{id}' does not exist")))
    }

    pub(crate) fn sdn_create(&mut self, call: &Call<'_>, what: What) -> Answer<Value> {
        let word = what.word();
        let wrap = |r: Refusal| r.within(&format!("create sdn {word} object failed: "));
        let mut object = object_of(call, what);
        let mut id = id_of(what, call);
        if what == What::Zone
            && call.p.get("type") == Some("vlan")
            && !object.contains_key("bridge")
        {
            return Err(Refusal::fail("missing value for required option 'bridge'"));
        }
        self.sdn
            .check_token(call.p.get("lock-token"))
            .map_err(wrap)?;
        match what {
            What::Zone => check_zone(&object).map_err(wrap)?,
            What::Vnet => {
                if self.sdn.config.vnets.contains_key(&id) {
                    let text = format!("sdn vnet object ID '{id}' already defined");
                    return Err(wrap(Refusal::fail(text)));
                }
                self.check_vnet(&id, &object).map_err(wrap)?;
                object.insert("type".to_owned(), json!("vnet"));
            }
            What::Subnet => id = self.complete_subnet(call, &mut object).map_err(wrap)?,
        }
        let all = what.of_mut(&mut self.sdn.config);
        if all.contains_key(&id) {
            let text = format!("sdn {word} object ID '{id}' already defined");
            return Err(wrap(Refusal::fail(text)));
        }
        all.insert(id, object);
        Ok(Value::Null)
    }

    fn check_vnet(&self, id: &str, object: &Object) -> Answer<()> {
        let zone = object
            .get("zone")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(zone_object) = self.sdn.config.zones.get(zone) else {
            return Err(Refusal::fail(
                "cannot lookup undefined type! at /usr/share/perl5/PVE/API2/Network/SDN/Vnets.pm \
                 line 326.",
            ));
        };
        let kind = zone_object
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let tag = object.get("tag");
        match (kind, tag) {
            ("simple", Some(_)) => Err(Refusal::param(
                "tag",
                "vlan tag is not allowed on simple zone",
            )),
            ("vxlan" | "evpn" | "vlan" | "qinq", None) => {
                let word = if kind == "vlan" || kind == "qinq" {
                    "vlan"
                } else {
                    "vxlan"
                };
                Err(Refusal::param("tag", format!("missing {word} tag")))
            }
            (_, Some(tag)) => {
                let same = |(name, o): &(&String, &Object)| {
                    name.as_str() != id
                        && o.get("tag") == Some(tag)
                        && o.get("zone").and_then(Value::as_str) == Some(zone)
                };
                match self.sdn.config.vnets.iter().find(same) {
                    None => Ok(()),
                    Some((other, _)) => {
                        let word = if kind == "vlan" || kind == "qinq" {
                            "vlan"
                        } else {
                            "vxlan"
                        };
                        Err(Refusal::param(
                            "tag",
                            format!(
                                "{word} tag {tag} already exist in vnet {other} in zone {zone} "
                            ),
                        ))
                    }
                }
            }
            _ => Ok(()),
        }
    }

    fn complete_subnet(&self, call: &Call<'_>, object: &mut Object) -> Answer<String> {
        let cidr = call.p.text("subnet");
        let vnet = call.p.text("vnet");
        let zone = self.sdn.zone_of(vnet).unwrap_or_default().to_owned();
        let (network, mask) = cidr.split_once('/').unwrap_or((cidr, "32"));
        if let Some(gateway) = call.p.get("gateway")
            && !contains(network, mask, gateway)
        {
            let text = format!("{gateway} is not in subnet {cidr}");
            return Err(Refusal::param("gateway", text));
        }
        for (key, value) in [
            ("cidr", cidr),
            ("network", network),
            ("mask", mask),
            ("zone", zone.as_str()),
            ("vnet", vnet),
        ] {
            object.insert(key.to_owned(), json!(value));
        }
        Ok(format!("{zone}-{network}-{mask}"))
    }

    pub(crate) fn sdn_update(&mut self, call: &Call<'_>, what: What) -> Answer<Value> {
        let word = what.word();
        let wrap = |r: Refusal| r.within(&format!("update sdn {word} object failed: "));
        self.sdn
            .check_token(call.p.get("lock-token"))
            .map_err(wrap)?;
        if call
            .p
            .get("digest")
            .is_some_and(|d| d != self.sdn.digest(what))
        {
            return Err(wrap(Refusal::fail(MODIFIED)));
        }
        let id = id_of(what, call);
        let changes = object_of(call, what);
        let delete = call.p.get("delete").unwrap_or_default().to_owned();
        let all = what.of_mut(&mut self.sdn.config);
        let Some(object) = all.get_mut(&id) else {
            return Err(wrap(Refusal::fail(format!("sdn '{id}' does not exist"))));
        };
        object.extend(
            changes
                .into_iter()
                .filter(|(k, _)| k != "vnet" || what != What::Subnet),
        );
        for key in crate::property::split_list(&delete) {
            object.remove(key);
        }
        Ok(Value::Null)
    }

    pub(crate) fn sdn_delete(&mut self, call: &Call<'_>, what: What) -> Answer<Value> {
        let word = what.word();
        let wrap = |r: Refusal| r.within(&format!("delete sdn {word} object failed: "));
        self.sdn
            .check_token(call.p.get("lock-token"))
            .map_err(wrap)?;
        let id = id_of(what, call);
        let by = |o: &Object, key: &str| o.get(key).and_then(Value::as_str) == Some(id.as_str());
        let config = &self.sdn.config;
        if what == What::Zone
            && let Some((vnet, _)) = config.vnets.iter().find(|(_, o)| by(o, "zone"))
        {
            return Err(wrap(Refusal::fail(format!(
                "zone {id} is used by vnet {vnet} at \
                 /usr/share/perl5/PVE/Network/SDN/Zones/Plugin.pm line 149."
            ))));
        }
        if what == What::Vnet && config.subnets.values().any(|o| by(o, "vnet")) {
            let text = "Can't delete vnet if subnets exists";
            return Err(wrap(Refusal::param("vnet", text)));
        }
        what.of_mut(&mut self.sdn.config).remove(&id);
        Ok(Value::Null)
    }

    /// `PUT /cluster/sdn`: puts to work what anybody left pending.
    pub(crate) fn sdn_apply(&mut self, call: &Call<'_>) -> Answer<Value> {
        self.sdn
            .check_token(call.p.get("lock-token"))
            .map_err(|r| r.within("could not commit SDN config: "))?;
        self.sdn.running = Some(self.sdn.config.clone());
        if call.p.get("release-lock") != Some("0") {
            self.sdn.lock = None;
        }
        let node = self.nodes.keys().next().cloned().unwrap_or_default();
        let work = ApplyWork {
            caller: call.who.clone(),
        };
        Ok(json!(self.fork(
            &node,
            "reloadnetworkall",
            "",
            call.who,
            Box::new(work)
        )))
    }

    pub(crate) fn sdn_lock(&mut self, call: &Call<'_>) -> Answer<Value> {
        let wrap =
            |text: &str| Refusal::fail(format!("could not acquire lock for SDN config: {text}"));
        if self.sdn.lock.is_some() {
            return Err(wrap(BAD_TOKEN));
        }
        if self.sdn.has_pending() && !call.p.flag("allow-pending") {
            return Err(wrap(
                "configuration has pending changes at /usr/share/perl5/PVE/API2/Network/SDN.pm \
                 line 150.",
            ));
        }
        let token = self.draw_uuid();
        self.sdn.lock = Some(token.clone());
        Ok(json!(token))
    }

    pub(crate) fn sdn_unlock(&mut self, call: &Call<'_>) -> Answer<Value> {
        if !call.p.flag("force") {
            self.sdn
                .check_token(call.p.get("lock-token"))
                .map_err(|r| r.within("could not release lock: "))?;
        }
        self.sdn.lock = None;
        Ok(Value::Null)
    }

    pub(crate) fn sdn_rollback(&mut self, call: &Call<'_>) -> Answer<Value> {
        self.sdn
            .check_token(call.p.get("lock-token"))
            .map_err(|r| r.within("could not rollback SDN configuration: "))?;
        self.sdn.config = self.sdn.running.clone().unwrap_or_default();
        if call.p.flag("release-lock") {
            self.sdn.lock = None;
        }
        Ok(Value::Null)
    }

    /// `GET /nodes/N/sdn/zones`.
    pub(crate) fn sdn_node_zones(&self, _call: &Call<'_>) -> Value {
        let zones = self.sdn.running_zones();
        json!(
            zones
                .iter()
                .map(|z| json!({ "zone": z, "status": "available" }))
                .collect::<Vec<_>>()
        )
    }

    /// `GET /nodes/N/sdn/zones/Z/content`.
    pub(crate) fn sdn_zone_content(&self, call: &Call<'_>) -> Value {
        let zone = call.p.text("zone");
        let vnets = self.sdn.running.iter().flat_map(|r| r.vnets.iter());
        let rows: Vec<Value> = vnets
            .filter(|(_, o)| o.get("zone").and_then(Value::as_str) == Some(zone))
            .map(|(v, _)| json!({ "vnet": v, "status": "available", "statusmsg": null }))
            .collect();
        json!(rows)
    }
}

fn check_zone(object: &Object) -> Answer<()> {
    let kind = object
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let has = |key: &str| object.contains_key(key);
    if kind == "vxlan" && has("peers") == has("fabric") {
        let text = "must have exactly one of peers / fabric defined".to_owned();
        let errors = [
            ("peers".to_owned(), text.clone()),
            ("fabric".to_owned(), text),
        ];
        return Err(Refusal::params(errors.into()));
    }
    Ok(())
}

fn contains(network: &str, mask: &str, address: &str) -> bool {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let bits = |a: IpAddr| match a {
        IpAddr::V4(a) => (u128::from(Ipv4Addr::to_bits(a)), 32),
        IpAddr::V6(a) => (Ipv6Addr::to_bits(a), 128),
    };
    let (Ok(network), Ok(address), Ok(mask)) = (
        network.parse::<IpAddr>(),
        address.parse::<IpAddr>(),
        mask.parse::<u32>(),
    ) else {
        return false;
    };
    let ((a, width), (b, other)) = (bits(network), bits(address));
    width == other && mask <= width && (a ^ b).checked_shr(width - mask).unwrap_or(0) == 0
}

/// An apply under way: the change of state is at the call, the task reloads the nodes.
#[derive(Debug)]
struct ApplyWork {
    caller: crate::access::Caller,
}

impl Work for ApplyWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => {
                let nodes: Vec<String> = cluster.nodes.keys().cloned().collect();
                for node in nodes {
                    log.push(format!("{node}: reloading network config"));
                    let work = ReloadWork;
                    cluster.fork(
                        &node,
                        "srvreload",
                        "networking",
                        &self.caller,
                        Box::new(work),
                    );
                }
                Next::After(1.5)
            }
            _ => Next::Done(Ok(())),
        }
    }
}

/// The reload of one node's network.
#[derive(Debug)]
struct ReloadWork;

impl Work for ReloadWork {
    fn step(&mut self, _: &mut Cluster, _: &mut Vec<String>, phase: u32) -> Next {
        if phase == 0 {
            Next::After(1.0)
        } else {
            Next::Done(Ok(()))
        }
    }
}
