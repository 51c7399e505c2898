//! What is chosen for a new instance, and what is refused.

use super::*;

/// What is asked for, by setting.
type Said = [(&'static str, &'static str)];

fn object(value: Value) -> Object {
    serde_json::from_value(value).unwrap()
}

fn cluster(name: &str, zone: &str, images: &[&str]) -> Object {
    let images: Vec<Value> = images
        .iter()
        .map(|image| match image.starts_with("alpine") {
            true => json!({"name": image, "archive": "local:vztmpl/a.tar.zst"}),
            false => json!({"name": image, "template": 9000}),
        })
        .collect();
    object(
        json!({"metadata": {"name": name}, "spec": {"region": "home", "zone": zone,
        "proxmox": {"images": images}}}),
    )
}

fn network(name: &str, prefix: &str, zones: &[&str]) -> Object {
    object(
        json!({"metadata": {"name": name}, "spec": {"ipv4": {"prefix": prefix},
        "zones": zones}, "status": {"region": "home"}}),
    )
}

fn stock(networks: Vec<Object>) -> Stock {
    Stock {
        providers: Some(vec![
            cluster("c1", "north", &["debian-12", "alpine-3.20"]),
            cluster("c2", "south", &["debian-12"]),
        ]),
        networks,
        ..Stock::default()
    }
}

fn asked(all: &[(&'static str, &str)]) -> Asked {
    let mut asked = Asked::default();
    for (setting, value) in all {
        asked.say(setting, Some(value), "flag");
    }
    asked
}

fn acme(is_new: bool) -> Home {
    Home {
        setting: Setting::new("tenant", "acme", "flag"),
        is_new,
    }
}

fn value<'a>(plan: &'a Plan, name: &str) -> &'a str {
    let setting = plan.settings.iter().find(|s| s.setting == name);
    setting.map_or("absent", |s| s.value.as_str())
}

#[test]
fn what_is_there_is_used_and_what_is_not_is_made() {
    let new = choose(
        &asked(&[("image", "debian-12")]),
        &acme(true),
        &stock(vec![]),
    )
    .unwrap();
    let kinds: Vec<&str> = new
        .manifests
        .iter()
        .filter_map(|m| m["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["Tenant", "Network", "Instance"]);
    assert_eq!(value(&new, "name"), "debian-12-1");
    assert_eq!(
        (value(&new, "prefix"), value(&new, "region")),
        ("10.10.0.0/24", "home")
    );
    let mut there = stock(vec![network("web", "10.10.0.0/16", &["north"])]);
    there.instances = BTreeSet::from(["debian-12-1".to_owned()]);
    let old = choose(&asked(&[("image", "debian-12")]), &acme(false), &there).unwrap();
    assert_eq!(old.manifests.len(), 1);
    assert_eq!(
        (value(&old, "network"), value(&old, "name")),
        ("web", "debian-12-2")
    );
    let other = [("image", "debian-12"), ("network", "db")];
    let other = choose(&asked(&other), &acme(false), &there).unwrap();
    assert_eq!(
        (other.manifests.len(), value(&other, "prefix")),
        (2, "10.11.0.0/24")
    );
    // An image that one zone has is made there, and one of an archive is a container.
    let small = choose(
        &asked(&[("image", "alpine-3.20")]),
        &acme(true),
        &stock(vec![]),
    );
    let small = small.unwrap();
    assert_eq!(value(&small, "zone"), "north");
    assert_eq!(small.manifests[2]["spec"]["type"], "Container");
}

#[test]
fn what_cannot_be_says_what_could() {
    let south = || vec![network("web", "10.10.0.0/24", &["south"])];
    let table: [(&Said, Vec<Object>, &str); 7] = [
        (
            &[("image", "debian-13")],
            vec![],
            "did you mean `debian-12`",
        ),
        (
            &[("image", "alpine-3.20")],
            south(),
            "choose another network",
        ),
        (
            &[("image", "debian-12"), ("zone", "east")],
            vec![],
            "--zone: north, south",
        ),
        (
            &[("image", "debian-12"), ("region", "mars")],
            vec![],
            "those of home",
        ),
        (
            &[("image", "debian-12"), ("prefix", "10.9.0.0/24")],
            south(),
            "leave --prefix out",
        ),
        (
            &[("image", "debian-12"), ("prefix", "x")],
            vec![],
            "10.10.0.0/24",
        ),
        (
            &[("image", "debian-12"), ("cpu", "many")],
            vec![],
            "1 to 256",
        ),
    ];
    for (said, networks, hint) in table {
        let failure = choose(&asked(said), &acme(false), &stock(networks)).unwrap_err();
        let given = failure.hint.clone().unwrap_or_default();
        assert!(given.contains(hint), "{said:?}: {failure}: {given}");
    }
    let mut taken = stock(vec![]);
    taken.instances = BTreeSet::from(["www".to_owned()]);
    let said = asked(&[("image", "debian-12"), ("name", "www")]);
    let failure = choose(&said, &acme(false), &taken).unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
}

#[test]
fn a_tenant_is_found_by_flag_context_or_as_the_only_one() {
    let around = |tenants: &[&str]| Around {
        namespace: "home".to_owned(),
        user: "Ann.B".to_owned(),
        tenants: Some(tenants.iter().map(|name| (*name).to_owned()).collect()),
        namespaces: Some(BTreeSet::from(["ann-b".to_owned()])),
    };
    let none = Asked::default();
    let of =
        |asked: &Asked, around: &Around| home(asked, around).map(|h| (h.setting.value, h.is_new));
    let pair = |name: &str, new: bool| Ok((name.to_owned(), new));
    assert_eq!(of(&none, &around(&["home", "x"])), pair("home", false));
    assert_eq!(of(&none, &around(&["x"])), pair("x", false));
    assert!(of(&none, &around(&["x", "y"])).is_err());
    assert_eq!(of(&none, &around(&[])), pair("ann-b-2", true));
    assert_eq!(
        of(&asked(&[("tenant", "x")]), &around(&["x", "y"])),
        pair("x", false)
    );
    assert_eq!(
        of(&asked(&[("tenant", "z")]), &around(&["x", "y"])),
        pair("z", true)
    );
    // A member sees no tenants: the namespace is theirs.
    let member = Around {
        tenants: None,
        ..around(&[])
    };
    assert_eq!(of(&none, &member), pair("home", false));
}

#[test]
fn where_providers_may_not_be_seen_nothing_is_checked() {
    let blind = Stock {
        networks: vec![network("web", "10.10.0.0/24", &[])],
        ..Stock::default()
    };
    let plan = choose(&asked(&[("image", "anything")]), &acme(false), &blind).unwrap();
    assert_eq!((plan.manifests.len(), value(&plan, "zone")), (1, ""));
}
