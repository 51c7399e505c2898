//! Turns what a user calls a kind into the kind, and its objects into rows.
//!
//! One table holds all that depends on the kind: names, columns, how grave a delete is.

use bb_crds::{GROUP, VERSION};
use jiff::Timestamp;
use kube::api::ApiResource;
use serde_json::Value;

use crate::age;
use crate::error::Failure;
use crate::nearest::nearest;
use crate::object::{self, Answer, Object, at, joined, list, text};
use crate::style::Tone;
use crate::table::{ALWAYS, Cell};

/// A kind that bbctl knows by name.
#[derive(Debug)]
pub struct Kind {
    /// As in manifests.
    pub kind: &'static str,
    /// As in the API's paths.
    pub plural: &'static str,
    /// One of them.
    pub singular: &'static str,
    /// The short name.
    pub short: &'static str,
    /// How one of them is written as `KIND/NAME`, `{}` being the name.
    pub pair: &'static str,
    /// What the help calls one of them in its examples.
    pub sample: &'static str,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// What a table shows, besides namespace and name.
    pub columns: &'static [Column],
}

/// A column of a kind's table.
#[derive(Debug)]
pub struct Column {
    /// What is written above it.
    pub title: &'static str,
    /// The column with the least is left out first.
    pub keep: u8,
    /// Whether it shows in wide tables only.
    pub wide: bool,
    /// What it shows of an object.
    pub cell: fn(&Object, Timestamp) -> Cell,
}

const fn column(title: &'static str, keep: u8, cell: fn(&Object, Timestamp) -> Cell) -> Column {
    Column {
        title,
        keep,
        wide: false,
        cell,
    }
}

const fn wide(title: &'static str, cell: fn(&Object, Timestamp) -> Cell) -> Column {
    Column {
        title,
        keep: 0,
        wide: true,
        cell,
    }
}

const READY: Column = column("ready", ALWAYS, |o, _| {
    let health = object::health(o);
    Cell::new(health.ready.word(), tone(&health))
});
const REASON: Column = column("reason", 90, |o, _| {
    let health = object::health(o);
    Cell::new(health.reason.clone(), tone(&health))
});
const AGE: Column = column("age", 50, |o, now| {
    object::created(o)
        .map(|then| age::since(then, now))
        .unwrap_or_default()
        .into()
});

/// What the health of an object means to the one who reads it.
#[must_use]
pub fn tone(health: &object::Health) -> Tone {
    match health.ready {
        Answer::Yes => Tone::Good,
        Answer::Unknown => Tone::Waiting,
        Answer::No if health.is_stopped() => Tone::Bad,
        Answer::No => Tone::Waiting,
    }
}

