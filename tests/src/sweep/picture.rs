//! Turns everything that there is, in the API, on the routers and on the clusters, into lines
//! that are the same in every run, and two such pictures into what differs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bb_core::proxmox::mark;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Map, Value};

use super::story::TENANT;
use crate::Site;

/// What belongs to one object and differs from run to run.
#[derive(Default)]
struct Symbols {
    /// Texts that are nowhere else.
    texts: Vec<(String, String)>,
    /// Whole numbers.
    numbers: BTreeMap<String, String>,
    /// Addresses.
    addresses: Vec<(String, String)>,
}

/// Lines, and how often each is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, usize>);

/// What is wrong with a run, in numbers of things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// There more often than it should be.
    pub doubled: usize,
    /// There less often than it should be.
    pub lost: usize,
    /// There at all after everything was deleted.
    pub left_over: usize,
}

impl Picture {
    /// Looks at everything.
    pub async fn take(site: &Site, installation: &str) -> Result<Self> {
        let mut objects = Vec::new();
        for kind in [
            "Region", "Provider", "Tenant", "Network", "Volume", "Instance",
        ] {
            let list = site.ours(kind, None).list(&ListParams::default()).await?;
            objects.extend(list.items.into_iter().map(|object| (kind, object)));
        }
        let symbols = Symbols::of(&objects, installation);
        let mut text = String::new();
        for (kind, object) in &objects {
            object_lines(kind, object, &mut text)?;
        }
        namespace_lines(site, &mut text).await?;
        for (name, router) in &site.routers {
            let (runs, saved) = (router.config(), router.saved());
            lines(&format!("{name} runs"), &runs, &mut text);
            let saved = if saved == runs {
                "all of it"
            } else {
                "something else"
            };
            text.push_str(&format!("{name} saved {saved}\n"));
        }
        for (name, cluster) in &site.clusters {
            lines(name, &lasting(cluster.snapshot()), &mut text);
        }
        let mut picture = Self::default();
        for line in symbols.apply(text).lines() {
            *picture.0.entry(line.to_owned()).or_default() += 1;
        }
        Ok(picture)
    }

    /// What is here otherwise than it should be: `- ` before what is missing, `+ ` before what
    /// should not be.
    #[must_use]
    pub fn against(&self, wanted: &Self) -> Vec<String> {
        let count = |picture: &Self, line: &str| picture.0.get(line).copied().unwrap_or(0);
        let mut differing = Vec::new();
        for line in wanted
            .0
            .keys()
            .chain(self.0.keys().filter(|l| !wanted.0.contains_key(*l)))
        {
            let (here, there) = (count(self, line), count(wanted, line));
            let sign = if here < there { '-' } else { '+' };
            differing.extend((0..here.abs_diff(there)).map(|_| format!("{sign} {line}")));
        }
        differing
    }
}

/// Sorts what differs into sums. A thing whose line reads otherwise is neither lost nor
/// doubled, so only lines that say that something is there count.
#[must_use]
pub fn tally(differing: &[String], all_gone: bool) -> Tally {
    let things = |sign: char| {
        let said = differing.iter().filter(|line| line.starts_with(sign));
        said.filter(|line| line.contains(" is there")).count()
    };
    let (more, less) = (things('+'), things('-'));
    if all_gone {
        Tally {
            left_over: more,
            lost: less,
            ..Tally::default()
        }
    } else {
        Tally {
            doubled: more,
            lost: less,
            ..Tally::default()
        }
    }
}

impl Symbols {
    fn of(objects: &[(&str, DynamicObject)], installation: &str) -> Self {
        let mut symbols = Self::default();
        symbols.text(installation, "INSTALLATION");
        for (kind, object) in objects {
            let who = format!("{kind}/{}", object.name_any());
            let uid = object.uid().unwrap_or_default();
            symbols.text(&mark::tag(installation, &uid), &format!("<tag {who}>"));
            symbols.text(&mark::serial(&uid), &format!("<serial {who}>"));
            symbols.text(&uid, &format!("<uid {who}>"));
            let status = &object.data["status"];
            if let Some(vni) = status["vni"].as_i64() {
                // A bridge has its VNI in its MAC address.
                let [.., a, b, c, d] = vni.to_be_bytes();
                let mac = format!("02:bb:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
                symbols.text(&mac, &format!("<bridge mac {who}>"));
            }
            symbols.number(&status["vni"], &format!("<vni {who}>"));
            for routing in status["routing"].as_array().into_iter().flatten() {
                symbols.number(&routing["table"], &format!("<table {who}>"));
                symbols.number(&routing["l3vni"], &format!("<l3vni {who}>"));
            }
            for vlan in status["vlans"].as_array().into_iter().flatten() {
                let router = vlan["router"].as_str().unwrap_or_default();
                symbols.number(&vlan["vlan"], &format!("<vlan {who} {router}>"));
            }
            for card in status["addresses"].as_array().into_iter().flatten() {
                let card_of = |field: &str| card[field].as_str().unwrap_or_default().to_owned();
                let (name, mac) = (card_of("name"), card_of("mac"));
                symbols.text(&mac.to_uppercase(), &format!("<mac {who} {name}>"));
                symbols.text(&mac.to_lowercase(), &format!("<mac {who} {name}>"));
                let address = (card_of("address"), format!("<address {who} {name}>"));
                symbols.addresses.push(address);
            }
            let id = status["providerID"].as_str().unwrap_or_default();
            let last = id.rsplit('/').next().unwrap_or_default();
            if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
                symbols
                    .numbers
                    .insert(last.to_owned(), format!("<vmid {who}>"));
            }
        }
        symbols
    }

