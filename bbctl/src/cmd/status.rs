//! Turns everything there is into one screen: how much is ready, and why the rest is not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::age;
use crate::error::{Exit, Failure};
use crate::kinds::{self, Kind};
use crate::object::{self, Health, Object};
use crate::out::{Format, Out};
use crate::related::{namespace_of, read_if_allowed};
use crate::session::{Scope, Session};
use crate::style::Tone;
use crate::table::{ALWAYS, Cell, Table};

const EXAMPLES: &str = "\
Examples:
  bbctl status
  bbctl status acme
  bbctl status -n acme -o json";

/// How many objects that are not ready fit one screen beside the rest.
const SCREEN: usize = 15;

/// What `bbctl status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only these tenants
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
}

/// How many there are of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In all.
    pub total: usize,
    /// Ready.
    pub ready: usize,
}

/// An object that is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// Its kind, in small letters.
    pub kind: &'static str,
    /// Its namespace; empty for one of the whole cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// One word for the cause.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
    #[serde(skip)]
    tone: Tone,
}

/// One tenant, or a namespace whose tenant may not be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The Tenant, if there is one to see.
    pub tenant: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Whether the Tenant itself is ready.
    pub ready: Option<&'static str>,
    /// Its networks.
    pub networks: Count,
    /// Its instances.
    pub instances: Count,
    /// Its volumes.
    pub volumes: Count,
}

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its kind, in small letters.
    pub kind: &'static str,
    /// Its namespace; empty for one of the whole cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Everything at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Tenant by tenant.
    pub tenants: Vec<Share>,
    /// Providers, where they may be seen.
    pub providers: Option<Count>,
    /// Regions, where they may be seen.
    pub regions: Option<Count>,
    /// Objects on whose targets somebody else changed something that is still so.
    pub drifted: Vec<Named>,
    /// Things with our mark and no object, where Providers may be seen.
    pub orphans: Option<u64>,
    /// Everything that is not ready, and why.
    pub not_ready: Vec<Unready>,
}

/// All objects, by plural; what may not be seen is not in it.
pub type World = BTreeMap<&'static str, Vec<Object>>;

/// Reads everything that may be seen and tells of it.
///
/// # Errors
/// When the server does not answer, nothing may be seen, or a tenant that was named is not there.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let world = observe(asked, session).await?;
    let known = world.get("tenants");
    for name in &args.tenants {
        let there = known.is_some_and(|all| all.iter().any(|t| object::name(t) == name));
        if !there {
            let failure = Failure::new(Exit::NotFound, format!("there is no tenant {name}"));
            return Err(failure.hint("see `bbctl get tenants`; a member names the namespace: -n"));
        }
    }
    let mut report = report(&world, asked);
    if !args.tenants.is_empty() {
        report = report.only(&args.tenants);
    }
    match out.format() {
        Format::Json | Format::Yaml => out.document(&report)?,
        Format::Name => {
            for one in &report.not_ready {
                out.line(&format!("{}.{}/{}", one.kind, bb_crds::GROUP, one.name))?;
            }
        }
        Format::Table | Format::Wide => tell(&report, session, out)?,
    }
    Ok(Exit::Ok)
}

/// Reads all kinds. Who may not look everywhere looks in one namespace.
pub(crate) async fn observe(asked: Option<&str>, session: &Session) -> Result<World, Failure> {
    let narrow = Scope::Namespace(session.namespace().to_owned());
    let wide = if asked.is_some() {
        narrow.clone()
    } else {
        Scope::Everywhere
    };
    let reads = kinds::KINDS.iter().map(|kind| async {
        let objects = match read_if_allowed(kind.plural, &wide, session).await? {
            None if kind.namespaced && wide != narrow => {
                read_if_allowed(kind.plural, &narrow, session).await?
            }
            other => other,
        };
        Ok::<_, Failure>((kind.plural, objects))
    });
    let answers = futures::future::try_join_all(reads).await?;
    let world: World = answers
        .into_iter()
        .filter_map(|(plural, objects)| Some((plural, objects?)))
        .collect();
    if world.is_empty() {
        let place = session.namespace();
        return Err(
            Failure::new(Exit::Denied, format!("you may see nothing in {place}"))
                .hint("name a namespace of yours with -n, or another context with --context"),
        );
    }
    Ok(world)
}

