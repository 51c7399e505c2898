//! Turns specs and statuses into how much is asked for and given, the largest first.
//!
//! Nobody measures the load of a guest for us, so none is shown.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use bb_crds::Size;

use super::scope;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::{self, Object, at, text};
use crate::out::{Format, Out};
use crate::session::{Scope, Session};
use crate::table::{ALWAYS, Cell, Table};

/// What `bbctl top` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl top instances -n acme
  bbctl top tenants
  bbctl top providers -o json
  bbctl top networks -A

It adds up what specs ask for and what was given out. The load of guests is not measured.")]
pub struct Args {
    /// By what: instances, volumes, networks, tenants, providers or regions
    #[arg(
        value_name = "WHAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub what: What,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// By what it is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Each instance
    #[default]
    #[value(alias = "instance")]
    Instances,
    /// Each volume
    #[value(alias = "volume")]
    Volumes,
    /// Each network's addresses
    #[value(alias = "network")]
    Networks,
    /// Each namespace's instances and volumes
    #[value(alias = "tenant")]
    Tenants,
    /// Each cluster's instances and volumes
    #[value(alias = "provider")]
    Providers,
    /// Each Region's numbers
    #[value(alias = "region")]
    Regions,
}

/// How much something asks for. What nothing is said of is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// What asks for it.
    pub name: String,
    /// Its namespace; empty for one of the whole cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Instances.
    pub instances: u64,
    /// Instances that were last seen running.
    pub running: u64,
    /// Virtual CPUs of all of them.
    pub cpu: u64,
    /// Memory of all of them in bytes.
    pub memory_bytes: u64,
    /// Root disks whose size is said, in bytes.
    pub disk_bytes: u64,
    /// Volumes.
    pub volumes: u64,
    /// Sizes of all of them in bytes.
    pub volume_bytes: u64,
}

/// How much of a range is given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Of what.
    pub name: String,
    /// Its namespace; empty for one of the whole cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Which range: `addresses`, `vnis` or `tables`.
    pub range: &'static str,
    /// Given out.
    pub used: u64,
    /// In all.
    pub total: u64,
}

impl Share {
    /// In percent, rounded up: what is nearly full is not shown as less.
    fn percent(&self) -> u64 {
        (self.used * 100).div_ceil(self.total.max(1))
    }
}

fn bytes(object: &Object, pointers: &[&str]) -> u64 {
    let said = pointers.iter().map(|pointer| text(object, pointer));
    let first = said.into_iter().find(|text| !text.is_empty());
    // The definitions let no other text through.
    first.map_or(0, |text| Size::from(text.as_str()).bytes().unwrap_or(0))
}

impl Load {
    fn named(name: String, namespace: String) -> Self {
        Self {
            name,
            namespace,
            ..Self::default()
        }
    }

    fn add_instance(&mut self, instance: &Object) {
        self.instances += 1;
        self.running += u64::from(text(instance, "/status/power") == "Running");
        self.cpu += at(instance, "/spec/cpu")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(1);
        self.memory_bytes += bytes(instance, &["/spec/memory"]);
        self.disk_bytes += bytes(instance, &["/spec/disk"]);
    }

    fn add_volume(&mut self, volume: &Object) {
        self.volumes += 1;
        self.volume_bytes += bytes(volume, &["/status/size", "/spec/size"]);
    }
}

/// Adds up instances and volumes by a name that is made from each: whose it counts to.
#[must_use]
pub fn add_up(
    instances: &[Object],
    volumes: &[Object],
    whose: impl Fn(&Object) -> (String, String),
) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    let mut of = |object: &Object, add: fn(&mut Load, &Object)| {
        let (name, namespace) = whose(object);
        let found = loads
            .iter()
            .position(|load| load.name == name && load.namespace == namespace);
        let at = found.unwrap_or_else(|| {
            loads.push(Load::named(name, namespace));
            loads.len() - 1
        });
        add(&mut loads[at], object);
    };
    for instance in instances {
        of(instance, Load::add_instance);
    }
    for volume in volumes {
        of(volume, Load::add_volume);
    }
    loads.sort_by(|one, other| {
        let size = |load: &Load| (load.memory_bytes, load.volume_bytes);
        size(other)
            .cmp(&size(one))
            .then_with(|| one.name.cmp(&other.name))
    });
    loads
}