    fn text(&mut self, text: &str, symbol: &str) {
        if !text.is_empty() {
            self.texts.push((text.to_owned(), symbol.to_owned()));
        }
    }

    fn number(&mut self, number: &Value, symbol: &str) {
        if let Some(number) = number.as_i64() {
            self.numbers.insert(number.to_string(), symbol.to_owned());
        }
    }

    fn apply(&self, mut text: String) -> String {
        for (from, to) in &self.texts {
            text = text.replace(from, to);
        }
        for (from, to) in self.addresses.iter().filter(|(from, _)| !from.is_empty()) {
            text = replace_whole(&text, from, to);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(at);
            let end = from
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(from.len());
            let (number, after) = from.split_at(end);
            out.push_str(before);
            out.push_str(self.numbers.get(number).map_or(number, String::as_str));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// Replaces a text where it stands alone: `10.0.0.1`, and not the same in `10.0.0.11`.
fn replace_whole(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let goes_on = |c: char| c.is_ascii_digit() || c == '.';
        let alone = !before.ends_with(goes_on) && !after.starts_with(|c: char| c.is_ascii_digit());
        out.push_str(before);
        out.push_str(if alone { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What differs from run to run in every status and says nothing: times, and where the next
/// number is looked for.
const PASSING: [&str; 6] = [
    "lastTransitionTime",
    "next",
    "nextVmid",
    "nextAddress",
    "managedFields",
    "observedGeneration",
];

fn object_lines(kind: &str, object: &DynamicObject, text: &mut String) -> Result<()> {
    let value = serde_json::to_value(object).context("an object does not render")?;
    let prefix = format!(
        "api {kind} {}{}",
        object.namespace().map(|n| n + "/").unwrap_or_default(),
        object.name_any()
    );
    text.push_str(&format!("{prefix} is there\n"));
    // What a Provider or Region is told differs from lab to lab: addresses and ports.
    let parts: &[&str] = match kind {
        "Region" | "Provider" => &["status"],
        _ => &["spec", "status"],
    };
    for part in parts {
        lines(
            &format!("{prefix} {part}"),
            &without_passing(&value[*part]),
            text,
        );
    }
    let meta = &value["metadata"];
    for part in ["finalizers", "labels", "annotations", "ownerReferences"] {
        lines(&format!("{prefix} {part}"), &meta[part], text);
    }
    if !meta["deletionTimestamp"].is_null() {
        text.push_str(&format!("{prefix} is to go\n"));
    }
    let generation = &meta["generation"];
    let conditions = value["status"]["conditions"].as_array();
    for condition in conditions.into_iter().flatten() {
        if condition["observedGeneration"] != *generation {
            let word = condition["type"].as_str().unwrap_or_default();
            text.push_str(&format!("{prefix} {word} is of an older spec\n"));
        }
    }
    Ok(())
}

async fn namespace_lines(site: &Site, text: &mut String) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(site.client.clone());
    let Some(namespace) = namespaces.get_opt(TENANT).await? else {
        return Ok(());
    };
    text.push_str(&format!("api Namespace {TENANT} is there\n"));
    let meta = serde_json::to_value(&namespace.metadata).context("metadata does not render")?;
    for part in ["labels", "ownerReferences"] {
        lines(&format!("api Namespace {TENANT} {part}"), &meta[part], text);
    }
    let bindings: Api<RoleBinding> = Api::namespaced(site.client.clone(), TENANT);
    for binding in bindings.list(&ListParams::default()).await? {
        let prefix = format!("api RoleBinding {TENANT}/{}", binding.name_any());
        text.push_str(&format!("{prefix} is there\n"));
        let subjects = serde_json::to_value(&binding.subjects).context("subjects")?;
        lines(&prefix, &subjects, text);
    }
    Ok(())
}

/// A cluster without what is drawn by lot or tells the time, and with a word for each thing.
fn lasting(mut snapshot: Value) -> Value {
    if let Some(guests) = snapshot["guests"].as_object_mut() {
        for guest in guests.values_mut() {
            remove(guest, &["digest"]);
            remove(&mut guest["config"], &["vmgenid", "smbios1"]);
            guest["is there"] = Value::Bool(true);
        }
    }
    if let Some(pools) = snapshot["pools"].as_object_mut() {
        for pool in pools.values_mut() {
            // In the order of VMIDs, which is that of nothing.
            let guests = pool["guests"].as_array().cloned().unwrap_or_default();
            let guests = guests.iter().map(|id| (id.to_string(), Value::Bool(true)));
            pool["guests"] = guests.collect();
        }
    }
    if let Some(storages) = snapshot["storages"].as_object_mut() {
        for place in storages.values_mut() {
            let places = place["volumes"]
                .as_object_mut()
                .into_iter()
                .flat_map(Map::values_mut);
            for volume in places
                .filter_map(Value::as_object_mut)
                .flat_map(Map::values_mut)
            {
                remove(volume, &["ctime", "data"]);
                volume["is there"] = Value::Bool(true);
            }
        }
    }
    snapshot
}

fn remove(value: &mut Value, keys: &[&str]) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

fn without_passing(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| !PASSING.contains(&key.as_str()))
            .map(|(key, value)| match key.as_str() {
                // A digest over numbers that differ: that it is there is all that can be told.
                "applied" => (key.clone(), Value::Bool(true)),
                _ => (key.clone(), without_passing(value)),
            })
            .collect(),
        Value::Array(list) => list.iter().map(without_passing).collect(),
        other => other.clone(),
    }
}

/// Every leaf of a value as a line. Members of a list are told apart by their name or type,
/// where they have one, since their order says nothing then.
fn lines(prefix: &str, value: &Value, text: &mut String) {
    match value {
        Value::Null => {}
        Value::Object(map) if map.is_empty() => text.push_str(&format!("{prefix} {{}}\n")),
        Value::Object(map) => {
            for (key, value) in map {
                lines(&format!("{prefix} {key}"), value, text);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                let name = ["name", "type", "target", "router"]
                    .iter()
                    .find_map(|key| value[*key].as_str());
                let name = name.map_or_else(|| format!("[{at}]"), |name| format!("[{name}]"));
                lines(&format!("{prefix} {name}"), value, text);
            }
        }
        Value::String(word) => text.push_str(&format!("{prefix} = {}\n", word.escape_debug())),
        other => text.push_str(&format!("{prefix} = {other}\n")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picture(lines: &[&str]) -> Picture {
        let mut picture = Picture::default();
        for line in lines {
            *picture.0.entry((*line).to_owned()).or_default() += 1;
        }
        picture
    }

    #[test]
    fn what_is_there_twice_is_doubled_and_what_is_missing_is_lost() {
        let wanted = picture(&[
            "c1 guests <vmid a> is there = true",
            "c1 guests <vmid a> cores = 1",
        ]);
        let twice = picture(&[
            "c1 guests <vmid a> is there = true",
            "c1 guests <vmid a> cores = 1",
            "c1 guests 700009 is there = true",
        ]);
        let differing = twice.against(&wanted);
        assert_eq!(differing, ["+ c1 guests 700009 is there = true"]);
        assert_eq!(tally(&differing, false).doubled, 1);
        assert_eq!(tally(&differing, true).left_over, 1);
        let lost = picture(&["c1 guests <vmid a> cores = 2"]).against(&wanted);
        assert_eq!(lost.len(), 3, "{lost:?}");
        assert_eq!(
            tally(&lost, false),
            Tally {
                lost: 1,
                ..Tally::default()
            }
        );
        assert!(wanted.against(&wanted).is_empty());
    }

    #[test]
    fn whole_numbers_and_whole_addresses_are_replaced() {
        let symbols = Symbols {
            texts: vec![("u-1".to_owned(), "<uid>".to_owned())],
            numbers: [("3001".to_owned(), "<vlan>".to_owned())].into(),
            addresses: vec![
                ("10.0.0.1".to_owned(), "<one>".to_owned()),
                ("10.0.0.11".to_owned(), "<eleven>".to_owned()),
            ],
        };
        let text = "eth2.3001 30011 u-1 10.0.0.11/24 10.0.0.1 10.0.0.110".to_owned();
        assert_eq!(
            symbols.apply(text),
            "eth2.<vlan> 30011 <uid> <eleven>/24 <one> 10.0.0.110"
        );
    }

    #[test]
    fn members_of_a_list_go_by_their_names() {
        let mut text = String::new();
        lines(
            "x",
            &json!({"list": [{"name": "b", "v": 1}, "plain"], "e": {}}),
            &mut text,
        );
        assert_eq!(
            text,
            "x e {}\nx list [b] name = b\nx list [b] v = 1\nx list [1] = plain\n"
        );
    }
}
