//! Turns a candidate into a running configuration, script by script, keeping what passed.
//!
//! A commit of VyOS is not atomic: each script's part is judged and kept on its own, deletes
//! first from the highest priority down, then the rest from the lowest up.

use crate::kernel::Kernel;
use crate::schema::At;
use crate::tree::Node;
use crate::verify::{self, Part, Refusal};
use crate::wrap::wrap;
use std::collections::{BTreeMap, BTreeSet};

type Path = Vec<String>;
/// The nodes of one script: path and values.
type Nodes = BTreeMap<Path, Vec<String>>;

/// What came of a commit.
#[derive(Debug)]
pub(crate) struct Committed {
    pub running: Node,
    /// Warnings and refusals as they were printed, empty when there were none.
    pub said: String,
    /// Whether some part was refused.
    pub failed: bool,
    /// The nodes whose scripts ran, in that order.
    pub scripts: Vec<Path>,
}

/// The nodes of `tree` by the script that owns them; those of nobody under the empty path.
fn by_script(tree: &Node) -> BTreeMap<Path, (u16, Nodes)> {
    fn step(
        node: &Node,
        at: Option<At>,
        path: &mut Path,
        owner: &(Path, u16),
        all: &mut BTreeMap<Path, (u16, Nodes)>,
    ) {
        for (name, child) in &node.children {
            path.push(name.clone());
            let at = at.and_then(|at| at.step(name));
            let own = at
                .and_then(At::priority)
                .map(|priority| (path.clone(), priority));
            let owner = own.as_ref().unwrap_or(owner);
            all.entry(owner.0.clone())
                .or_insert_with(|| (owner.1, Nodes::new()))
                .1
                .insert(path.clone(), child.values.clone());
            step(child, at, path, owner, all);
            path.pop();
        }
    }
    let mut all = BTreeMap::new();
    step(
        tree,
        Some(At::top()),
        &mut Path::new(),
        &(Path::new(), 0),
        &mut all,
    );
    all
}

/// The nodes whose scripts have something to do, in the order they run, and whether each is
/// taken away altogether.
fn order(
    old: &BTreeMap<Path, (u16, Nodes)>,
    new: &BTreeMap<Path, (u16, Nodes)>,
) -> Vec<(Path, bool)> {
    let paths: BTreeSet<&Path> = old.keys().chain(new.keys()).collect();
    let (mut deletes, mut sets) = (Vec::new(), Vec::new());
    for path in paths.into_iter().filter(|path| !path.is_empty()) {
        match (old.get(path), new.get(path)) {
            (Some((priority, _)), None) => deletes.push((*priority, path.clone())),
            (was, Some((priority, nodes))) if was.map(|(_, nodes)| nodes) != Some(nodes) => {
                sets.push((*priority, path.clone()));
            }
            _ => {}
        }
    }
    deletes.sort_by(|a, b| b.cmp(a));
    // Equal priorities run in reverse order of their names, as recorded.
    sets.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    let deletes = deletes.into_iter().map(|(_, path)| (path, true));
    deletes
        .chain(sets.into_iter().map(|(_, path)| (path, false)))
        .collect()
}

