//! Turns tenants and what is in them into a tree: tenant, network, instance, volume.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::status::{World, observe};
use crate::error::{Exit, Failure};
use crate::kinds::{self, Kind};
use crate::object::{self, Health, Object};
use crate::out::{Format, Out};
use crate::related::{names, namespace_of};
use crate::session::Session;
use crate::style::tame;

/// What `bbctl tree` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl tree
  bbctl tree acme
  bbctl tree -n acme -o json")]
pub struct Args {
    /// Only these tenants [default: all that may be seen]
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
}

/// One object and what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// Its kind in small letters; `namespace` where the tenant may not be seen.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is ready; none where nobody may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<&'static str>,
    /// One word for the cause.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Where else it hangs: the other networks of an instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What hangs on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<Branch>,
    #[serde(skip)]
    health: Option<Health>,
}

impl Branch {
    fn of(kind: &str, object: &Object) -> Self {
        let health = object::health(object);
        Self {
            kind: kind.to_owned(),
            name: object::name(object).to_owned(),
            ready: Some(health.ready.word()),
            reason: health.reason.clone(),
            also: Vec::new(),
            below: Vec::new(),
            health: Some(health),
        }
    }

    fn plain(kind: &str, name: &str, reason: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ready: None,
            reason: reason.to_owned(),
            also: Vec::new(),
            below: Vec::new(),
            health: None,
        }
    }
}

