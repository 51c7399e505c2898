//! Turns the size of a request and of the configuration into the time the real router took.
//!
//! Fitted to measurements on VyOS 1.5 (October 2024) with two CPUs: commits within about 30 %.
//! What dominates is the size of the configuration, whatever is changed, then the interface
//! scripts, then the commands.

use crate::edit::Edit;
use crate::tree::Node;
use std::time::Duration;

/// How much of the real time is spent: 1.0 all of it, 0.0 none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scale(pub f64);

impl Scale {
    /// So many seconds of the real router.
    #[must_use]
    pub(crate) fn seconds(self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds * self.0).unwrap_or_default()
    }
}

/// Real seconds from the answer to an https change until its commit is through.
pub(crate) const BACKGROUND_COMMIT: f64 = 6.5;
/// Real seconds the API is away while it restarts after an https change.
pub(crate) const RESTART: f64 = 2.7;
/// Real seconds the API is away after a crash.
pub(crate) const CRASH: f64 = 1.5;

fn nodes(config: &Node) -> f64 {
    config.size() as f64
}

/// Real seconds to read `whole` or part of a configuration: the price is its size, not the
/// answer's.
#[must_use]
pub(crate) fn read(config: &Node, whole: bool) -> f64 {
    if whole {
        0.22 + 0.0026 * nodes(config)
    } else {
        0.15 + 0.0014 * nodes(config)
    }
}

/// Real seconds from the request to the end of its last command.
#[must_use]
pub(crate) fn commands(config: &Node, edits: &[Edit]) -> f64 {
    let validators = |edit: &Edit| {
        if edit.path.iter().any(|word| word == "static-mapping") {
            0.085
        } else {
            0.03
        }
    };
    0.32 + 0.0045 * nodes(config) + edits.iter().map(validators).sum::<f64>()
}

/// Real seconds to find that nothing changed, after the commands.
#[must_use]
pub(crate) fn nothing(config: &Node) -> f64 {
    0.05 + 0.0008 * nodes(config)
}

/// Real seconds of the scripts and of what follows them.
#[must_use]
pub(crate) fn commit(config: &Node, scripts: &[Vec<String>]) -> f64 {
    let instances = config
        .below(&["vrf", "name"])
        .filter(|(_, vrf)| vrf.get(&["protocols", "bgp"]).is_some())
        .count() as f64;
    let script = |path: &Vec<String>| match path.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        ["interfaces", "bridge", _] => 0.79,
        ["interfaces", "vxlan", _] => 0.75,
        ["interfaces", "ethernet", _] => 1.32,
        ["interfaces", ..] => 0.59,
        ["vrf"] => 1.2 + 0.25 * instances,
        [.., "bgp"] => 0.47,
        ["service", "dhcp-server"] => 0.09,
        ["firewall"] => 1.5,
        _ => 0.4,
    };
    scripts.iter().map(script).sum::<f64>() + 0.9 + 0.0047 * nodes(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn networks(count: usize) -> Node {
        let mut config = Node::default();
        for n in 0..count {
            let bridge = json!({"address": "10.0.0.1/24", "description": "n", "mac": "m",
                "member": {"interface": {"vxlan1": {}}}, "vrf": "t"});
            let vxlan = json!({"parameters": {"nolearning": {}, "neighbor-suppress": {}},
                "source-address": "1", "vni": "1"});
            *config.make(&["interfaces", "bridge", &format!("br{n}")]) = Node::from_json(&bridge);
            *config.make(&["interfaces", "vxlan", &format!("vxlan{n}")]) = Node::from_json(&vxlan);
        }
        config
    }

    #[test]
    fn one_description_costs_more_the_more_there_is() {
        let edit = [Edit::set("interfaces bridge br1 description x")];
        let script = [["interfaces", "bridge", "br1"].map(str::to_owned).to_vec()];
        let seconds = |count: usize| {
            let config = networks(count);
            commands(&config, &edit) + commit(&config, &script)
        };
        // Measured: 3 s at 1 network, 9.6 s at 50, 16.7 s at 100.
        assert!((1.5..4.0).contains(&seconds(1)), "{}", seconds(1));
        assert!((6.5..12.5).contains(&seconds(50)), "{}", seconds(50));
        assert!((11.5..21.5).contains(&seconds(100)), "{}", seconds(100));
    }

    #[test]
    fn no_scale_no_time() {
        assert_eq!(Scale(0.0).seconds(100.0), Duration::ZERO);
        assert_eq!(Scale(0.5).seconds(2.0), Duration::from_secs(1));
    }
}
