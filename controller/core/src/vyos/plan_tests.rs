//! The laws of a router's plan, by property, and its branches, by example.

use proptest::prelude::*;

use super::super::lines::words;
use super::*;

const HERE: &str = "inst";

fn vif(owner: &str, number: u16, address: &str) -> Claim {
    let root = words(&format!("interfaces ethernet eth2 vif {number}"));
    let mut lines = Lines::default();
    for (leaf, value) in [
        ("address", address.to_owned()),
        ("vrf", "bb1000".to_owned()),
        ("description", mark(HERE, owner, owner)),
    ] {
        let mut line = root.clone();
        line.extend([leaf.to_owned(), value]);
        lines.insert(line);
    }
    let want = Want::Present {
        roots: vec![Root(root)],
        lines,
    };
    Claim {
        owner: owner.to_owned(),
        label: owner.to_owned(),
        tenant: String::new(),
        want,
        observe: false,
    }
}

fn vrf(owner: &str) -> Claim {
    let root = words("vrf name bb1000");
    let mut lines = Lines::default();
    lines.insert(words("vrf name bb1000 table 1000"));
    let mut line = root.clone();
    line.extend(["description".to_owned(), mark(HERE, owner, owner)]);
    lines.insert(line);
    let want = Want::Present {
        roots: vec![Root(root)],
        lines,
    };
    Claim {
        owner: owner.to_owned(),
        label: owner.to_owned(),
        tenant: String::new(),
        want,
        observe: false,
    }
}

fn desired(claims: Vec<Claim>) -> Desired {
    Desired {
        installation: HERE.to_owned(),
        claims,
        coming: BTreeSet::new(),
    }
}

fn absent(claim: &Claim) -> Claim {
    Claim {
        want: Want::Absent,
        observe: false,
        ..claim.clone()
    }
}

fn shown(plan: &Plan) -> Vec<String> {
    plan.commands.iter().map(ToString::to_string).collect()
}

fn foreign() -> Lines {
    [
        "interfaces ethernet eth2 vif 99 address 192.0.2.9/24",
        "interfaces ethernet eth2 vif 98",
        "vrf name blue table 200",
        "firewall ipv4 forward filter rule 10 action accept",
    ]
    .iter()
    .map(|l| words(l))
    .collect()
}

#[test]
fn a_new_object_is_only_sets_and_an_old_one_only_its_roots() {
    let claim = vif("u1", 110, "10.0.0.1/24");
    let first = plan(&desired(vec![claim.clone()]), &foreign());
    assert_eq!(shown(&first).len(), 3);
    assert!(first.commands.iter().all(|c| c.verb == Verb::Set));
    let running = apply(&foreign(), &first.commands);
    let last = plan(&desired(vec![absent(&claim)]), &running);
    assert_eq!(shown(&last), ["delete interfaces ethernet eth2 vif 110"]);
    assert_eq!(apply(&running, &last.commands), foreign());
}

#[test]
fn a_changed_value_is_one_delete_and_one_set() {
    let old = vif("u1", 110, "10.0.0.1/24");
    let running = apply(&foreign(), &plan(&desired(vec![old]), &foreign()).commands);
    let next = plan(&desired(vec![vif("u1", 110, "10.0.0.2/24")]), &running);
    assert_eq!(
        shown(&next),
        [
            "delete interfaces ethernet eth2 vif 110 address 10.0.0.1/24",
            "set interfaces ethernet eth2 vif 110 address 10.0.0.2/24",
        ]
    );
}

#[test]
fn what_a_person_added_below_our_node_goes_by_its_highest_node() {
    let claim = vif("u1", 110, "10.0.0.1/24");
    let mut running = apply(
        &foreign(),
        &plan(&desired(vec![claim.clone()]), &foreign()).commands,
    );
    running.insert(words("interfaces ethernet eth2 vif 110 ip adjust-mss 1400"));
    running.insert(words(
        "interfaces ethernet eth2 vif 110 ip enable-arp-accept",
    ));
    let repair = plan(&desired(vec![claim]), &running);
    assert_eq!(
        shown(&repair),
        ["delete interfaces ethernet eth2 vif 110 ip"]
    );
}

#[test]
fn a_node_without_our_mark_is_a_conflict_and_stays() {
    for number in [98, 99] {
        let planned = plan(&desired(vec![vif("u1", number, "10.0.0.1/24")]), &foreign());
        assert_eq!(planned.commands, []);
        assert_eq!(planned.held["u1"].reason, Reason::Conflict);
    }
}

#[test]
fn a_node_with_the_mark_of_another_installation_is_a_conflict() {
    let mut running = foreign();
    let mut line = words("interfaces ethernet eth2 vif 110 description");
    line.push(mark("elsewhere", "u1", "u1"));
    running.insert(line);
    let planned = plan(&desired(vec![vif("u1", 110, "10.0.0.1/24")]), &running);
    assert_eq!(planned.commands, []);
    assert_eq!(planned.held["u1"].reason, Reason::Conflict);
    assert_eq!(
        plan(&desired(vec![absent(&vif("u1", 110, ""))]), &running).commands,
        []
    );
}