/// Commits `candidate` over `running`.
#[must_use]
pub(crate) fn commit(running: &Node, candidate: &Node, kernel: &mut Kernel) -> Committed {
    let (old, new) = (by_script(running), by_script(candidate));
    let mut said = String::new();
    let mut refused = BTreeSet::new();
    let mut scripts = Vec::new();
    for (path, deleting) in order(&old, &new) {
        let part = Part {
            path: &path,
            deleting,
            old: running,
            new: candidate,
        };
        let mut warnings = Vec::new();
        let verdict = verify::verify(&part, kernel, &mut warnings)
            .and_then(|()| verify::apply(&part, kernel));
        let label = path.join(" ");
        if verdict.is_err() || !warnings.is_empty() {
            said.push_str(&format!("[ {label} ]\n"));
        }
        for warning in &warnings {
            said.push_str(&format!("\n{}\n\n", wrap(&format!("WARNING: {warning}"))));
        }
        match verdict {
            Ok(()) if warnings.is_empty() => {}
            Ok(()) => said.push('\n'),
            Err(refusal) => {
                let text = match refusal {
                    Refusal::Config(text) => wrap(&text),
                    Refusal::Crash(text) => format!("{text}\n"),
                };
                said.push_str(&format!("{text}\n"));
                said.push_str(&if deleting {
                    format!("delete [ {label} ] failed\n")
                } else {
                    format!("[[{label}]] failed\n")
                });
                refused.insert(path.clone());
            }
        }
        scripts.push(path);
    }
    let failed = !refused.is_empty();
    if failed {
        said.push_str("Commit failed\n");
    }
    Committed {
        running: merge(&old, &new, &refused),
        said,
        failed,
        scripts,
    }
}

/// What runs afterwards: the candidate, with the parts of refused scripts as they were.
fn merge(
    old: &BTreeMap<Path, (u16, Nodes)>,
    new: &BTreeMap<Path, (u16, Nodes)>,
    refused: &BTreeSet<Path>,
) -> Node {
    let mut tree = Node::default();
    let kept = old.iter().filter(|(owner, _)| refused.contains(*owner));
    let taken = new.iter().filter(|(owner, _)| !refused.contains(*owner));
    for (_, (_, nodes)) in kept.chain(taken) {
        for (path, values) in nodes {
            tree.make(path).values.clone_from(values);
        }
    }
    drop_empty_tags(&mut tree, At::top());
    tree
}

