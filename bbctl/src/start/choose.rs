//! Turns what was asked for and what is there into all that a new instance takes. Asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::keys::PublicKey;
use super::settings::Setting;
use crate::error::{Exit, Failure};
use crate::nearest::nearest;
use crate::object::{self, Object, list, text};

/// What can be decided by whoever launches, in the order of the table.
pub const SETTINGS: [&str; 11] = [
    "image", "name", "tenant", "region", "zone", "network", "prefix", "cpu", "memory", "disk",
    "ssh-key",
];

/// What was asked for, by setting: the value, and who says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(BTreeMap<&'static str, (String, String)>);

impl Asked {
    /// Takes down what somebody says of a setting; of several the first counts.
    pub fn say(&mut self, setting: &'static str, value: Option<&str>, source: &str) {
        if let Some(value) = value {
            let said = (value.to_owned(), source.to_owned());
            self.0.entry(setting).or_insert(said);
        }
    }

    /// Puts another value in place of what was said before; an empty one: nothing is said.
    pub fn change(&mut self, setting: &str, value: &str) {
        let Some(setting) = SETTINGS.iter().find(|known| **known == setting) else {
            return;
        };
        match value {
            "" => drop(self.0.remove(setting)),
            value => drop(self.0.insert(setting, (value.to_owned(), "you".to_owned()))),
        }
    }

    /// What is said of a setting.
    #[must_use]
    pub fn get(&self, setting: &str) -> Option<&str> {
        self.0.get(setting).map(|(value, _)| value.as_str())
    }

    /// What is said of a setting, and by whom.
    #[must_use]
    pub fn setting(&self, setting: &'static str) -> Option<Setting> {
        let (value, source) = self.0.get(setting)?;
        Some(Setting::new(setting, value, source))
    }

    fn or(&self, setting: &'static str, value: &str, source: &str) -> Setting {
        self.setting(setting)
            .unwrap_or_else(|| Setting::new(setting, value, source))
    }
}

/// What is known before a tenant is chosen.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The namespace of the context.
    pub namespace: String,
    /// What the user is called on this machine.
    pub user: String,
    /// All tenants; none where they may not be seen.
    pub tenants: Option<BTreeSet<String>>,
    /// All namespaces; none where they may not be seen.
    pub namespaces: Option<BTreeSet<String>>,
}

/// The tenant that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its name, and whence.
    pub setting: Setting,
    /// Whether it is still to be made.
    pub is_new: bool,
}

/// Chooses the tenant.
///
/// # Errors
/// When there are several and none is named.
pub fn home(asked: &Asked, around: &Around) -> Result<Home, Failure> {
    let there = |setting: Setting| Home {
        setting,
        is_new: false,
    };
    let Some(tenants) = &around.tenants else {
        let source = "the context's namespace; you may not see tenants";
        return Ok(there(asked.or("tenant", &around.namespace, source)));
    };
    if let Some(mut setting) = asked.setting("tenant") {
        let is_new = !tenants.contains(&setting.value);
        if is_new {
            setting.source = format!("{}; it is new", setting.source);
        }
        return Ok(Home { setting, is_new });
    }
    if tenants.contains(&around.namespace) {
        let setting = Setting::new("tenant", &around.namespace, "the context's namespace");
        return Ok(there(setting));
    }
    let mut all = tenants.iter();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(there(Setting::new("tenant", only, "the only one there is"))),
        (Some(_), Some(_)) => {
            let names = tenants.iter().cloned().collect::<Vec<_>>().join(", ");
            Err(
                Failure::usage("there are several tenants: say whose the instance is")
                    .hint(format!("choose one with --tenant: {names}")),
            )
        }
        (None, _) => {
            let name = new_tenant(&around.user, around.namespaces.as_ref());
            Ok(Home {
                setting: Setting::new("tenant", name, "there is none yet; it is new"),
                is_new: true,
            })
        }
    }
}

/// A name that a namespace can have and none has, after the user.
#[must_use]
pub fn new_tenant(user: &str, taken: Option<&BTreeSet<String>>) -> String {
    let lower = user.to_ascii_lowercase();
    let clean: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let clean = clean.trim_matches('-');
    let base = match clean {
        "" | "root" | "default" => "demo",
        name if name.starts_with("kube-") => "demo",
        name => name,
    };
    let free = |name: &String| taken.is_none_or(|taken| !taken.contains(name));
    let mut names =
        std::iter::once(base.to_owned()).chain((2..).map(|number| format!("{base}-{number}")));
    names.find(free).unwrap_or_else(|| base.to_owned())
}