/// Every kind, in the order in which a person would meet them.
pub static KINDS: [Kind; 6] = [
    Kind {
        kind: "Region",
        plural: "regions",
        singular: "region",
        pair: "region/{}",
        short: "bbr",
        sample: "north",
        namespaced: false,
        columns: &[
            READY,
            REASON,
            column("asn", 70, |o, _| text(o, "/spec/asn").into()),
            column("vnis", 40, |o, _| of_total(o, "/status/vnis").into()),
            column("tables", 30, |o, _| of_total(o, "/status/tables").into()),
            wide("mtu", |o, _| text(o, "/spec/mtu").into()),
            wide("vni range", |o, _| text(o, "/spec/vnis").into()),
            wide("table range", |o, _| text(o, "/spec/tables").into()),
            AGE,
        ],
    },
    Kind {
        kind: "Provider",
        plural: "providers",
        singular: "provider",
        pair: "provider/{}",
        short: "bbp",
        sample: "r1",
        namespaced: false,
        columns: &[
            READY,
            REASON,
            column("type", 70, |o, _| provider_type(o).into()),
            column("region", 40, |o, _| text(o, "/spec/region").into()),
            column("zone", 60, |o, _| text(o, "/spec/zone").into()),
            column("version", 30, |o, _| text(o, "/status/version").into()),
            wide("policy", |o, _| text(o, "/spec/managementPolicy").into()),
            wide("endpoint", |o, _| endpoint(o).into()),
            AGE,
        ],
    },
    Kind {
        kind: "Tenant",
        plural: "tenants",
        singular: "tenant",
        pair: "tenant/{}",
        short: "bbt",
        sample: "acme",
        namespaced: false,
        columns: &[
            READY,
            REASON,
            column("namespace", 40, |o, _| text(o, "/status/namespace").into()),
            column("vrf", 60, |o, _| joined(o, "/status/routing", "vrf").into()),
            wide("l3vni", |o, _| joined(o, "/status/routing", "l3vni").into()),
            wide("table", |o, _| joined(o, "/status/routing", "table").into()),
            wide("route target", |o, _| {
                joined(o, "/status/routing", "routeTarget").into()
            }),
            AGE,
        ],
    },
    Kind {
        kind: "Network",
        plural: "networks",
        singular: "network",
        pair: "network/{}",
        short: "bbnet",
        sample: "web",
        namespaced: true,
        columns: &[
            READY,
            REASON,
            column("prefix", 70, |o, _| text(o, "/spec/ipv4/prefix").into()),
            column("used", 30, |o, _| of_total(o, "/status/addresses").into()),
            wide("gateway", |o, _| text(o, "/status/gateway").into()),
            wide("vni", |o, _| text(o, "/status/vni").into()),
            wide("vlan", |o, _| joined(o, "/status/vlans", "vlan").into()),
            wide("zones", |o, _| joined(o, "/spec/zones", "").into()),
            wide("region", |o, _| text(o, "/status/region").into()),
            AGE,
        ],
    },
    Kind {
        kind: "Volume",
        plural: "volumes",
        singular: "volume",
        pair: "volume/{}",
        short: "bbvol",
        sample: "data",
        namespaced: true,
        columns: &[
            READY,
            REASON,
            column("size", 70, |o, _| {
                first(o, &["/status/size", "/spec/size"]).into()
            }),
            column("class", 30, |o, _| text(o, "/spec/class").into()),
            column("attached", 60, |o, _| {
                text(o, "/status/attachedTo/instance").into()
            }),
            wide("policy", |o, _| text(o, "/spec/reclaimPolicy").into()),
            wide("zone", |o, _| {
                first(o, &["/status/zone", "/spec/zone"]).into()
            }),
            wide("storage", |o, _| text(o, "/status/storage").into()),
            wide("id", |o, _| text(o, "/status/providerID").into()),
            AGE,
        ],
    },
    Kind {
        kind: "Instance",
        plural: "instances",
        singular: "instance",
        pair: "instance/{}",
        short: "bbi",
        sample: "www-1",
        namespaced: true,
        columns: &[
            READY,
            REASON,
            column("address", 70, |o, _| address(o).into()),
            column("power", 40, |o, _| text(o, "/status/power").into()),
            column("image", 30, |o, _| text(o, "/spec/image").into()),
            wide("cpu", |o, _| text(o, "/spec/cpu").into()),
            wide("memory", |o, _| text(o, "/spec/memory").into()),
            wide("zone", |o, _| text(o, "/status/zone").into()),
            wide("node", |o, _| text(o, "/status/node").into()),
            wide("id", |o, _| text(o, "/status/providerID").into()),
            AGE,
        ],
    },
];

/// A question and its answer, which `bbctl plan --keep` leaves for an hour. It is none of
/// [`KINDS`]: nobody has it as they have an instance.
pub static PLAN: Kind = Kind {
    kind: "Plan",
    plural: "plans",
    singular: "plan",
    pair: "plan/{}",
    short: "bbplan",
    sample: "bbctl-x7k2p",
    namespaced: true,
    columns: &[
        READY,
        REASON,
        column("summary", 60, |o, _| text(o, "/status/summary").into()),
        column("hash", 70, |o, _| text(o, "/status/hash").into()),
        AGE,
    ],
};

/// `USED/TOTAL` of a range.
fn of_total(object: &Object, pointer: &str) -> String {
    match at(object, pointer) {
        Some(usage) => {
            let part = |name: &str| usage.get(name).and_then(Value::as_i64).unwrap_or_default();
            format!("{}/{}", part("used"), part("total"))
        }
        None => String::new(),
    }
}

fn first(object: &Object, pointers: &[&str]) -> String {
    pointers
        .iter()
        .map(|p| text(object, p))
        .find(|t| !t.is_empty())
        .unwrap_or_default()
}

/// What a Provider stands for.
#[must_use]
pub fn provider_type(object: &Object) -> &'static str {
    match (at(object, "/spec/vyos"), at(object, "/spec/proxmox")) {
        (Some(_), _) => "VyOS",
        (_, Some(_)) => "Proxmox",
        _ => "",
    }
}

fn endpoint(object: &Object) -> String {
    match text(object, "/spec/vyos/endpoint") {
        none if none.is_empty() => joined(object, "/spec/proxmox/endpoints", ""),
        endpoint => endpoint,
    }
}

/// The first address, with how many more there are.
fn address(object: &Object) -> String {
    let all = list(object, "/status/addresses");
    let first = all
        .first()
        .and_then(|nic| nic.get("address"))
        .map(object::word);
    match (first, all.len()) {
        (Some(first), 2..) => format!("{first} +{}", all.len() - 1),
        (first, _) => first.unwrap_or_default(),
    }
}

