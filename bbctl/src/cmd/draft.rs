//! Turns the flags of each kind's `create` into its spec. Nothing is asked of a server.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::create::{Draft, Flags, some, spec};
use crate::error::Failure;

/// What `tenants create` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl tenants create acme --member alice=Admin --group developers
  bbctl tenants create acme --dry-run=client -o yaml")]
pub struct Tenant {
    /// Its name, which becomes that of its namespace
    pub name: String,
    /// A user who may work in it: NAME or NAME=ROLE, View, Edit or Admin [default role: Edit]
    #[arg(long = "member", value_name = "NAME[=ROLE]")]
    pub members: Vec<String>,
    /// A group, likewise
    #[arg(long = "group", value_name = "NAME[=ROLE]")]
    pub groups: Vec<String>,
    /// A Region that it may use [default: all]
    #[arg(long = "region", value_name = "NAME")]
    pub regions: Vec<String>,
    /// How to go about it
    #[command(flatten)]
    pub flags: Flags,
}

impl Draft for Tenant {
    const KIND: &'static str = "Tenant";

    fn name(&self) -> &str {
        &self.name
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn spec(&self, _: &[String]) -> Result<Value, Failure> {
        let users = self.members.iter().map(|said| member(said, "User"));
        let groups = self.groups.iter().map(|said| member(said, "Group"));
        let members: Vec<Value> = users.chain(groups).collect::<Result<_, _>>()?;
        Ok(spec([
            ("members", some(&members)),
            ("regions", some(&self.regions)),
        ]))
    }
}

/// Reads `NAME` or `NAME=ROLE` as a member of a tenant.
///
/// # Errors
/// When the role is none.
pub fn member(said: &str, kind: &str) -> Result<Value, Failure> {
    const ROLES: [&str; 3] = ["View", "Edit", "Admin"];
    let (name, role) = said.split_once('=').unwrap_or((said, "Edit"));
    let role = ROLES.iter().find(|known| known.eq_ignore_ascii_case(role));
    match role {
        Some(role) if !name.is_empty() => Ok(json!({"name": name, "kind": kind, "role": role})),
        _ => Err(Failure::usage(format!("`{said}` is not NAME or NAME=ROLE"))
            .hint("the roles are View, Edit and Admin")),
    }
}

/// What `networks create` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl networks create web --prefix 10.10.0.0/24
  bbctl networks create office --prefix 10.10.8.0/24 --zone north \\
    --dhcp 10.10.8.100-10.10.8.199
  bbctl networks create web --prefix 10.10.0.0/24 --dry-run=client -o yaml")]
pub struct Network {
    /// Its name
    pub name: String,
    /// Its IPv4 prefix, such as 10.10.0.0/24
    #[arg(long, value_name = "PREFIX")]
    pub prefix: String,
    /// The routers' address in it [default: the first]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<String>,
    /// A zone in which instances can join [default: all]
    #[arg(long = "zone", value_name = "NAME")]
    pub zones: Vec<String>,
    /// The Region [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Addresses that are never given out: ADDRESS or FIRST-LAST
    #[arg(long = "reserve", value_name = "RANGE")]
    pub reserved: Vec<String>,
    /// A pool for guests that are no instances: FIRST-LAST
    #[arg(long, value_name = "RANGE")]
    pub dhcp: Option<String>,
    /// A resolver that guests are told of
    #[arg(long = "dns", value_name = "ADDRESS")]
    pub servers: Vec<String>,
    /// Their search domain
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// How to go about it
    #[command(flatten)]
    pub flags: Flags,
}

impl Draft for Network {
    const KIND: &'static str = "Network";

    fn name(&self) -> &str {
        &self.name
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn spec(&self, _: &[String]) -> Result<Value, Failure> {
        let pool = match self.dhcp.as_deref().map(|range| range.split_once('-')) {
            None => None,
            Some(Some((from, to))) => Some(json!({"from": from, "to": to})),
            Some(None) => return Err(Failure::usage("--dhcp is FIRST-LAST, two addresses")),
        };
        let dns = spec([
            ("servers", some(&self.servers)),
            ("domain", self.domain.as_ref().map(|name| json!(name))),
        ]);
        let ipv4 = spec([
            ("prefix", Some(json!(self.prefix))),
            ("gateway", self.gateway.as_ref().map(|at| json!(at))),
            ("reserved", some(&self.reserved)),
            ("dhcp", pool),
        ]);
        Ok(spec([
            ("region", self.region.as_ref().map(|name| json!(name))),
            ("zones", some(&self.zones)),
            ("ipv4", Some(ipv4)),
            ("dns", (dns != json!({})).then_some(dns)),
        ]))
    }
}

/// What `instances create` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl instances create www-1 --image debian-12 --network web
  bbctl instances create pg --image debian-12 --network db=10.10.1.10 \\
    --network web --memory 4Gi --volume data --wait
  bbctl instances create www-1 --image debian-12 --network web --dry-run=client -o yaml")]
pub struct Instance {
    /// Its name, which becomes its host name
    pub name: String,
    /// The image; see `bbctl images list`
    #[arg(long, value_name = "NAME")]
    pub image: String,
    /// A network to have a card in: NAME, or NAME=ADDRESS; the first has the default gateway
    #[arg(long = "network", value_name = "NAME[=ADDRESS]")]
    pub networks: Vec<String>,
    /// Make a container in place of a virtual machine
    #[arg(long)]
    pub container: bool,
    /// Virtual CPUs [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub cpu: Option<u32>,
    /// Memory, such as 2Gi [default: 1Gi]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Root disk, such as 20Gi [default: the image's]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// A Volume to attach
    #[arg(long = "volume", value_name = "NAME")]
    pub volumes: Vec<String>,
    /// A file with SSH public keys that may log in, one a line; `-` is standard input
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// The zone to run in [default: one in which its networks are]
    #[arg(long, value_name = "NAME")]
    pub zone: Option<String>,
    /// Make it and do not start it
    #[arg(long)]
    pub stopped: bool,
    /// Refuse to destroy it until that is taken back
    #[arg(long)]
    pub protect: bool,
    /// How to go about it
    #[command(flatten)]
    pub flags: Flags,
}

impl Draft for Instance {
    const KIND: &'static str = "Instance";