/// What is there for a tenant to use.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// All Providers; none where they may not be seen.
    pub providers: Option<Vec<Object>>,
    /// The tenant's networks.
    pub networks: Vec<Object>,
    /// The names of the tenant's instances.
    pub instances: BTreeSet<String>,
    /// The key that may log in.
    pub key: Option<PublicKey>,
}

/// All that was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Each decision and whence it comes.
    pub settings: Vec<Setting>,
    /// What is to be made, in that order; the Instance is the last.
    pub manifests: Vec<Value>,
}

/// Decides what is made.
///
/// # Errors
/// When it cannot be, with what could be instead.
pub fn choose(asked: &Asked, home: &Home, stock: &Stock) -> Result<Plan, Failure> {
    let image = asked.get("image").unwrap_or_default();
    let offers = offers(image, stock.providers.as_deref())?;
    let network = network(asked, &stock.networks);
    let region = region(
        asked,
        network.as_ref().map_err(|_| ()),
        image,
        offers.as_deref(),
    )?;
    let zones = network.as_ref().map(|there| strings(there, "/spec/zones"));
    let zone = zone(
        asked,
        &zones.unwrap_or_default(),
        image,
        &region.value,
        (offers.as_deref(), stock.providers.as_deref()),
    )?;
    let prefix = prefix(asked, network.as_ref().map_err(|_| ()), &stock.networks)?;
    let name = name(asked, image, &stock.instances)?;
    let key = match &stock.key {
        Some(key) => Setting::new("ssh-key", key.short(), &key.file),
        None => Setting::new("ssh-key", "", "no *.pub in ~/.ssh: nobody can log in"),
    };
    let net = network_setting(asked, &network, stock.networks.len());
    let settings = vec![
        asked.or("image", image, "argument"),
        name,
        home.setting.clone(),
        region,
        zone,
        net,
        prefix,
        asked.or("cpu", "1", "default"),
        asked.or("memory", "1Gi", "default"),
        asked.or("disk", "", "as large as the image"),
        key,
    ];
    let is_container = offers.as_ref().is_some_and(|offers| {
        !offers.is_empty() && offers.iter().all(|offer| !offer.image["archive"].is_null())
    });
    let manifests = manifests(
        &settings,
        home.is_new,
        network.is_err(),
        is_container,
        stock.key.as_ref(),
    )?;
    Ok(Plan {
        settings,
        manifests,
    })
}

/// An image at one cluster.
struct Offer<'a> {
    region: String,
    zone: String,
    image: &'a Value,
}

/// Where an image is offered; none where that may not be seen.
fn offers<'a>(
    image: &str,
    providers: Option<&'a [Object]>,
) -> Result<Option<Vec<Offer<'a>>>, Failure> {
    let Some(providers) = providers else {
        return Ok(None);
    };
    let mut offers = Vec::new();
    let mut known = BTreeSet::new();
    for provider in providers {
        for entry in list(provider, "/spec/proxmox/images") {
            let name = object::word(&entry["name"]);
            if name == image {
                offers.push(Offer {
                    region: text(provider, "/spec/region"),
                    zone: text(provider, "/spec/zone"),
                    image: entry,
                });
            }
            known.insert(name);
        }
    }
    if !offers.is_empty() {
        return Ok(Some(offers));
    }
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    let failure = Failure::new(Exit::NotFound, format!("no cluster offers image {image}"));
    let near = nearest(image, all.iter().copied());
    Err(failure.hint(match (near, all.as_slice()) {
        (_, []) => "no cluster offers any: an operator lists them in spec.proxmox.images of a \
                    Provider"
            .to_owned(),
        (Some(near), all) => format!("did you mean `{near}`? There are {}", all.join(", ")),
        (None, all) => format!("there are {}", all.join(", ")),
    }))
}

/// The network that is there and meant, or the name of the one to be made.
fn network<'a>(asked: &Asked, networks: &'a [Object]) -> Result<&'a Object, String> {
    let named = |name: &str| {
        networks
            .iter()
            .find(|network| object::name(network) == name)
    };
    let stays = |n: &&Object| n.metadata.deletion_timestamp.is_none();
    match asked.get("network") {
        Some(name) => named(name).ok_or_else(|| name.to_owned()),
        None => {
            let first = networks
                .iter()
                .filter(stays)
                .min_by_key(|n| object::name(n).to_owned());
            first.ok_or_else(|| "net".to_owned())
        }
    }
}