#[test]
fn marks_that_no_object_accounts_for_are_reported_and_stay() {
    let claim = vif("u1", 110, "10.0.0.1/24");
    let running = apply(
        &foreign(),
        &plan(&desired(vec![claim]), &foreign()).commands,
    );
    let planned = plan(&desired(vec![]), &running);
    assert_eq!(planned.commands, []);
    assert_eq!(
        planned.orphans,
        ["interfaces ethernet eth2 vif 110 (of u1)"]
    );
}

#[test]
fn a_vrf_stays_while_a_line_of_somebody_else_refers_to_it() {
    let claim = vrf("t1");
    let mut running = apply(
        &foreign(),
        &plan(&desired(vec![claim.clone()]), &foreign()).commands,
    );
    running.insert(words("interfaces ethernet eth5 vrf bb1000"));
    let held = plan(&desired(vec![absent(&claim)]), &running);
    assert_eq!(held.commands, []);
    assert!(
        held.held["t1"]
            .message
            .contains("interfaces ethernet eth5 vrf bb1000")
    );
    running.remove(&words("interfaces ethernet eth5 vrf bb1000"));
    assert_eq!(
        shown(&plan(&desired(vec![absent(&claim)]), &running)),
        ["delete vrf name bb1000"]
    );
}

#[test]
fn a_tenant_stays_whole_while_something_is_in_its_vrf() {
    let mut tenant = vrf("t1");
    let Want::Present { roots, lines } = &mut tenant.want else {
        unreachable!("a VRF is asked for");
    };
    roots.push(Root(words("interfaces bridge br20")));
    lines.insert(words("interfaces bridge br20 vrf bb1000"));
    let mut line = words("interfaces bridge br20 description");
    line.push(mark(HERE, "t1", "t1"));
    lines.insert(line);
    let network = vif("u1", 110, "10.0.0.1/24");
    let both = desired(vec![tenant.clone(), network.clone()]);
    let running = apply(&foreign(), &plan(&both, &foreign()).commands);
    // The network's object vanished, and its tenant asks for nothing here, or for another VRF.
    let mut other = vrf("t1");
    other.want = Want::Present {
        roots: vec![Root(words("vrf name bb1001"))],
        lines: [words("vrf name bb1001 table 1001")].into_iter().collect(),
    };
    for claim in [absent(&tenant), other] {
        let held = plan(&desired(vec![claim]), &running);
        assert!(held.commands.iter().all(|c| c.verb == Verb::Set));
        assert!(held.held["t1"].message.contains("eth2 vif 110 vrf bb1000"));
    }
    let gone = plan(&desired(vec![absent(&tenant), absent(&network)]), &running);
    assert_eq!(apply(&running, &gone.commands), foreign());
}

#[test]
fn a_vrf_and_its_members_go_in_one_list() {
    let (tenant, network) = (vrf("t1"), vif("u1", 110, "10.0.0.1/24"));
    let both = desired(vec![tenant.clone(), network.clone()]);
    let running = apply(&foreign(), &plan(&both, &foreign()).commands);
    let gone = plan(&desired(vec![absent(&tenant), absent(&network)]), &running);
    assert_eq!(gone.commands.len(), 2);
    assert_eq!(apply(&running, &gone.commands), foreign());
}

#[test]
fn a_part_of_a_plan_leaves_a_vrf_to_later_while_its_members_stay() {
    let network = vif("net", 100, "10.0.0.1/24");
    let tenant = vrf("ten");
    let both = desired(vec![network.clone(), tenant.clone()]);
    let running = apply(&foreign(), &plan(&both, &foreign()).commands);
    let going = desired(vec![absent(&network), absent(&tenant)]);
    let whole = plan(&going, &running).commands;
    let (now, early) = without_early_vrfs(whole.clone(), &running);
    assert_eq!((now, early), (whole.clone(), Vec::new()));
    // The router refused the network's delete, so the tenant's is all that is left to send.
    let tenants: Vec<Command> = whole.into_iter().filter(|c| c.owner == "ten").collect();
    let (now, early) = without_early_vrfs(tenants.clone(), &running);
    assert_eq!((now, early), (Vec::new(), tenants.clone()));
    // The network's delete went in a list before.
    let gone = apply(
        &running,
        &plan(&desired(vec![absent(&network), tenant]), &running).commands,
    );
    let (now, early) = without_early_vrfs(tenants.clone(), &gone);
    assert_eq!((now, early), (tenants, Vec::new()));
}

fn pool(owner: &str, name: &str) -> Claim {
    let root = words(&format!("service dhcp-server shared-network-name {name}"));
    let mut lines = Lines::default();
    let mut line = root.clone();
    line.extend(["description".to_owned(), mark(HERE, owner, owner)]);
    lines.insert(line);
    let want = Want::Present {
        roots: vec![Root(root)],
        lines,
    };
    Claim {
        owner: owner.to_owned(),
        label: owner.to_owned(),
        tenant: String::new(),
        want,
        observe: false,
    }
}

