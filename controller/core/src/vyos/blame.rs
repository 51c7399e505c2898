//! Turns the words of a router that refused a list into the objects that they are about.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{field, field_of_refusal};
use super::lines::Path;
use super::plan::{Command, Verb};
use crate::world::Uid;

/// What a router said when it did not take a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The commit failed: each node that did, and what was said of it. What passed stays.
    Commit(Vec<(Path, String)>),
    /// One command was refused before the commit: it, where it is known, and what was said.
    /// Nothing of the list is in.
    Command(Option<Path>, String),
    /// Something that fits neither.
    Unclear(String),
}

/// Whose fault a refusal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// Objects that the router's words lead to, or that are alone in question, and the words, for
    /// people.
    pub named: BTreeMap<Uid, String>,
    /// At least one of these, and the words do not say which.
    pub among: BTreeSet<Uid>,
    /// Whether it is the router's words that lead to the objects: in a list of many they would
    /// do so again.
    pub by_name: bool,
}

/// Finds whose commands a complaint is about. VyOS names the node whose script failed, which
/// several objects may share (all VRFs, all VLANs of an interface, all DHCP networks); then the
/// words of the script may name what is one object's own.
#[must_use]
pub fn blame(sent: &[Command], complaint: &Complaint) -> Blame {
    let mut found = Blame::default();
    let said = match complaint {
        Complaint::Commit(parts) => {
            let causes = causes(parts);
            for (node, words) in &causes {
                of_node(sent, node, words, &mut found);
            }
            let texts: Vec<String> = causes.iter().map(|(n, w)| part(n, w)).collect();
            texts.join("; ")
        }
        Complaint::Command(Some(path), words) => {
            for command in sent.iter().filter(|c| c.path.starts_with(path)) {
                let remedy = (command.verb == Verb::Set).then(|| field(&command.path));
                let text = with_remedy(words, remedy.flatten());
                found.named.insert(command.owner.clone(), text);
            }
            words.clone()
        }
        Complaint::Command(None, words) | Complaint::Unclear(words) => words.clone(),
    };
    found.by_name = !found.named.is_empty();
    if found.named.is_empty() && found.among.is_empty() {
        found.among = sent.iter().map(|c| c.owner.clone()).collect();
    }
    let named = &found.named;
    found.among.retain(|owner| !named.contains_key(owner));
    if found.among.len() == 1
        && let Some(owner) = found.among.pop_first()
    {
        // One object alone needs no name to be known.
        let mine: Vec<&Command> = sent.iter().filter(|c| c.owner == owner).collect();
        let text = with_remedy(&said, remedy_of(&mine, &[], &said));
        found.named.insert(owner, text);
    }
    found
}

/// The parts of a failed commit that are not for what failed before them. All VRFs share one
/// script: where it fails no VRF of the list is there, and everything that is put in one fails
/// too. All DHCP networks share one, which fails where the interface of one did.
fn causes(parts: &[(Path, String)]) -> Vec<&(Path, String)> {
    let of = |node: &Path, word: &str| node.first().is_some_and(|first| first == word);
    let vrfs = parts.iter().filter(|(node, _)| of(node, "vrf"));
    let vrfs: Vec<_> = vrfs.collect();
    if !vrfs.is_empty() {
        return vrfs;
    }
    let first: Vec<_> = parts.iter().filter(|(n, _)| !of(n, "service")).collect();
    if first.is_empty() {
        return parts.iter().collect();
    }
    first
}

fn remedy_of(mine: &[&Command], node: &[String], words: &str) -> Option<&'static str> {
    let sets = mine.iter().any(|c| c.verb == Verb::Set);
    sets.then(|| field_of_refusal(mine, node, words)).flatten()
}

fn of_node(sent: &[Command], node: &[String], words: &str, found: &mut Blame) {
    let candidates: Vec<&Command> = sent.iter().filter(|c| meets(&c.path, node)).collect();
    let owners: BTreeSet<&Uid> = candidates.iter().map(|c| &c.owner).collect();
    let said: BTreeSet<&str> = words
        .split(|c: char| c.is_whitespace() || "\"'[],!".contains(c))
        .collect();
    let spoken: BTreeSet<&Uid> = candidates
        .iter()
        .filter(|c| is_spoken_of(&c.path, &said))
        .map(|c| &c.owner)
        .collect();
    let guilty = match (owners.len(), spoken.is_empty()) {
        (1, _) => owners,
        (_, false) => spoken,
        _ => {
            found.among.extend(owners.into_iter().cloned());
            return;
        }
    };
    for owner in guilty {
        let mine: Vec<&Command> = candidates
            .iter()
            .copied()
            .filter(|c| c.owner == *owner)
            .collect();
        let text = with_remedy(&part(node, words), remedy_of(&mine, node, words));
        match found.named.get_mut(owner) {
            Some(known) => *known = format!("{known}; {text}"),
            None => drop(found.named.insert(owner.clone(), text)),
        }
    }
}

fn part(node: &[String], words: &str) -> String {
    format!("{}: {words}", node.join(" "))
}

fn with_remedy(words: &str, remedy: Option<&str>) -> String {
    let words = words.trim_end_matches(['.', '!']);
    match remedy {
        Some(field) => format!("{words} (from {field}: change it there)"),
        None => words.to_owned(),
    }
}

/// Whether a path is at, below or above a node.
fn meets(path: &[String], node: &[String]) -> bool {
    let shared = node.len().min(path.len());
    shared > 0 && node[..shared] == path[..shared]
}