/// Counts, and gathers what is not ready.
#[must_use]
pub fn report(world: &World, asked: Option<&str>) -> Report {
    let all = |plural: &str| world.get(plural).map(Vec::as_slice).unwrap_or_default();
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    for tenant in all("tenants") {
        let namespace = namespace_of(tenant);
        if asked.is_some_and(|asked| asked != namespace) {
            continue;
        }
        let share = Share {
            tenant: Some(object::name(tenant).to_owned()),
            namespace: namespace.clone(),
            ready: Some(object::health(tenant).ready.word()),
            ..Share::default()
        };
        shares.insert(namespace, share);
    }
    for plural in ["networks", "instances", "volumes"] {
        for object in all(plural) {
            let namespace = object::namespace(object).to_owned();
            let share = shares.entry(namespace.clone()).or_insert_with(|| Share {
                namespace,
                ..Share::default()
            });
            let count = match plural {
                "networks" => &mut share.networks,
                "instances" => &mut share.instances,
                _ => &mut share.volumes,
            };
            count.add(object);
        }
    }
    let total = |plural: &str| {
        world.get(plural).map(|objects| {
            let mut count = Count::default();
            objects.iter().for_each(|object| count.add(object));
            count
        })
    };
    let mut not_ready = Vec::new();
    let mut drifted = Vec::new();
    for kind in &kinds::KINDS {
        let changed = all(kind.plural).iter().filter(|object| is_drifted(object));
        drifted.extend(changed.map(|object| Named {
            kind: kind.singular,
            namespace: object::namespace(object).to_owned(),
            name: object::name(object).to_owned(),
        }));
        let seen = all(kind.plural).iter().filter(|object| {
            kind.kind != "Tenant" || asked.is_none_or(|asked| asked == namespace_of(object))
        });
        not_ready.extend(seen.filter_map(|object| unready(kind, object)));
    }
    Report {
        tenants: shares.into_values().collect(),
        providers: total("providers"),
        regions: total("regions"),
        drifted,
        orphans: world.get("providers").map(|providers| {
            let counts = providers
                .iter()
                .map(|p| object::at(p, "/status/orphanCount"));
            counts.filter_map(|count| count?.as_u64()).sum()
        }),
        not_ready,
    }
}

fn is_drifted(object: &Object) -> bool {
    object::condition(object, "InSync").is_some_and(|c| c.status == "False")
}

impl Count {
    fn add(&mut self, object: &Object) {
        self.total += 1;
        self.ready += usize::from(object::health(object).is_ready());
    }

    fn cell(self) -> Cell {
        let tone = match self {
            Self { total: 0, .. } => Tone::Faint,
            Self { total, ready } if total == ready => Tone::Good,
            _ => Tone::Waiting,
        };
        Cell::new(format!("{}/{}", self.ready, self.total), tone)
    }
}

fn unready(kind: &Kind, object: &Object) -> Option<Unready> {
    let health = object::health(object);
    let tone = kinds::tone(&health);
    let Health {
        reason,
        message,
        since,
        ..
    } = health.clone();
    (!health.is_ready()).then(|| Unready {
        kind: kind.singular,
        namespace: object::namespace(object).to_owned(),
        name: object::name(object).to_owned(),
        reason,
        message,
        since,
        tone,
    })
}

impl Report {
    /// The part of it that is about some tenants.
    fn only(mut self, names: &[String]) -> Self {
        let named = |share: &Share| share.tenant.as_ref().is_some_and(|t| names.contains(t));
        self.tenants.retain(named);
        let spaces: BTreeSet<&str> = self.tenants.iter().map(|s| s.namespace.as_str()).collect();
        self.not_ready.retain(|one| match one.kind {
            "tenant" => names.contains(&one.name),
            _ => spaces.contains(one.namespace.as_str()),
        });
        self.drifted.retain(|one| match one.kind {
            "tenant" => names.contains(&one.name),
            _ => spaces.contains(one.namespace.as_str()),
        });
        self.providers = None;
        self.orphans = None;
        self.regions = None;
        self
    }
}