#[test]
fn the_dhcp_server_goes_with_its_last_network_and_not_before() {
    let (one, two) = (pool("u1", "bb1"), pool("u2", "bb2"));
    let both = desired(vec![one.clone(), two.clone()]);
    let running = apply(&foreign(), &plan(&both, &foreign()).commands);
    let first = plan(&desired(vec![absent(&one), two.clone()]), &running);
    assert_eq!(
        shown(&first),
        ["delete service dhcp-server shared-network-name bb1"]
    );
    let mut last = plan(&desired(vec![absent(&one), absent(&two)]), &running);
    assert_eq!(last.commands.len(), 2, "each object knows of its own");
    last.commands = without_empty_dhcp(&running, last.commands);
    assert_eq!(shown(&last), ["delete service dhcp-server"]);
    let mut shared = running.clone();
    shared.insert(words(
        "service dhcp-server shared-network-name lan subnet 192.0.2.0/24 lease 60",
    ));
    let kept = plan(&desired(vec![absent(&one), absent(&two)]), &shared);
    assert_eq!(without_empty_dhcp(&shared, kept.commands).len(), 2);
}

#[test]
fn what_a_refused_vrf_leaves_behind_is_no_conflict() {
    let mut running = foreign();
    running.insert(words("vrf name bb1000 protocols"));
    assert_eq!(plan(&desired(vec![vrf("t1")]), &running).held.len(), 0);
    running.remove(&words("vrf name bb1000 protocols"));
    running.insert(words("vrf name bb1000 protocols bgp system-as 65000"));
    assert_eq!(plan(&desired(vec![vrf("t1")]), &running).held.len(), 0);
    running.insert(words("vrf name bb1000 table 77"));
    assert_eq!(plan(&desired(vec![vrf("t1")]), &running).held.len(), 1);
}

fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
    prop::collection::btree_map(0u16..6, (100u16..106, 1u8..5, 0u8..4), 0..6).prop_map(|map| {
        let mut taken = BTreeSet::new();
        let mut claims = vec![vrf("tenant")];
        for (owner, (number, host, kind)) in map {
            if !taken.insert(number) {
                continue;
            }
            let claim = vif(
                &format!("u{owner}"),
                number,
                &format!("10.0.{number}.{host}/24"),
            );
            claims.push(if kind == 0 { absent(&claim) } else { claim });
        }
        claims
    })
}

/// Passes until nothing is left to do. A node that one object leaves is free for another in the
/// pass after; as many passes as there are objects are enough for any chain of such moves.
fn converge(want: &Desired, running: Lines) -> Lines {
    (0..=want.claims.len()).fold(running, |running, _| {
        apply(&running, &plan(want, &running).commands)
    })
}

proptest! {
    #[test]
    fn a_plan_applied_leaves_nothing_to_do(first in any_claims(), second in any_claims()) {
        let running = apply(&foreign(), &plan(&desired(first), &foreign()).commands);
        let want = desired(second);
        let after = converge(&want, running);
        prop_assert_eq!(plan(&want, &after).commands, vec![]);
    }

    #[test]
    fn a_crash_half_way_still_converges(first in any_claims(), second in any_claims(), cut in 0usize..20) {
        let running = apply(&foreign(), &plan(&desired(first), &foreign()).commands);
        let want = desired(second);
        let commands = plan(&want, &running).commands;
        // VyOS keeps or drops what belongs to one node as a whole, so a cut falls between roots.
        let kept: Vec<Command> = commands.iter().enumerate()
            .filter(|(at, c)| *at < cut || commands[..cut.min(commands.len())].iter()
                .any(|k| k.path.get(..5) == c.path.get(..5)))
            .map(|(_, c)| c.clone()).collect();
        let crashed = apply(&running, &kept);
        let after = converge(&want, crashed);
        prop_assert_eq!(plan(&want, &after).commands, vec![]);
    }

    #[test]
    fn the_order_of_objects_does_not_matter(mut claims in any_claims()) {
        let forward = plan(&desired(claims.clone()), &foreign());
        claims.reverse();
        prop_assert_eq!(plan(&desired(claims), &foreign()), forward);
    }

    #[test]
    fn foreign_lines_survive_everything(rounds in prop::collection::vec(any_claims(), 1..5)) {
        let mut running = foreign();
        for claims in rounds {
            let commands = plan(&desired(claims), &running).commands;
            running = apply(&running, &commands);
            for line in foreign().iter() {
                prop_assert!(running.contains(line));
            }
        }
    }

    #[test]
    fn deleting_all_objects_deletes_all_of_theirs(claims in any_claims()) {
        let running = apply(&foreign(), &plan(&desired(claims.clone()), &foreign()).commands);
        let none = desired(claims.iter().map(absent).collect());
        prop_assert_eq!(apply(&running, &plan(&none, &running).commands), foreign());
    }
}
