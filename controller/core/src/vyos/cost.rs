//! Turns a list of commands and what a router runs into the seconds that the commit will take.
//!
//! Fitted to VyOS 1.5 (build of October 2024, two CPUs), within about 30 % of what was measured
//! there. Other machines are faster or slower as a whole: [`Pace`] learns by how much. The shape
//! stays: what is configured already is read twice in every commit, whatever it changes, then
//! every interface touched has a script of its own, then every command has its validators.

use std::collections::BTreeSet;

use super::lines::Lines;
use super::plan::{Command, Verb};

/// Seconds of a command: the validators of most leaves.
const COMMAND: f64 = 0.03;
/// Seconds of a command under a VRF: BGP's validators are many.
const VRF_COMMAND: f64 = 0.09;
/// Seconds of the script of a bridge or a VXLAN interface.
const TUNNEL: f64 = 0.77;
/// Seconds of the script of an interface with VLANs, all of them together.
const PARENT: f64 = 1.4;
/// Seconds of the script of all VRFs, when there is none with BGP yet.
const VRFS: f64 = 1.2;
/// What each VRF with BGP adds to that script.
const BGP_VRF: f64 = 0.25;
/// Seconds of the script of one BGP instance.
const BGP: f64 = 0.5;
/// Seconds of the script of the DHCP server.
const DHCP: f64 = 0.1;
/// Seconds of reading an empty configuration; each commit does so twice.
const READ: f64 = 0.6;
/// Seconds that each word of the configuration adds to such a reading.
const WORD: f64 = 0.0035;

/// What a router runs, as far as it decides what a commit costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Words of the configuration, each node and each value once.
    words: usize,
    /// VRFs that run BGP.
    bgp_vrfs: usize,
}

impl Load {
    /// Weighs a running configuration.
    #[must_use]
    pub fn of(running: &Lines) -> Self {
        let mut load = Self::default();
        let mut before: &[String] = &[];
        let mut vrfs = BTreeSet::new();
        for line in running.iter() {
            let shared = line.iter().zip(before).take_while(|(a, b)| a == b).count();
            load.words += line.len() - shared;
            before = line;
            vrfs.extend(bgp_vrf(line));
        }
        load.bgp_vrfs = vrfs.len();
        load
    }
}

fn bgp_vrf(line: &[String]) -> Option<&str> {
    match line {
        [a, b, vrf, c, d, ..] if a == "vrf" && b == "name" && c == "protocols" && d == "bgp" => {
            Some(vrf)
        }
        _ => None,
    }
}

/// The price of a list that grows command by command.
#[derive(Clone, Debug)]
pub struct Price<'a> {
    load: Load,
    seconds: f64,
    words: usize,
    scripts: BTreeSet<&'a [String]>,
    vrfs: BTreeSet<&'a str>,
    touches_vrfs: bool,
}

impl<'a> Price<'a> {
    /// The price of nothing on a router with this load.
    #[must_use]
    pub fn on(load: Load) -> Self {
        Self {
            load,
            seconds: 0.0,
            words: load.words,
            scripts: BTreeSet::new(),
            vrfs: BTreeSet::new(),
            touches_vrfs: false,
        }
    }

    /// Adds a command to the list.
    pub fn add(&mut self, command: &'a Command) {
        let path = command.path.as_slice();
        let under_vrf = path.first().is_some_and(|word| word == "vrf");
        self.seconds += if under_vrf { VRF_COMMAND } else { COMMAND };
        if command.verb == Verb::Set {
            // A leaf and its value; the nodes above come once for many.
            self.words += 2;
        }
        let mut script = |node: &'a [String], seconds: f64| {
            if self.scripts.insert(node) {
                self.seconds += seconds;
            }
        };
        match path {
            [a, kind, _, ..] if a == "interfaces" && (kind == "bridge" || kind == "vxlan") => {
                script(&path[..3], TUNNEL);
            }
            [a, _, _, ..] if a == "interfaces" => script(&path[..3], PARENT),
            [a, b, _, ..] if a == "vrf" && b == "name" => {
                self.touches_vrfs = true;
                if path.len() == 3 || bgp_vrf(path).is_some() {
                    script(&path[..3], BGP);
                }
                self.vrfs.extend(bgp_vrf(path));
            }
            [a, b, ..] if a == "service" && b == "dhcp-server" => script(&path[..2], DHCP),
            _ => {}
        }
    }

    /// What the commit of the list takes, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        // VRFs that are there already are counted twice at worst: a tenant is made once.
        let instances = self.load.bgp_vrfs + self.vrfs.len();
        let vrfs = if self.touches_vrfs {
            VRFS + BGP_VRF * count(instances)
        } else {
            0.0
        };
        let reads = 2.0 * READ + WORD * count(self.load.words + self.words);
        self.seconds + vrfs + reads
    }
}