/// Shows the tree.
///
/// # Errors
/// When nothing may be seen, or a tenant that was named is not there.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let world = observe(asked, session).await?;
    let mut trunks = grow(&world, asked);
    if !args.tenants.is_empty() {
        for name in &args.tenants {
            if !trunks.iter().any(|trunk| trunk.name == *name) {
                let failure = Failure::new(Exit::NotFound, format!("there is no tenant {name}"));
                return Err(failure.hint("see `bbctl tenants list`"));
            }
        }
        trunks.retain(|trunk| args.tenants.contains(&trunk.name));
    }
    match out.format() {
        Format::Json | Format::Yaml => out.document(&json!({"tenants": trunks}))?,
        Format::Name => trunks.iter().try_for_each(|trunk| list(trunk, out))?,
        Format::Table | Format::Wide if trunks.is_empty() => out.note("there are no tenants yet"),
        Format::Table | Format::Wide => {
            for trunk in &trunks {
                draw(trunk, "", "", out)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// A tree for each tenant, and for each namespace whose tenant may not be seen.
///
/// An instance hangs on the first of its networks, a volume on the instance that names it, or on
/// the tenant where none does.
#[must_use]
pub fn grow(world: &World, asked: Option<&str>) -> Vec<Branch> {
    let all = |plural: &str| world.get(plural).map(Vec::as_slice).unwrap_or_default();
    let mut spaces: BTreeSet<String> = ["networks", "instances", "volumes"]
        .iter()
        .flat_map(|plural| all(plural))
        .map(|object| object::namespace(object).to_owned())
        .collect();
    let mut trunks = Vec::new();
    for tenant in all("tenants") {
        let namespace = namespace_of(tenant);
        if asked.is_some_and(|asked| asked != namespace) {
            continue;
        }
        spaces.remove(&namespace);
        let mut trunk = Branch::of("tenant", tenant);
        trunk.below = within(world, &namespace);
        trunks.push(trunk);
    }
    for namespace in spaces {
        let mut trunk = Branch::plain("namespace", &namespace, "");
        trunk.below = within(world, &namespace);
        trunks.push(trunk);
    }
    trunks
}

fn within(world: &World, namespace: &str) -> Vec<Branch> {
    let own = |plural: &str| -> Vec<&Object> {
        let all = world.get(plural).map(Vec::as_slice).unwrap_or_default();
        let own = all
            .iter()
            .filter(|object| object::namespace(object) == namespace);
        own.collect()
    };
    let volumes = own("volumes");
    let mut free: BTreeSet<&str> = volumes.iter().map(|volume| object::name(volume)).collect();
    let mut branches: Vec<Branch> = own("networks")
        .into_iter()
        .map(|network| Branch::of("network", network))
        .collect();
    for instance in own("instances") {
        let mut branch = Branch::of("instance", instance);
        for name in names(instance, "/spec/volumes", "volume") {
            free.remove(name);
            let found = volumes.iter().find(|volume| object::name(volume) == name);
            branch.below.push(match found {
                Some(volume) => Branch::of("volume", volume),
                None => Branch::plain("volume", name, "NotFound"),
            });
        }
        let mut networks = names(instance, "/spec/networks", "network");
        let first = networks.next().unwrap_or_default().to_owned();
        branch.also = networks.map(str::to_owned).collect();
        let on = |branch: &&mut Branch| branch.kind == "network" && branch.name == first;
        match branches.iter_mut().find(on) {
            Some(network) => network.below.push(branch),
            None => {
                let mut network = Branch::plain("network", &first, "NotFound");
                network.below.push(branch);
                branches.push(network);
            }
        }
    }
    let unused = volumes.iter().filter(|v| free.contains(object::name(v)));
    branches.extend(unused.map(|volume| Branch::of("volume", volume)));
    branches
}

fn list(branch: &Branch, out: &mut Out) -> Result<(), Failure> {
    if let Some(kind) = Kind::named(&branch.kind) {
        out.line(&format!(
            "{}.{}/{}",
            kind.singular,
            bb_crds::GROUP,
            branch.name
        ))?;
    }
    branch.below.iter().try_for_each(|below| list(below, out))
}

/// Draws a branch; `first` stands before its own line, `rest` before those below it.
fn draw(branch: &Branch, first: &str, rest: &str, out: &mut Out) -> Result<(), Failure> {
    let state = match &branch.health {
        Some(health) if health.is_ready() => out.paint(kinds::tone(health), "Ready"),
        Some(health) => out.paint(
            kinds::tone(health),
            &format!("not ready: {}", health.reason),
        ),
        None => branch.reason.clone(),
    };
    let also = match branch.also.as_slice() {
        [] => String::new(),
        also => format!("  (also in {})", also.join(", ")),
    };
    let line = format!(
        "{first}{} {}  {state}{also}",
        branch.kind,
        tame(&branch.name)
    );
    out.line(line.trim_end())?;
    let last = branch.below.len().saturating_sub(1);
    for (at, below) in branch.below.iter().enumerate() {
        let (mark, bar) = if at == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        draw(
            below,
            &format!("{rest}{mark}"),
            &format!("{rest}{bar}"),
            out,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn object(name: &str, spec: &Value) -> Object {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "acme"},
            "spec": spec}))
        .unwrap()
    }

    /// The branch as one word: `kind/name(below,below)`.
    fn word(branch: &Branch) -> String {
        let below: Vec<String> = branch.below.iter().map(word).collect();
        match below.is_empty() {
            true => format!("{}/{}", branch.kind, branch.name),
            false => format!("{}/{}({})", branch.kind, branch.name, below.join(",")),
        }
    }

    #[test]
    fn each_object_hangs_once_on_what_it_stands_on() {
        let nic = |network: &str| json!({"name": "a", "network": network});
        let pg = json!({"networks": [nic("db"), nic("web")],
            "volumes": [{"name": "d", "volume": "data"}]});
        let world = World::from([
            (
                "networks",
                vec![object("web", &json!({})), object("db", &json!({}))],
            ),
            (
                "volumes",
                vec![object("data", &json!({})), object("free", &json!({}))],
            ),
            (
                "instances",
                vec![
                    object("pg", &pg),
                    object("x", &json!({"networks": [nic("gone")]})),
                ],
            ),
        ]);
        let words: Vec<String> = grow(&world, None).iter().map(word).collect();
        assert_eq!(
            words,
            [
                "namespace/acme(network/web,network/db(instance/pg(volume/data)),\
              network/gone(instance/x),volume/free)"
            ]
        );
        let trunk = &grow(&world, None)[0];
        assert_eq!(trunk.below[1].below[0].also, ["web"]);
    }
}
