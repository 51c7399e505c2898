//! Turns calls on zones, vnets and subnets into pending changes, and applies them.

use serde_json::{Value, json};

use crate::call::Call;
use crate::engine::{Next, Work};
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};
use crate::sdn::{BAD_TOKEN, MODIFIED, Object, What};

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
                let zone = r["zone"].as_str().or_else(|| r["pending"]["zone"].as_str());
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