fn network_setting(asked: &Asked, network: &Result<&Object, String>, there: usize) -> Setting {
    match network {
        Ok(network) => {
            let source = match there {
                1 => "the only one there is".to_owned(),
                several => format!("the first of {several}"),
            };
            asked.or("network", object::name(network), &source)
        }
        Err(new) => {
            let mut setting = asked.or("network", new, "there is none yet");
            setting.source = format!("{}; it is new", setting.source);
            setting
        }
    }
}

fn strings(object: &Object, pointer: &str) -> Vec<String> {
    list(object, pointer).iter().map(object::word).collect()
}

fn region(
    asked: &Asked,
    network: Result<&&Object, ()>,
    image: &str,
    offers: Option<&[Offer<'_>]>,
) -> Result<Setting, Failure> {
    let regions: BTreeSet<&str> = offers
        .iter()
        .copied()
        .flatten()
        .map(|o| o.region.as_str())
        .collect();
    let setting = match network {
        Ok(there) => {
            let given = text(there, "/status/region");
            let given = match given.as_str() {
                "" => text(there, "/spec/region"),
                _ => given,
            };
            let source = format!("that of network {}", object::name(there));
            match asked.setting("region") {
                Some(other) if !given.is_empty() && other.value != given => {
                    return Err(Failure::usage(format!(
                        "network {} is in region {given}, not in {}",
                        object::name(there),
                        other.value
                    ))
                    .hint("choose another network with --network, or a new name for a new one"));
                }
                Some(said) => said,
                None => Setting::new("region", given, source),
            }
        }
        Err(()) => {
            let first = regions.first().copied().unwrap_or_default();
            let source = match regions.len() {
                0 => "the only one that the tenant may use".to_owned(),
                1 => format!("the only one that offers {image}"),
                several => format!("the first of {several} that offer {image}"),
            };
            asked.or("region", first, &source)
        }
    };
    if offers.is_some() && !setting.value.is_empty() && !regions.contains(setting.value.as_str()) {
        let all = regions.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "no cluster of region {} offers image {image}",
                setting.value
            ),
        )
        .hint(format!("those of {all} do")));
    }
    Ok(setting)
}

