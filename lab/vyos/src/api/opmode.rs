//! Turns op-mode commands into the text a person would see.

use super::change::not_an_operation;
use super::{Answer, Api};
use crate::render;
use crate::router::{Router, State};
use rand::Rng as _;
use serde_json::Value;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The commands there are, blank separated; `*` stands for any word.
const KNOWN: [&str; 18] = [
    "generate pki wireguard key-pair",
    "generate pki wireguard preshared-key",
    "reboot now",
    "show bgp",
    "show bgp summary",
    "show bgp l2vpn evpn summary",
    "show bgp vrf * summary",
    "show configuration",
    "show configuration commands",
    "show configuration json",
    "show configuration json pretty",
    "show dhcp server leases",
    "show host name",
    "show interfaces",
    "show nat source rules",
    "show system uptime",
    "show version",
    "show vrf",
];

/// Words commands begin with that are not among [`KNOWN`].
const BEGUN: [&str; 1] = ["generate wireguard"];

/// What a line of words is among the commands there are.
enum Line {
    Command,
    Incomplete,
    /// The first word that fits none.
    Invalid(usize),
}

fn look_up(words: &[&str]) -> Line {
    let fits = |count: usize| {
        let commands = KNOWN
            .iter()
            .chain(&BEGUN)
            .map(|line| line.split(' ').collect::<Vec<_>>());
        commands.filter(move |known| {
            known.len() >= count
                && known
                    .iter()
                    .zip(&words[..count])
                    .all(|(k, w)| k == w || *k == "*")
        })
    };
    if let Some(bad) = (1..=words.len()).find(|count| fits(*count).next().is_none()) {
        return Line::Invalid(bad - 1);
    }
    let begun = BEGUN.contains(&words.join(" ").as_str());
    if !begun && fits(words.len()).any(|known| known.len() == words.len()) {
        Line::Command
    } else {
        Line::Incomplete
    }
}

impl Api {
    /// `/show`, `/generate` and `/reboot`.
    pub(super) fn operate(&self, endpoint: &str, call: &Value) -> Answer {
        let verb = endpoint.trim_start_matches('/');
        let op = call.get("op").and_then(Value::as_str).unwrap_or_default();
        if op != verb {
            return Answer::Error(400, not_an_operation(op));
        }
        let path = call.get("path").and_then(Value::as_array);
        let words: Vec<&str> = [verb]
            .into_iter()
            .chain(path.into_iter().flatten().filter_map(Value::as_str))
            .collect();
        match operate(&words, &self.router) {
            Ok(said) => Answer::Data(said.into()),
            Err(text) => Answer::Error(400, text),
        }
    }
}

/// What an op-mode command says, or how it is refused.
pub(crate) fn operate(words: &[&str], router: &Router) -> Result<String, String> {
    let line = match look_up(words) {
        Line::Command => words.join(" "),
        Line::Incomplete => {
            let text = format!("\n  Incomplete command: {}\n\n", words.join(" "));
            return Err(text);
        }
        Line::Invalid(bad) => {
            let shown: Vec<String> = words
                .iter()
                .enumerate()
                .map(|(at, word)| {
                    if at == bad {
                        format!("[{word}]")
                    } else {
                        (*word).into()
                    }
                })
                .collect();
            return Err(format!("\n  Invalid command: {}\n\n", shown.join(" ")));
        }
    };
    if line == "reboot now" {
        router.reboot();
        return Ok(String::new());
    }
    Ok(said(&line, &router.state()))
}

fn said(line: &str, state: &State) -> String {
    let config = &state.running;
    match line {
        "generate pki wireguard key-pair" => {
            format!(
                "Private key: {}\nPublic key: {}\n\n",
                random_key(),
                random_key()
            )
        }
        "generate pki wireguard preshared-key" => format!("Pre-shared key: {}\n", random_key()),
        "show bgp" if config.get(&["protocols", "bgp"]).is_none() => {
            "Default BGP instance not found\n".to_owned()
        }
        "show bgp" => "No BGP prefixes displayed, 0 exist\n".to_owned(),
        "show configuration" => render::raw(&[], config, 0),
        "show configuration commands" => config.commands(),
        "show configuration json" => format!("{}\n", render::json(config)),
        "show configuration json pretty" => format!("{:#}\n", render::json(config)),
        "show dhcp server leases" => {
            "IP Address    MAC address    State    Lease start    Lease expiration    Remaining    \
             Pool    Hostname    Origin\n"
                .to_owned()
        }
        "show host name" => {
            format!(
                "{}\n",
                config.value(&["system", "host-name"]).unwrap_or("vyos")
            )
        }
        "show interfaces" => interfaces(state),
        "show nat source rules" => nat_rules(state),
        "show version" => "Version:          VyOS 1.5-rolling-202410220007\nRelease train:    \
                           current\nRelease flavor:   generic\n\nBuilt by:         a stand-in\n"
            .to_owned(),
        "show vrf" => vrfs(state),
        "show system uptime" => "Uptime: 1m 0s\n".to_owned(),
        other => match other.split(' ').collect::<Vec<_>>()[..] {
            ["show", "bgp", "vrf", vrf, "summary"] => bgp_summary(state, Some(vrf)),
            _ => bgp_summary(state, None),
        },
    }
}