/// Takes away tag nodes whose every name was refused.
fn drop_empty_tags(tree: &mut Node, at: At) {
    tree.children.retain(|name, child| {
        let Some(at) = at.step(name) else { return true };
        drop_empty_tags(child, at);
        let tag = matches!(at, At::Node(def) if matches!(def.kind, crate::schema::Kind::Tag(_)));
        !(tag && child.children.is_empty())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::Edit;
    use serde_json::json;

    struct Bench {
        running: Node,
        kernel: Kernel,
    }

    impl Bench {
        fn new() -> Self {
            let nics = ["eth0", "eth1"].map(str::to_owned).into();
            Self {
                running: Node::default(),
                kernel: Kernel::boot(&Node::default(), &nics),
            }
        }

        fn commit(&mut self, edits: &[Edit]) -> Committed {
            let mut candidate = self.running.clone();
            for edit in edits {
                edit.apply(&mut candidate).unwrap();
            }
            let committed = commit(&self.running, &candidate, &mut self.kernel);
            self.running = committed.running.clone();
            committed
        }

        fn must(&mut self, edits: &[Edit]) {
            let committed = self.commit(edits);
            assert!(!committed.failed, "{}", committed.said);
        }
    }

    fn tenant() -> Vec<Edit> {
        [
            "interfaces bridge br1 vrf t-a",
            "interfaces bridge br1 member interface vxlan1",
            "interfaces vxlan vxlan1 vni 1",
            "interfaces vxlan vxlan1 source-address 192.0.2.1",
            "vrf name t-a protocols bgp system-as 65000",
            "vrf name t-a table 1001",
            "vrf name t-a vni 1",
        ]
        .map(Edit::set)
        .into()
    }

    #[test]
    fn sets_run_upwards_and_deletes_run_downwards_before_them() {
        let mut bench = Bench::new();
        let scripts = |committed: &Committed| -> Vec<String> {
            committed
                .scripts
                .iter()
                .map(|path| path.join(" "))
                .collect()
        };
        let made = bench.commit(&tenant());
        assert_eq!(
            scripts(&made),
            [
                "vrf",
                "interfaces bridge br1",
                "interfaces vxlan vxlan1",
                "vrf name t-a protocols bgp"
            ]
        );
        let gone = bench.commit(&[
            Edit::delete("vrf name t-a"),
            Edit::delete("interfaces bridge br1"),
            Edit::delete("interfaces vxlan vxlan1"),
            Edit::set("interfaces dummy dum0 address 10.0.0.1/32"),
        ]);
        assert_eq!(
            scripts(&gone),
            [
                "vrf name t-a protocols bgp",
                "interfaces vxlan vxlan1",
                "interfaces bridge br1",
                "vrf",
                "interfaces dummy dum0"
            ]
        );
        assert!(!gone.failed, "{}", gone.said);
    }

    #[test]
    fn what_passed_stays_when_something_else_is_refused() {
        let mut bench = Bench::new();
        let committed = bench.commit(&[
            Edit::set("interfaces dummy dum1 address 10.1.0.1/32"),
            Edit::set("interfaces vxlan vxlan200 vni 200"),
        ]);
        assert_eq!(
            committed.said,
            "[ interfaces vxlan vxlan200 ]\nGroup, remote, source-address or source-interface must \
             be configured\n[[interfaces vxlan vxlan200]] failed\nCommit failed\n"
        );
        let want = json!({"interfaces": {"dummy": {"dum1": {"address": "10.1.0.1/32"}}}});
        assert_eq!(bench.running.to_json(), want);
    }

    #[test]
    fn a_refused_vrf_delete_still_loses_its_protocols() {
        let mut bench = Bench::new();
        bench.must(&tenant());
        let committed = bench.commit(&[Edit::delete("vrf name t-a")]);
        assert!(
            committed.said.contains("Can not remove VRF \"t-a\""),
            "{}",
            committed.said
        );
        let left = bench
            .running
            .get(&["vrf", "name", "t-a"])
            .unwrap()
            .to_json();
        assert_eq!(left, json!({"protocols": {}, "table": "1001", "vni": "1"}));
    }

    #[test]
    fn a_vlan_in_a_vrf_does_not_keep_the_vrf() {
        let mut bench = Bench::new();
        bench.must(&[
            Edit::set("vrf name t-a table 1001"),
            Edit::set("interfaces ethernet eth1 vif 100 vrf t-a"),
        ]);
        bench.must(&[Edit::delete("vrf name t-a")]);
        assert!(
            bench
                .running
                .has(&["interfaces", "ethernet", "eth1", "vif", "100", "vrf", "t-a"])
        );
    }

    #[test]
    fn the_kernel_keeps_a_vrf_the_configuration_lost() {
        let mut bench = Bench::new();
        bench.must(&[
            Edit::set("vrf name t-a table 1001"),
            Edit::set("vrf name t-a vni 5"),
        ]);
        let twice = bench.commit(&[
            Edit::set("vrf name t-b table 1002"),
            Edit::set("vrf name t-b vni 5"),
        ]);
        assert!(twice.failed);
        assert!(bench.running.get(&["vrf", "name", "t-b"]).is_none());
        let retry = bench.commit(&[Edit::set("vrf name t-b table 1003")]);
        assert!(
            retry.said.contains("table id modification not possible!"),
            "{}",
            retry.said
        );
        bench.must(&[
            Edit::set("vrf name t-b table 1002"),
            Edit::set("vrf name t-b vni 6"),
        ]);
    }

    #[test]
    fn foreign_nodes_are_carried_along() {
        let seed = json!({
            "container": {"name": {"web": {"image": "nginx", "port": {"http": {"source": "80"}}}}},
            "interfaces": {"tunnel": {"tun0": {"encapsulation": "gre", "odd": {}}},
                "ethernet": {"eth0": {"ring-buffer": {"rx": "512"}}}},
        });
        let mut bench = Bench::new();
        bench.running = Node::from_json(&seed);
        bench.must(&[Edit::set("interfaces ethernet eth0 description up")]);
        bench.must(&[Edit::delete("interfaces ethernet eth0 description")]);
        assert_eq!(bench.running.to_json(), seed);
    }
}