    fn name(&self) -> &str {
        &self.name
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn files(&self) -> &[PathBuf] {
        &self.keys
    }

    fn spec(&self, files: &[String]) -> Result<Value, Failure> {
        if self.networks.is_empty() {
            return Err(Failure::usage("say which network it is in: --network NAME")
                .hint("see `bbctl networks list`"));
        }
        let cards = self.networks.iter().enumerate().map(card);
        let cards: Vec<Value> = cards.collect::<Result<_, _>>()?;
        let disks = self.volumes.iter().map(|volume| disk(volume));
        let disks: Vec<Value> = disks.collect();
        let mut keys = Vec::new();
        for text in files {
            keys.extend(public_keys(text)?);
        }
        Ok(spec([
            ("type", self.container.then(|| json!("Container"))),
            ("image", Some(json!(self.image))),
            ("cpu", self.cpu.map(|cpu| json!(cpu))),
            ("memory", self.memory.as_ref().map(|size| json!(size))),
            ("disk", self.disk.as_ref().map(|size| json!(size))),
            ("power", self.stopped.then(|| json!("Stopped"))),
            ("networks", some(&cards)),
            ("volumes", some(&disks)),
            ("sshKeys", some(&keys)),
            (
                "placement",
                self.zone.as_ref().map(|zone| json!({"zone": zone})),
            ),
            (
                "deletionProtection",
                self.protect.then_some(Value::Bool(true)),
            ),
        ]))
    }
}

/// A card in a network, called after it as far as that is short enough.
fn card((at, said): (usize, &String)) -> Result<Value, Failure> {
    /// How long the name of a card may be.
    const LONGEST: usize = 15;
    let (network, address) = match said.split_once('=') {
        None => (said.as_str(), None),
        Some((network, address)) => (network, Some(address)),
    };
    if network.is_empty() || address == Some("") {
        return Err(Failure::usage(format!(
            "`{said}` is not NAME or NAME=ADDRESS"
        )));
    }
    let plain = network.len() <= LONGEST && !network.contains('.');
    let name = match plain {
        true => network.to_owned(),
        false => format!("net{at}"),
    };
    let mut card = json!({"name": name, "network": network});
    if let Some(address) = address {
        card["address"] = json!(address);
    }
    Ok(card)
}

/// A disk of an instance that is a Volume, called after it.
#[must_use]
pub fn disk(volume: &str) -> Value {
    json!({"name": volume.replace('.', "-"), "volume": volume})
}

/// The keys of a file, one a line.
fn public_keys(text: &str) -> Result<Vec<String>, Failure> {
    if text.contains("PRIVATE KEY") {
        return Err(Failure::usage("--ssh-key names a private key")
            .hint("give the public one, which ends in .pub"));
    }
    let lines = text.lines().map(str::trim);
    let keys: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    match keys.is_empty() {
        true => Err(Failure::usage("there is no key in what --ssh-key names")),
        false => Ok(keys),
    }
}

/// What `volumes create` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl volumes create data --size 20Gi
  bbctl volumes create data --size 20Gi --class ssd --zone north --retain --dry-run=client")]
pub struct Volume {
    /// Its name
    pub name: String,
    /// How large, such as 20Gi
    #[arg(long, value_name = "SIZE")]
    pub size: String,
    /// The storage class [default: the cluster's first]
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// The Region [default: that of the instance, or the only one]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// The zone [default: that of the instance, or any]
    #[arg(long, value_name = "NAME")]
    pub zone: Option<String>,
    /// Keep the data when the Volume is deleted
    #[arg(long)]
    pub retain: bool,
    /// How to go about it
    #[command(flatten)]
    pub flags: Flags,
}

impl Draft for Volume {
    const KIND: &'static str = "Volume";