/// 32 random bytes in base64. The two of a pair do not belong together: nothing here
/// encrypts, and nothing checks.
fn random_key() -> String {
    let mut rng = rand::rng();
    let mut key: String = (0..42)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect();
    // The last letter before the padding carries four bits.
    key.push(char::from(ALPHABET[rng.random_range(0..16) * 4]));
    key.push('=');
    key
}

fn bgp_summary(state: &State, vrf: Option<&str>) -> String {
    let path = match vrf {
        None => vec!["protocols", "bgp"],
        Some(vrf) => vec!["vrf", "name", vrf, "protocols", "bgp"],
    };
    let Some(bgp) = state.running.get(&path) else {
        return "% BGP instance not found\n".to_owned();
    };
    let asn = bgp.value(&["system-as"]).unwrap_or_default();
    let id = bgp.value(&["parameters", "router-id"]).unwrap_or("0.0.0.0");
    let name = vrf.unwrap_or("default");
    let mut text = format!(
        "\nL2VPN EVPN Summary (VRF {name}):\nBGP router identifier {id}, local AS number {asn} \
         vrf-id 0\nBGP table version 0\n\nNeighbor        V         AS   MsgRcvd   MsgSent   \
         TblVer  InQ OutQ  Up/Down State/PfxRcd   PfxSnt Desc\n"
    );
    let mut count = 0;
    for (neighbor, peer) in bgp.below(&["neighbor"]) {
        let description = peer.value(&["description"]).unwrap_or("N/A");
        text.push_str(&format!(
            "{neighbor:<16}4          0         0         0        0    0    0    never       \
             Active        0 {description}\n"
        ));
        count += 1;
    }
    text.push_str(&format!("\nTotal number of neighbors {count}\n"));
    text
}

fn interfaces(state: &State) -> String {
    let mut names: Vec<&String> = state.kernel.nics.iter().collect();
    names.extend(
        state
            .kernel
            .links
            .keys()
            .filter(|name| !state.kernel.nics.contains(*name)),
    );
    let mut text = "Codes: S - State, L - Link, u - Up, D - Down, A - Admin Down\nInterface    IP \
                    Address    MAC                VRF        MTU  S/L    Description\n"
        .to_owned();
    for name in names {
        let link = state.kernel.links.get(name);
        let address = link
            .and_then(|l| l.addresses.first())
            .map_or("-", String::as_str);
        let vrf = link
            .and_then(|link| link.vrf.as_deref())
            .unwrap_or("default");
        let mtu = link.and_then(|link| link.mtu).unwrap_or(1500);
        text.push_str(&format!("{name:<12} {address:<13} - {vrf:<10} {mtu} u/u\n"));
    }
    text
}

fn nat_rules(state: &State) -> String {
    let mut text = "Rule    Source    Destination    Proto    Out-Int    Translation\n".to_owned();
    for (rule, config) in state.running.below(&["nat", "source", "rule"]) {
        let source = config.value(&["source", "address"]).unwrap_or("0.0.0.0/0");
        let out = config
            .value(&["outbound-interface", "name"])
            .unwrap_or("any");
        let translation = config.value(&["translation", "address"]).unwrap_or("-");
        text.push_str(&format!(
            "{rule}    {source}    0.0.0.0/0    any    {out}    {translation}\n"
        ));
    }
    text
}

fn vrfs(state: &State) -> String {
    if state.kernel.vrfs.is_empty() {
        return "VRF is not configured\n".to_owned();
    }
    let mut text = "Name    State    MAC address    Flags    Interfaces\n".to_owned();
    for name in state.kernel.vrfs.keys() {
        let members: Vec<&str> = state
            .kernel
            .links
            .iter()
            .filter(|(_, link)| link.vrf.as_deref() == Some(name))
            .map(|(member, _)| member.as_str())
            .collect();
        text.push_str(&format!(
            "{name}    up    -    -    {}\n",
            members.join("\n")
        ));
    }
    text
}