fn own(object: &Object) -> (String, String) {
    (
        object::name(object).to_owned(),
        object::namespace(object).to_owned(),
    )
}

/// Shows what is asked for, or how much of a range is given out.
///
/// # Errors
/// When the objects may not be read.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let narrow = scope(args.all_namespaces, session);
    let read = |kind: &'static str, scope: Scope| async move {
        session.list(Kind::called(kind), &scope, None).await
    };
    let everywhere = Scope::Everywhere;
    match args.what {
        What::Instances => {
            let loads = add_up(&read("Instance", narrow).await?, &[], own);
            tell_loads(&loads, args, out)?;
        }
        What::Volumes => {
            let loads = add_up(&[], &read("Volume", narrow).await?, own);
            tell_loads(&loads, args, out)?;
        }
        What::Tenants | What::Providers => {
            // A cluster's load is everybody's; of a tenant, one's own namespace may be all.
            let scope = match (args.what, asked) {
                (What::Tenants, Some(_)) => narrow,
                _ => everywhere,
            };
            let instances = read("Instance", scope.clone()).await?;
            let volumes = read("Volume", scope).await?;
            let loads = match args.what {
                What::Tenants => add_up(&instances, &volumes, |object| {
                    (object::namespace(object).to_owned(), String::new())
                }),
                _ => add_up(&instances, &volumes, |object| {
                    (text(object, "/status/cluster"), String::new())
                }),
            };
            tell_loads(&loads, args, out)?;
        }
        What::Networks => {
            let shares = shares(&read("Network", narrow).await?, &["addresses"]);
            tell_shares(&shares, args, out)?;
        }
        What::Regions => {
            let shares = shares(&read("Region", everywhere).await?, &["vnis", "tables"]);
            tell_shares(&shares, args, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// How much of each range of each object is given out, the fullest first.
fn shares(objects: &[Object], ranges: &[&'static str]) -> Vec<Share> {
    let mut all = Vec::new();
    for object in objects {
        for range in ranges {
            let part = |part: &str| {
                at(object, &format!("/status/{range}/{part}")).and_then(serde_json::Value::as_u64)
            };
            if let (Some(used), Some(total)) = (part("used"), part("total")) {
                let (name, namespace) = own(object);
                all.push(Share {
                    name,
                    namespace,
                    range,
                    used,
                    total,
                });
            }
        }
    }
    all.sort_by_key(|share| std::cmp::Reverse(share.percent()));
    all
}

/// Bytes as people read them: with a binary unit, one digit after the point where it matters.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["Mi", "Gi", "Ti", "Pi"];
    let mut tenths = bytes.saturating_mul(10) >> 20;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths >>= 10;
        unit += 1;
    }
    match (bytes, tenths % 10) {
        (0, _) => "0".to_owned(),
        (_, 0) => format!("{}{}", tenths / 10, UNITS[unit]),
        (_, rest) => format!("{}.{rest}{}", tenths / 10, UNITS[unit]),
    }
}

fn tell_loads(loads: &[Load], args: &Args, out: &mut Out) -> Result<(), Failure> {
    match out.format() {
        Format::Json | Format::Yaml => return out.document(&json!({"loads": loads})),
        Format::Name => return loads.iter().try_for_each(|load| out.line(&load.name)),
        Format::Table | Format::Wide if loads.is_empty() => {
            out.note("nothing asks for anything");
            return Ok(());
        }
        Format::Table | Format::Wide => {}
    }
    let counts = matches!(args.what, What::Tenants | What::Providers);
    let disks = args.what != What::Volumes;
    let volumes = args.what != What::Instances;
    let place = args.all_namespaces && loads.iter().any(|load| !load.namespace.is_empty());
    let mut heads: Vec<(&str, u8)> = Vec::new();
    if place {
        heads.push(("namespace", ALWAYS));
    }
    heads.push(("name", ALWAYS));
    if counts {
        heads.extend([("instances", ALWAYS), ("running", 50)]);
    }
    if disks {
        heads.extend([("cpu", ALWAYS), ("memory", ALWAYS), ("disk", 60)]);
    }
    if counts {
        heads.push(("volumes", 40));
    }
    if volumes {
        heads.push(("volume size", ALWAYS));
    }
    let mut table = Table::new(heads);
    for load in loads {
        let mut row: Vec<Cell> = Vec::new();
        if place {
            row.push(load.namespace.clone().into());
        }
        row.push(load.name.clone().into());
        if counts {
            row.extend([load.instances, load.running].map(|count| count.to_string().into()));
        }
        if disks {
            row.push(load.cpu.to_string().into());
            row.extend([load.memory_bytes, load.disk_bytes].map(|bytes| size(bytes).into()));
        }
        if counts {
            row.push(load.volumes.to_string().into());
        }
        if volumes {
            row.push(size(load.volume_bytes).into());
        }
        table.push(row);
    }
    out.table(&table)
}

fn tell_shares(shares: &[Share], args: &Args, out: &mut Out) -> Result<(), Failure> {
    match out.format() {
        Format::Json | Format::Yaml => return out.document(&json!({"shares": shares})),
        Format::Name => return shares.iter().try_for_each(|share| out.line(&share.name)),
        Format::Table | Format::Wide if shares.is_empty() => {
            out.note("nothing was given out yet");
            return Ok(());
        }
        Format::Table | Format::Wide => {}
    }
    let place = args.all_namespaces && shares.iter().any(|share| !share.namespace.is_empty());
    let heads = place.then_some(("namespace", ALWAYS)).into_iter();
    let heads = heads.chain([("name", ALWAYS), ("range", 60)]);
    let heads = heads.chain([("used", ALWAYS), ("total", ALWAYS), ("percent", 50)]);
    let mut table = Table::new(heads);
    for share in shares {
        let mut row: Vec<Cell> = Vec::new();
        if place {
            row.push(share.namespace.clone().into());
        }
        row.push(share.name.clone().into());
        row.push(share.range.into());
        row.extend([share.used, share.total].map(|count| count.to_string().into()));
        row.push(format!("{}%", share.percent()).into());
        table.push(row);
    }
    out.table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, spec: &serde_json::Value) -> Object {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "acme"},
            "spec": spec, "status": {"power": "Running"}}))
        .unwrap()
    }

    #[test]
    fn what_is_asked_for_is_added_up_the_largest_first() {
        let small = object("a", &json!({"cpu": 1, "memory": "1Gi"}));
        let large = object("b", &json!({"cpu": 2, "memory": "4Gi", "disk": "10Gi"}));
        let data = object("d", &json!({"size": "20Gi"}));
        let each = add_up(&[small.clone(), large.clone()], &[], own);
        assert_eq!(
            each.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
            ["b", "a"]
        );
        let all = add_up(&[small, large], &[data], |o| {
            (object::namespace(o).to_owned(), String::new())
        });
        assert_eq!((all.len(), all[0].cpu, all[0].running), (1, 3, 2));
        assert_eq!(size(all[0].memory_bytes), "5Gi");
        assert_eq!(size(all[0].volume_bytes), "20Gi");
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        let table = [
            (0, "0"),
            (1 << 20, "1Mi"),
            (512 << 20, "512Mi"),
            (1536 << 20, "1.5Gi"),
            (3 << 40, "3Ti"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_range_that_is_nearly_full_is_not_shown_as_less() {
        let network: Object = serde_json::from_value(json!({"metadata": {"name": "web"},
            "status": {"addresses": {"used": 199, "total": 200}}}))
        .unwrap();
        let all = shares(&[network], &["addresses"]);
        assert_eq!(all[0].percent(), 100);
    }
}