impl Kind {
    /// What the API client needs to know of the kind.
    #[must_use]
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            api_version: format!("{GROUP}/{VERSION}"),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// The kind as a manifest names it, if it is one of ours.
    #[must_use]
    pub fn of_manifest(api_version: &str, kind: &str) -> Option<&'static Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        KINDS.iter().find(|k| group == GROUP && k.kind == kind)
    }

    /// The kind by plural, singular, short name or `PLURAL.GROUP`, in any case of letters.
    ///
    /// # Errors
    /// When there is none, with the nearest one as a hint.
    pub fn parse(word: &str) -> Result<&'static Self, Failure> {
        let plan = || PLAN.answers_to(word).then_some(&PLAN);
        Self::named(word).or_else(plan).ok_or_else(|| unknown(word))
    }

    /// The kind as manifests name it, for names that stand in our own source.
    ///
    /// # Panics
    /// When it is none of [`KINDS`] and not [`PLAN`].
    #[must_use]
    pub fn called(kind: &str) -> &'static Self {
        let mut kinds = KINDS.iter().chain([&PLAN]);
        kinds
            .find(|k| k.kind == kind)
            .expect("our source names kinds of the table only")
    }

    /// One of [`KINDS`] as [`Kind::parse`] reads it, without a word about it.
    #[must_use]
    pub fn named(word: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.answers_to(word))
    }

    fn answers_to(&self, word: &str) -> bool {
        let lower = word.to_ascii_lowercase();
        let bare = match lower.split_once('.') {
            Some((bare, rest)) if rest == GROUP || rest == format!("{VERSION}.{GROUP}") => bare,
            Some(_) => return false,
            None => lower.as_str(),
        };
        [self.plural, self.singular, self.short].contains(&bare)
    }
}

fn unknown(word: &str) -> Failure {
    let failure = Failure::usage(format!("there is no kind `{word}`"));
    match nearest(word, names()) {
        Some(name) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint(format!(
            "the kinds are {}; for others use kubectl",
            plurals().join(", ")
        )),
    }
}

/// Every name of every kind.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS
        .iter()
        .flat_map(|kind| [kind.plural, kind.singular, kind.short])
}

/// The plural names of every kind that can be shown.
#[must_use]
pub fn plurals() -> Vec<&'static str> {
    let all = KINDS.iter().chain([&PLAN]);
    all.map(|kind| kind.plural).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_agrees_with_the_definitions() {
        let mut crds = bb_crds::crds();
        crds.sort_by_key(|crd| crd.spec.names.kind == "Plan");
        assert_eq!(crds.len(), KINDS.len() + 1);
        for (crd, kind) in crds.iter().zip(KINDS.iter().chain([&PLAN])) {
            let names = &crd.spec.names;
            assert_eq!(names.kind, kind.kind);
            assert_eq!(names.plural, kind.plural);
            assert_eq!(
                names.singular.as_deref().unwrap_or(kind.singular),
                kind.singular
            );
            assert_eq!(
                names.short_names.as_deref(),
                Some(&[kind.short.to_owned()][..])
            );
            assert_eq!(crd.spec.scope == "Namespaced", kind.namespaced);
        }
    }

    #[test]
    fn a_kind_answers_to_each_of_its_names() {
        for word in [
            "instances",
            "instance",
            "bbi",
            "Instance",
            "instances.bitbuilder.cloud",
        ] {
            assert_eq!(Kind::parse(word).unwrap().kind, "Instance", "{word}");
        }
        for word in ["plans", "plan", "bbplan", "plans.bitbuilder.cloud"] {
            assert_eq!(Kind::parse(word).unwrap().kind, "Plan", "{word}");
        }
        assert!(Kind::named("plans").is_none(), "nobody has it");
        assert!(Kind::named("instances.example.org").is_none());
        assert!(
            Kind::named("inst").is_none(),
            "a part of a name is not a name"
        );
    }

    #[test]
    fn an_unknown_kind_suggests_the_nearest() {
        let hint = |word| Kind::parse(word).unwrap_err().hint.unwrap();
        assert_eq!(hint("instnaces"), "did you mean `instances`?");
        assert_eq!(hint("netwrk"), "did you mean `network`?");
        assert_eq!(hint("tennants"), "did you mean `tenants`?");
        assert!(hint("pods").starts_with("the kinds are regions"));
        assert_eq!(Kind::parse("pods").unwrap_err().exit.code(), 2);
    }

    #[test]
    fn an_instance_with_several_cards_says_how_many_more() {
        let nic = |address| json!({"name": "a", "address": address});
        let object: Object = serde_json::from_value(json!({
            "metadata": {"name": "x"},
            "status": {"addresses": [nic("10.0.0.1"), nic("10.0.0.2")]}
        }))
        .unwrap();
        assert_eq!(address(&object), "10.0.0.1 +1");
    }
}