fn zone(
    asked: &Asked,
    of_network: &[String],
    image: &str,
    region: &str,
    (offers, providers): (Option<&[Offer<'_>]>, Option<&[Object]>),
) -> Result<Setting, Failure> {
    let any = "one in which the network is";
    let (Some(offers), Some(providers)) = (offers, providers) else {
        return Ok(asked.or("zone", "", any));
    };
    let fits = |zone: &str| of_network.is_empty() || of_network.iter().any(|z| z == zone);
    let here = |of: &str| region.is_empty() || of == region;
    let good: BTreeSet<&str> = offers
        .iter()
        .filter(|offer| here(&offer.region) && fits(&offer.zone))
        .map(|offer| offer.zone.as_str())
        .collect();
    let every: BTreeSet<String> = providers
        .iter()
        .filter(|p| object::at(p, "/spec/proxmox").is_some() && here(&text(p, "/spec/region")))
        .map(|provider| text(provider, "/spec/zone"))
        .filter(|zone| fits(zone))
        .collect();
    let all = good.iter().copied().collect::<Vec<_>>().join(", ");
    match asked.setting("zone") {
        Some(said) if !good.contains(said.value.as_str()) => Err(Failure::new(
            Exit::NotFound,
            format!(
                "zone {} does not offer image {image} where the network is",
                said.value
            ),
        )
        .hint(match all.as_str() {
            "" => "choose another network with --network".to_owned(),
            all => format!("choose one with --zone: {all}"),
        })),
        Some(said) => Ok(said),
        None => match good.first() {
            None => Err(Failure::new(
                Exit::NotFound,
                format!("no zone that the network is in offers image {image}"),
            )
            .hint("choose another network with --network, or a new name for a new one")),
            Some(_) if good.len() == every.len() => Ok(Setting::new("zone", "", any)),
            Some(first) => Ok(Setting::new("zone", *first, format!("it offers {image}"))),
        },
    }
}

fn prefix(
    asked: &Asked,
    network: Result<&&Object, ()>,
    networks: &[Object],
) -> Result<Setting, Failure> {
    if let Ok(there) = network {
        let prefix = text(there, "/spec/ipv4/prefix");
        let name = object::name(there);
        return match asked.get("prefix") {
            Some(other) if other != prefix => Err(Failure::usage(format!(
                "network {name} has prefix {prefix}, which cannot change"
            ))
            .hint("leave --prefix out, or name a new network with --network")),
            _ => Ok(Setting::new(
                "prefix",
                prefix,
                format!("that of network {name}"),
            )),
        };
    }
    let taken: Vec<Ipv4Net> = networks
        .iter()
        .filter_map(|network| text(network, "/spec/ipv4/prefix").parse().ok())
        .collect();
    let overlaps = |prefix: &Ipv4Net| {
        taken
            .iter()
            .any(|other| other.contains(prefix) || prefix.contains(other))
    };
    if let Some(said) = asked.setting("prefix") {
        let prefix: Ipv4Net = said.value.parse().map_err(|_| {
            Failure::usage(format!("`{}` is no IPv4 prefix", said.value)).hint("as in 10.10.0.0/24")
        })?;
        return match overlaps(&prefix) {
            true => Err(
                Failure::usage(format!("{prefix} overlaps another network of the tenant"))
                    .hint("leave --prefix out, or choose another"),
            ),
            false => Ok(said),
        };
    }
    let free = (10..=250u8)
        .filter_map(|third| Ipv4Net::new([10, third, 0, 0].into(), 24).ok())
        .find(|prefix| !overlaps(prefix));
    let free = free.ok_or_else(|| {
        Failure::usage("no 10.x.0.0/24 is free in the tenant").hint("name a prefix with --prefix")
    })?;
    Ok(Setting::new(
        "prefix",
        free.to_string(),
        "free in the tenant",
    ))
}

fn name(asked: &Asked, image: &str, taken: &BTreeSet<String>) -> Result<Setting, Failure> {
    if let Some(said) = asked.setting("name") {
        return match taken.contains(&said.value) {
            true => Err(Failure::new(
                Exit::Conflict,
                format!("there is an instance {} already", said.value),
            )
            .hint("choose another --name, or leave it out")),
            false => Ok(said),
        };
    }
    let base = image.replace('.', "-");
    let base: String = base.chars().take(50).collect();
    let free = (1..)
        .map(|number| format!("{base}-{number}"))
        .find(|name| !taken.contains(name));
    let source = "after the image";
    Ok(Setting::new("name", free.unwrap_or(base), source))
}

fn manifests(
    settings: &[Setting],
    tenant: bool,
    network: bool,
    container: bool,
    key: Option<&PublicKey>,
) -> Result<Vec<Value>, Failure> {
    let value = |name: &str| {
        let setting = settings.iter().find(|setting| setting.setting == name);
        setting
            .map(|setting| setting.value.as_str())
            .filter(|value| !value.is_empty())
    };
    let object = |kind: &str, name: &str, spec: Value| {
        let mut object = json!({"apiVersion": format!("{}/{}", bb_crds::GROUP, bb_crds::VERSION),
            "kind": kind, "metadata": {"name": name}, "spec": spec});
        if kind != "Tenant" {
            object["metadata"]["namespace"] = json!(value("tenant"));
        }
        object
    };
    let mut all = Vec::new();
    if tenant {
        all.push(object(
            "Tenant",
            value("tenant").unwrap_or_default(),
            json!({}),
        ));
    }
    let net = value("network").unwrap_or_default();
    if network {
        let mut spec = json!({"ipv4": {"prefix": value("prefix")}});
        if let Some(region) = value("region") {
            spec["region"] = json!(region);
        }
        all.push(object("Network", net, spec));
    }
    let cpu = value("cpu").unwrap_or_default();
    let cpu: i32 = cpu.parse().map_err(|_| {
        Failure::usage(format!("`{cpu}` is no number of CPUs")).hint("--cpu takes 1 to 256")
    })?;
    let card = if net.len() <= 15 && !net.contains('.') {
        net
    } else {
        "net0"
    };
    let mut spec = json!({"image": value("image"), "cpu": cpu, "memory": value("memory"),
        "networks": [{"name": card, "network": net}]});
    if container {
        spec["type"] = json!("Container");
    }
    if let Some(disk) = value("disk") {
        spec["disk"] = json!(disk);
    }
    if let Some(zone) = value("zone") {
        spec["placement"] = json!({"zone": zone});
    }
    if let Some(key) = key {
        spec["sshKeys"] = json!([key.line]);
    }
    all.push(object("Instance", value("name").unwrap_or_default(), spec));
    Ok(all)
}

#[cfg(test)]
mod tests;