/// What a commit of `commands` takes on a router with this load, in seconds.
#[must_use]
pub fn seconds(load: Load, commands: &[Command]) -> f64 {
    let mut price = Price::on(load);
    for command in commands {
        price.add(command);
    }
    price.seconds()
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// How much slower than the model a router is: 1 is as measured, 2 takes twice as long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace(f64);

impl Default for Pace {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Pace {
    /// Commits shorter than this say little, in seconds.
    const TELLING: f64 = 5.0;

    /// Learns from a commit that was expected to take `expected` seconds and took `took`. A slow
    /// router is believed at once, a fast one by half each time: too long a list is worse than
    /// one list more. Never below 1, since nobody knows how long it stays fast.
    #[must_use]
    pub fn after(self, expected: f64, took: f64) -> Self {
        if expected < Self::TELLING && took < Self::TELLING {
            return self;
        }
        let seen = took / expected.max(0.1);
        let next = if seen > self.0 {
            seen
        } else {
            f64::midpoint(self.0, seen)
        };
        Self(next.clamp(1.0, 8.0))
    }

    /// So many seconds of the model on this router.
    #[must_use]
    pub fn seconds(self, seconds: f64) -> f64 {
        seconds * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::words;
    use super::*;

    fn sets(lines: &[String]) -> Vec<Command> {
        lines
            .iter()
            .map(|line| Command {
                owner: String::new(),
                verb: Verb::Set,
                path: words(line),
            })
            .collect()
    }

    fn network(n: usize) -> Vec<String> {
        let (bridge, vxlan) = (
            format!("interfaces bridge br{n}"),
            format!("interfaces vxlan vxlan{n}"),
        );
        vec![
            format!("{bridge} address 10.0.0.1/24"),
            format!("{bridge} description x"),
            format!("{bridge} mac 02:00:00:00:00:01"),
            format!("{bridge} member interface vxlan{n}"),
            format!("{bridge} vrf t"),
            format!("{vxlan} parameters neighbor-suppress"),
            format!("{vxlan} parameters nolearning"),
            format!("{vxlan} source-address 10.255.0.1"),
            format!("{vxlan} vni {n}"),
        ]
    }

    fn networks(count: usize) -> Vec<String> {
        (0..count).flat_map(|n| network(1000 + n)).collect()
    }

    fn tenants(count: usize) -> Vec<String> {
        (0..count)
            .flat_map(|n| {
                let vrf = format!("vrf name t{n}");
                let bgp = format!("{vrf} protocols bgp");
                vec![
                    format!("{vrf} table {}", 1000 + n),
                    format!("{vrf} vni {}", 9000 + n),
                    format!("{bgp} system-as 65000"),
                    format!("{bgp} parameters router-id 10.255.0.1"),
                    format!("{bgp} address-family ipv4-unicast redistribute connected"),
                    format!("{bgp} address-family l2vpn-evpn advertise ipv4 unicast"),
                    format!("{bgp} address-family l2vpn-evpn rd 10.255.0.1:{n}"),
                    format!("{bgp} address-family l2vpn-evpn route-target import 65000:{n}"),
                    format!("{bgp} address-family l2vpn-evpn route-target export 65000:{n}"),
                    format!("interfaces vxlan vxlan{} vni 1", 9000 + n),
                    format!(
                        "interfaces vxlan vxlan{} source-address 10.255.0.1",
                        9000 + n
                    ),
                    format!("interfaces vxlan vxlan{} parameters nolearning", 9000 + n),
                    format!(
                        "interfaces bridge br{} member interface vxlan{}",
                        9000 + n,
                        9000 + n
                    ),
                    format!("interfaces bridge br{} vrf t{n}", 9000 + n),
                ]
            })
            .collect()
    }

    fn running(lines: &[String]) -> Load {
        Load::of(&lines.iter().map(|line| words(line)).collect())
    }

    #[test]
    fn the_model_is_within_a_third_of_what_was_measured() {
        let none = Load::default();
        let one = |line: &str| sets(&[line.to_owned()]);
        let rows: [(&str, Load, Vec<Command>, f64); 10] = [
            ("1 network", none, sets(&networks(1)), 3.7),
            ("5 networks", none, sets(&networks(5)), 12.8),
            ("25 networks", none, sets(&networks(25)), 52.0),
            ("50 networks", none, sets(&networks(50)), 93.8),
            ("100 networks", none, sets(&networks(100)), 214.0),
            (
                "a network on 50",
                running(&networks(50)),
                sets(&network(1)),
                8.9,
            ),
            (
                "a network on 100",
                running(&networks(100)),
                sets(&network(1)),
                20.2,
            ),
            (
                "a description on 100",
                running(&networks(100)),
                one("interfaces bridge br1000 description y"),
                16.7,
            ),
            ("10 tenants", none, sets(&tenants(10)), 47.5),
            (
                "the 11th tenant",
                running(&tenants(10)),
                sets(&tenants(1)),
                13.8,
            ),
        ];
        for (what, load, commands, measured) in rows {
            let expected = seconds(load, &commands);
            let ratio = expected / measured;
            assert!(
                (0.66..1.34).contains(&ratio),
                "{what}: {expected:.1} s, measured {measured}"
            );
        }
    }

    #[test]
    fn a_slow_router_is_believed_at_once_and_a_fast_one_by_and_by() {
        let pace = Pace::default().after(100.0, 300.0);
        assert_eq!(pace, Pace(3.0));
        assert_eq!(pace.after(2.0, 1.0), pace, "a short commit says little");
        assert_eq!(pace.after(100.0, 100.0), Pace(2.0));
        assert_eq!(Pace::default().after(100.0, 1.0), Pace::default());
        assert_eq!(Pace::default().after(0.0, 9000.0), Pace(8.0));
    }
}