fn tell(report: &Report, session: &Session, out: &mut Out) -> Result<(), Failure> {
    if report.tenants.is_empty() {
        out.line("there are no tenants yet")?;
    } else {
        let mut table = Table::new([
            ("tenant", ALWAYS),
            ("namespace", 10),
            ("ready", ALWAYS),
            ("networks", ALWAYS),
            ("instances", ALWAYS),
            ("volumes", ALWAYS),
        ]);
        for share in &report.tenants {
            let ready = share.ready.unwrap_or_default();
            let tone = if ready == "True" {
                Tone::Good
            } else {
                Tone::Waiting
            };
            table.push(vec![
                share.tenant.clone().unwrap_or_default().into(),
                share.namespace.clone().into(),
                Cell::new(ready, tone),
                share.networks.cell(),
                share.instances.cell(),
                share.volumes.cell(),
            ]);
        }
        out.table(&table)?;
    }
    let below = [("providers", report.providers), ("regions", report.regions)];
    let below = below
        .iter()
        .filter_map(|(name, count)| count.map(|count| (name, count)));
    let below: Vec<String> = below
        .map(|(name, count)| format!("{name} {}/{} ready", count.ready, count.total))
        .collect();
    if !below.is_empty() {
        out.line("")?;
        out.line(&below.join(", "))?;
    }
    if !report.drifted.is_empty() {
        let names = report.drifted.iter().take(5);
        let names: Vec<String> = names.map(|n| format!("{}/{}", n.kind, n.name)).collect();
        let text = format!(
            "{} changed by somebody else and not put right: {}",
            report.drifted.len(),
            names.join(", ")
        );
        out.text_toned("", Tone::Waiting, &text)?;
    }
    if let Some(count) = report.orphans.filter(|count| *count > 0) {
        let text = format!("{count} things without an object: see `bbctl describe providers`");
        let text = out.carried().carry(&text);
        out.text_toned("", Tone::Waiting, &text)?;
    }
    if report.not_ready.is_empty() {
        let tone = Tone::Good;
        let line = out.paint(tone, "everything is ready");
        out.line("")?;
        return out.line(&line);
    }
    tell_unready(&report.not_ready, out)?;
    if let Some(first) = report.not_ready.first() {
        let place = match first.namespace.as_str() {
            "" => String::new(),
            own if own == session.namespace() => String::new(),
            other => format!(" -n {other}"),
        };
        out.next(&format!("describe {}/{}{place}", first.kind, first.name));
    }
    Ok(())
}

fn tell_unready(all: &[Unready], out: &mut Out) -> Result<(), Failure> {
    let now = Timestamp::now();
    let title = out.paint(Tone::Head, &format!("Not ready: {}", all.len()));
    out.line("")?;
    out.line(&title)?;
    let limit = if out.format() == Format::Wide {
        all.len()
    } else {
        SCREEN
    };
    let mut table = Table::new([
        ("object", ALWAYS),
        ("namespace", 10),
        ("reason", ALWAYS),
        ("for", 20),
    ]);
    let mut messages = Vec::new();
    for one in all.iter().take(limit) {
        let since = one
            .since
            .map(|then| age::since(then, now))
            .unwrap_or_default();
        table.push(vec![
            format!("{}/{}", one.kind, one.name).into(),
            one.namespace.clone().into(),
            Cell::new(one.reason.clone(), one.tone),
            since.into(),
        ]);
        messages.push(one.message.clone());
    }
    out.table_with_text("", &table, "message", &messages)?;
    match all.len().checked_sub(limit) {
        None | Some(0) => Ok(()),
        Some(more) => {
            let text = format!("and {more} more: `bbctl status -o wide` shows all");
            let text = out.carried().carry(&text);
            out.line(&text)
        }
    }
}