    fn name(&self) -> &str {
        &self.name
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn spec(&self, _: &[String]) -> Result<Value, Failure> {
        let text = |said: &Option<String>| said.as_ref().map(|text| json!(text));
        Ok(spec([
            ("size", Some(json!(self.size))),
            ("class", text(&self.class)),
            ("region", text(&self.region)),
            ("zone", text(&self.zone)),
            ("reclaimPolicy", self.retain.then(|| json!("Retain"))),
        ]))
    }
}

/// What `regions create` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl regions create north --asn 65000 --vnis 10000-19999 --tables 1000-1999
  bbctl regions create north --asn 65000 --trunk c1:vmbr1=r1:eth2:100-3999")]
pub struct Region {
    /// Its name
    pub name: String,
    /// The AS number of its routers
    #[arg(long, value_name = "NUMBER")]
    pub asn: i64,
    /// VXLAN network identifiers to give out
    #[arg(long, value_name = "FIRST-LAST", default_value = "10000-19999")]
    pub vnis: String,
    /// VRF tables to give out
    #[arg(long, value_name = "FIRST-LAST", default_value = "1000-1999")]
    pub tables: String,
    /// The underlay's MTU [default: 1500]
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<i32>,
    /// A trunk from a cluster to a router: CLUSTER:BRIDGE=ROUTER:INTERFACE:VLANS
    #[arg(long = "trunk", value_name = "TRUNK")]
    pub trunks: Vec<String>,
    /// How to go about it
    #[command(flatten)]
    pub flags: Flags,
}

impl Draft for Region {
    const KIND: &'static str = "Region";

    fn name(&self) -> &str {
        &self.name
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn spec(&self, _: &[String]) -> Result<Value, Failure> {
        let trunks = self.trunks.iter().map(|said| trunk(said));
        let trunks: Vec<Value> = trunks.collect::<Result<_, _>>()?;
        Ok(spec([
            ("asn", Some(json!(self.asn))),
            ("vnis", Some(json!(self.vnis))),
            ("tables", Some(json!(self.tables))),
            ("mtu", self.mtu.map(|bytes| json!(bytes))),
            ("attachments", some(&trunks)),
        ]))
    }
}

/// Reads `CLUSTER:BRIDGE=ROUTER:INTERFACE:VLANS`.
fn trunk(said: &str) -> Result<Value, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "`{said}` is not CLUSTER:BRIDGE=ROUTER:INTERFACE:VLANS"
        ))
        .hint("as in `c1:vmbr1=r1:eth2:100-3999`")
    };
    let (near, far) = said.split_once('=').ok_or_else(wrong)?;
    let (cluster, bridge) = near.split_once(':').ok_or_else(wrong)?;
    let far: Vec<&str> = far.split(':').collect();
    match far.as_slice() {
        [router, interface, vlans] => Ok(json!({
            "name": format!("{cluster}-{router}"),
            "cluster": cluster,
            "vlan": {"router": router, "interface": interface, "bridge": bridge, "vlans": vlans},
        })),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_called_after_its_network_and_may_ask_for_an_address() {
        let made = |at, said: &str| card((at, &said.to_owned()));
        assert_eq!(
            made(0, "web").unwrap(),
            json!({"name": "web", "network": "web"})
        );
        assert_eq!(
            made(0, "db=10.0.0.5").unwrap(),
            json!({"name": "db", "network": "db", "address": "10.0.0.5"})
        );
        let long = made(2, "a-name-that-is-longer").unwrap();
        assert_eq!(long["name"], "net2");
        assert!(made(0, "db=").is_err() && made(0, "=10.0.0.5").is_err());
    }

    #[test]
    fn members_have_a_role_and_edit_unless_told_other() {
        let bob = member("bob=view", "User").unwrap();
        assert_eq!(bob, json!({"name": "bob", "kind": "User", "role": "View"}));
        assert_eq!(member("dev", "Group").unwrap()["role"], "Edit");
        assert!(member("bob=root", "User").is_err() && member("=Edit", "User").is_err());
    }

    #[test]
    fn a_private_key_is_refused_and_comments_are_passed_over() {
        let keys = public_keys("# mine\nssh-ed25519 AAAA a\n\nssh-rsa BBBB b\n").unwrap();
        assert_eq!(keys, ["ssh-ed25519 AAAA a", "ssh-rsa BBBB b"]);
        assert!(public_keys("-----BEGIN OPENSSH PRIVATE KEY-----").is_err());
        assert!(public_keys("\n").is_err());
    }

    #[test]
    fn a_trunk_names_both_ends() {
        let made = trunk("c1:vmbr1=r1:eth2:100-3999").unwrap();
        assert_eq!(made["name"], "c1-r1");
        assert_eq!(made["vlan"]["vlans"], "100-3999");
        for wrong in [
            "",
            "c1",
            "c1=r1:eth2:1-2",
            "c1:vmbr1=r1:eth2",
            "c1:b=r:i:v:w",
        ] {
            assert!(trunk(wrong).is_err(), "{wrong}");
        }
    }
}
