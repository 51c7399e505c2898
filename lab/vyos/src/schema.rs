//! Turns a path into what VyOS 1.5 knows about it: which kind of node, which values, whose script.
//!
//! Holds the nodes an operator of tenant networks sends and those the recordings use, not all
//! of VyOS: a path that is missing here is refused as the real one refuses a path it lacks.

mod checks;
mod filters;
mod interfaces;
mod routing;
mod services;

use crate::values::Check;
use std::sync::LazyLock;

/// What a node may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Named children.
    Node,
    /// Children of free name, each with the same nodes below.
    Tag(Check),
    /// Values.
    Leaf { check: Check, multi: bool },
    /// Nothing: it is there or not.
    Flag,
}

/// One node of the schema.
#[derive(Debug)]
pub(crate) struct Def {
    pub name: &'static str,
    pub kind: Kind,
    /// The commit priority of the script that owns this node, when one does. A tag node's
    /// script runs once per name.
    pub priority: Option<u16>,
    pub children: Vec<Def>,
}

impl Def {
    fn owned(mut self, priority: u16) -> Self {
        self.priority = Some(priority);
        self
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }
}

fn node(name: &'static str, children: Vec<Def>) -> Def {
    Def {
        name,
        kind: Kind::Node,
        priority: None,
        children,
    }
}

fn tag(name: &'static str, check: Check, children: Vec<Def>) -> Def {
    Def {
        name,
        kind: Kind::Tag(check),
        priority: None,
        children,
    }
}

fn leaf(name: &'static str, check: Check) -> Def {
    Def {
        name,
        kind: Kind::Leaf {
            check,
            multi: false,
        },
        priority: None,
        children: vec![],
    }
}

fn multi(name: &'static str, check: Check) -> Def {
    Def {
        name,
        kind: Kind::Leaf { check, multi: true },
        priority: None,
        children: vec![],
    }
}

fn flag(name: &'static str) -> Def {
    Def {
        name,
        kind: Kind::Flag,
        priority: None,
        children: vec![],
    }
}

fn flags(names: &[&'static str]) -> Vec<Def> {
    names.iter().copied().map(flag).collect()
}

static ROOT: LazyLock<Def> = LazyLock::new(|| {
    node(
        "",
        vec![
            interfaces::interfaces(),
            routing::vrf(),
            routing::protocols(),
            services::service(),
            services::system(),
            filters::nat(),
            filters::firewall(),
        ],
    )
});

/// What the end of a path is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// The node itself; of a tag node, without a name.
    Node(&'static Def),
    /// One name of a tag node.
    Name(&'static Def),
    /// One value of a leaf.
    Value(&'static Def),
}

impl At {
    /// The top, above every word.
    #[must_use]
    pub(crate) fn top() -> Self {
        Self::Node(&ROOT)
    }

    /// One word further down, when there is such a word.
    #[must_use]
    pub(crate) fn step(self, word: &str) -> Option<Self> {
        match self {
            Self::Node(def) => match def.kind {
                Kind::Node => def.child(word).map(Self::Node),
                Kind::Tag(_) => Some(Self::Name(def)),
                Kind::Leaf { .. } => Some(Self::Value(def)),
                Kind::Flag => None,
            },
            Self::Name(def) => def.child(word).map(Self::Node),
            Self::Value(_) => None,
        }
    }

    /// When in a commit the script of this very node runs, when it has one of its own.
    #[must_use]
    pub(crate) fn priority(self) -> Option<u16> {
        match self {
            Self::Node(def) if !matches!(def.kind, Kind::Tag(_)) => def.priority,
            Self::Name(def) => def.priority,
            Self::Node(_) | Self::Value(_) => None,
        }
    }
}

/// What `path` names, when it is a path at all. Names and values are not checked.
#[must_use]
pub(crate) fn find<S: AsRef<str>>(path: &[S]) -> Option<At> {
    path.iter()
        .try_fold(At::top(), |at, word| at.step(word.as_ref()))
}

/// Every name and value on the way along `path`, with the check it has to pass.
#[must_use]
pub(crate) fn checks<S: AsRef<str>>(path: &[S]) -> Vec<(Check, String)> {
    (1..=path.len())
        .filter_map(|end| {
            let check = match find(&path[..end])? {
                At::Name(Def {
                    kind: Kind::Tag(check),
                    ..
                })
                | At::Value(Def {
                    kind: Kind::Leaf { check, .. },
                    ..
                }) => *check,
                _ => return None,
            };
            Some((check, path[end - 1].as_ref().to_owned()))
        })
        .collect()
}

/// Whether `path` is a tag node without a name.
#[must_use]
pub(crate) fn is_tag<S: AsRef<str>>(path: &[S]) -> bool {
    matches!(
        find(path),
        Some(At::Node(Def {
            kind: Kind::Tag(_),
            ..
        }))
    )
}

/// Whether `path` is a leaf that holds many values.
#[must_use]
pub(crate) fn is_multi<S: AsRef<str>>(path: &[S]) -> bool {
    matches!(
        find(path),
        Some(At::Node(Def {
            kind: Kind::Leaf { multi: true, .. },
            ..
        }))
    )
}

/// Whether `path` is a node that is there or not, with nothing below.
#[must_use]
pub(crate) fn is_flag<S: AsRef<str>>(path: &[S]) -> bool {
    matches!(
        find(path),
        Some(At::Node(Def {
            kind: Kind::Flag,
            ..
        }))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split(' ').collect()
    }

    #[test]
    fn a_script_belongs_to_a_node_or_to_each_name() {
        let priority = |path: &str| find(&words(path)).unwrap().priority();
        assert_eq!(priority("vrf"), Some(11));
        assert_eq!(priority("vrf name t-a protocols bgp"), Some(821));
        assert_eq!(priority("interfaces vxlan vxlan1"), Some(460));
        assert_eq!(priority("interfaces vxlan"), None);
        assert_eq!(priority("protocols"), None);
    }

    #[test]
    fn kinds_are_told_apart() {
        assert!(is_tag(&words("interfaces dummy")));
        assert!(is_multi(&words("interfaces dummy dum0 address")));
        assert!(is_flag(&words("interfaces dummy dum0 disable")));
        assert!(find(&words("interfaces dummy dum0 disable yes")).is_none());
        assert!(find(&words("interfaces dummy dum0 colour")).is_none());
        assert!(find(&words("firewall zone Z member vrf")).is_none());
    }

    #[test]
    fn everything_the_controller_sends_is_known() {
        for path in [
            "interfaces ethernet eth1 vif 100 vrf t-a",
            "interfaces bridge br1 member interface vxlan1",
            "interfaces bridge br1 ip enable-arp-accept",
            "interfaces bridge br1 enable-vlan",
            "interfaces vxlan vxlan1 parameters neighbor-suppress",
            "interfaces vxlan vxlan1 source-interface eth0",
            "vrf name t-a protocols static route 0.0.0.0/0 next-hop 192.0.2.1",
            "vrf name t-a protocols bgp address-family l2vpn-evpn advertise ipv4 unicast",
            "vrf name t-a protocols bgp address-family l2vpn-evpn route-target both 65000:1",
            "service dhcp-server shared-network-name n subnet 10.0.0.0/24 range r start 10.0.0.9",
            "service dhcp-server listen-address 10.0.0.1",
        ] {
            assert!(find(&words(path)).is_some(), "{path}");
        }
    }
}