/// Whether words name something that only few paths have: a number, an address, an interface.
fn is_spoken_of(path: &[String], said: &BTreeSet<&str>) -> bool {
    // The first words are the same in every path, and short ones say nothing.
    let telling = |word: &&String| word.len() > 3 && word.bytes().any(|b| b.is_ascii_digit());
    let named = path.iter().skip(2).filter(telling);
    if named.into_iter().any(|word| said.contains(word.as_str())) {
        return true;
    }
    match path {
        // A VLAN goes by the name that the kernel has for it.
        [_, _, parent, vif, number, ..] if vif == "vif" => {
            said.contains(format!("{parent}.{number}").as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::words;
    use super::*;

    fn set(owner: &str, path: &str) -> Command {
        Command {
            owner: owner.to_owned(),
            verb: Verb::Set,
            path: words(path),
        }
    }

    fn commit(parts: &[(&str, &str)]) -> Complaint {
        let parts = parts.iter().map(|(n, w)| (words(n), (*w).to_owned()));
        Complaint::Commit(parts.collect())
    }

    fn named(blame: &Blame) -> Vec<&str> {
        blame.named.keys().map(String::as_str).collect()
    }

    #[test]
    fn each_object_hears_of_itself_only() {
        let sent = [
            set("a", "interfaces vxlan vxlan10001 vni 10001"),
            set("a", "interfaces vxlan vxlan10001 mtu 9000"),
            set("b", "interfaces vxlan vxlan10002 vni 10002"),
            set("c", "interfaces dummy dum1"),
        ];
        let complaint = commit(&[
            ("interfaces vxlan vxlan10002", "no room"),
            ("interfaces vxlan vxlan10001", "the mtu is too large!"),
        ]);
        let found = blame(&sent, &complaint);
        assert_eq!(named(&found), ["a", "b"]);
        assert_eq!(
            found.named["a"],
            "interfaces vxlan vxlan10001: the mtu is too large (from Region.spec.mtu: change it there)"
        );
        assert!(!found.named["b"].contains("10001"), "{found:?}");
    }

    #[test]
    fn of_objects_that_share_a_node_the_words_name_one_or_none() {
        let sent = [
            set("a", "vrf name bb1000 table 1000"),
            set("b", "vrf name bb1001 table 1001"),
            set("c", "interfaces ethernet eth2 vif 101 address 10.0.1.1/24"),
            set("d", "interfaces ethernet eth2 vif 102 address 10.0.2.1/24"),
        ];
        let by_name = commit(&[("vrf", "VRF \"bb1001\" table id modification not possible!")]);
        assert_eq!(named(&blame(&sent, &by_name)), ["b"]);
        let by_interface = commit(&[(
            "interfaces ethernet eth2",
            "Cannot assign address to interface \"eth2.101\" as it is a member of bridge \"br1\"!",
        )]);
        assert_eq!(named(&blame(&sent, &by_interface)), ["c"]);
        let mute = commit(&[("interfaces ethernet eth2", "no")]);
        let found = blame(&sent, &mute);
        assert_eq!(found.named.len(), 0);
        assert_eq!(found.among, ["c", "d"].map(str::to_owned).into());
    }

    #[test]
    fn what_fails_for_want_of_a_vrf_or_an_interface_is_not_to_blame() {
        let sent = [
            set("t", "vrf name bb1000 table 1000"),
            set("a", "interfaces bridge br10001 vrf bb1000"),
            set(
                "a",
                "service dhcp-server shared-network-name bb10001 authoritative",
            ),
            set(
                "b",
                "service dhcp-server shared-network-name bb10002 authoritative",
            ),
        ];
        let vrf = commit(&[
            ("vrf", "VRF \"bb1000\" table id is not unique!"),
            (
                "interfaces bridge br10001",
                "VRF \"bb1000\" does not exist!",
            ),
        ]);
        assert_eq!(named(&blame(&sent, &vrf)), ["t"]);
        let bridge = commit(&[
            ("interfaces bridge br10001", "no"),
            (
                "service dhcp-server",
                "None of the interfaces has an address in \"bb10002\"",
            ),
        ]);
        assert_eq!(named(&blame(&sent, &bridge)), ["a"]);
        let dhcp = commit(&[("service dhcp-server", "Subnet of \"bb10002\" overlaps")]);
        assert_eq!(named(&blame(&sent, &dhcp)), ["b"]);
    }

    #[test]
    fn a_node_of_nobody_or_no_node_leaves_everybody_in_question() {
        let sent = [
            set("a", "vrf name bb1000 vni 1"),
            set("b", "vrf name bb1001 vni 2"),
        ];
        for complaint in [
            commit(&[("protocols ospf", "no")]),
            commit(&[]),
            Complaint::Command(None, "Invalid value".to_owned()),
            Complaint::Unclear("?".to_owned()),
        ] {
            let found = blame(&sent, &complaint);
            assert_eq!(
                (found.named.len(), found.among.len()),
                (0, 2),
                "{complaint:?}"
            );
        }
        let alone = blame(&sent[..1], &Complaint::Unclear("?".to_owned()));
        assert_eq!((named(&alone), alone.among.len()), (vec!["a"], 0));
    }

    #[test]
    fn a_command_that_is_named_leads_to_its_object_and_field() {
        let sent = [
            set("a", "interfaces bridge br1 mtu 1"),
            set("b", "interfaces bridge br2 mtu 1"),
        ];
        let path = words("interfaces bridge br2 mtu 1");
        let found = blame(
            &sent,
            &Complaint::Command(Some(path), "Must be between 68".into()),
        );
        assert_eq!(named(&found), ["b"]);
        assert!(found.named["b"].ends_with("(from Region.spec.mtu: change it there)"));
    }
}
