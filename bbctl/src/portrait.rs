//! Turns an object and what belongs to it into a page for people or a document for programs.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::age;
use crate::cmd::get;
use crate::difference;
use crate::error::Failure;
use crate::kinds::{self, Kind};
use crate::object::{self, Object, at, list};
use crate::out::Out;
use crate::outline::{is_empty, outline};
use crate::related::{self, Related, Said};
use crate::style::Tone;
use crate::table::{ALWAYS, Cell, Table};

/// One object and what belongs to it.
pub struct Portrait {
    /// Its kind.
    pub kind: &'static Kind,
    /// The object.
    pub object: Object,
    /// What explains it.
    pub related: Related,
    /// What was said of it; none where that may not be read.
    pub events: Option<Vec<Said>>,
}

impl Portrait {
    /// All of it for programs.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub fn document(self) -> Result<Value, Failure> {
        let health = object::health(&self.object);
        let causes = match health.is_ready() {
            true => Vec::new(),
            false => related::causes(self.kind, &self.object, &self.related),
        };
        Ok(json!({
            "object": get::presentable(self.object)?,
            "ready": health.ready.word(),
            "reason": health.reason,
            "message": health.message,
            "causes": causes,
            "events": self.events,
        }))
    }

    /// All of it for people, as of a moment.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn tell(&self, now: Timestamp, out: &mut Out) -> Result<(), Failure> {
        let object = &self.object;
        let place = crate::session::within(object.metadata.namespace.as_deref());
        let title = format!("{} {}{place}", self.kind.singular, object::name(object));
        let title = out.paint(Tone::Head, &title);
        out.line(&title)?;
        self.tell_health(now, out)?;
        out.line("")?;
        if let Some(created) = object::created(object) {
            out.line(&format!(
                "Created: {} ago, {created}",
                age::since(created, now)
            ))?;
        }
        for (title, pairs) in [
            ("Labels", &object.metadata.labels),
            ("Annotations", &object.metadata.annotations),
        ] {
            // What kubectl apply keeps there repeats the whole object.
            let pairs = pairs
                .iter()
                .flatten()
                .filter(|(k, _)| !k.starts_with("kubectl.k"));
            let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={v}")).collect();
            if !pairs.is_empty() {
                out.line(&format!("{title}: {}", pairs.join(", ")))?;
            }
        }
        tree("Spec", self.object.data.get("spec"), &[], out)?;
        let told = [
            "conditions",
            "addresses",
            "targets",
            "vlans",
            "attachedTo",
            "routing",
        ];
        // What has a part of its own below.
        let below = ["drift", "preview", "orphans", "orphanCount"];
        let told = match self.kind.kind {
            "Region" | "Provider" => &told[..1],
            _ => &told[..],
        };
        // A network's use of addresses is a pair of numbers, an instance's addresses a table.
        let keep: Vec<&str> = told
            .iter()
            .copied()
            .filter(|field| !at(object, "/status").is_some_and(|s| s[*field].is_object()))
            .collect();
        let keep: Vec<&str> = keep.into_iter().chain(below).collect();
        tree("Status", self.object.data.get("status"), &keep, out)?;
        for (title, table) in self.tables(now) {
            if !table.is_empty() {
                section(title, out)?;
                out.table_under("  ", &table)?;
            }
        }
        difference::tell(object, now, out)?;
        self.tell_conditions(now, out)?;
        self.tell_events(now, out)
    }

    /// Whether it is ready, and if not, why: the question that brought the reader here.
    fn tell_health(&self, now: Timestamp, out: &mut Out) -> Result<(), Failure> {
        let health = object::health(&self.object);
        let since = health
            .since
            .map(|then| format!(" for {}", age::since(then, now)));
        let since = since.unwrap_or_default();
        if health.is_ready() {
            let line = out.paint(Tone::Good, &format!("Ready{since}"));
            return out.line(&line);
        }
        let word = match health.message.as_str() {
            "" => format!("Not ready{since}: {}", health.reason),
            message => format!("Not ready{since}: {}: {message}", health.reason),
        };
        out.text_toned("", kinds::tone(&health), &word)?;
        for cause in related::causes(self.kind, &self.object, &self.related) {
            if !health.message.contains(&cause) {
                out.text_behind("  because ", 10, &cause)?;
            }
        }
        Ok(())
    }

    fn tell_conditions(&self, now: Timestamp, out: &mut Out) -> Result<(), Failure> {
        let conditions = object::conditions(&self.object);
        section("Conditions", out)?;
        if conditions.is_empty() {
            return out.line("  none yet");
        }
        let heads = [
            ("type", ALWAYS),
            ("status", ALWAYS),
            ("reason", ALWAYS),
            ("for", 10),
        ];
        let mut table = Table::new(heads);
        let mut messages = Vec::new();
        for c in conditions {
            let tone = match (c.status.as_str(), object::is_stale(&self.object, &c)) {
                ("True", false) => Tone::Good,
                ("False", false) => Tone::Bad,
                _ => Tone::Waiting,
            };
            let since = c.last_transition_time.map(|then| age::since(then, now));
            let status = Cell::new(c.status.clone(), tone);
            table.push(vec![
                c.type_.clone().into(),
                status,
                c.reason.clone().into(),
                since.unwrap_or_default().into(),
            ]);
            messages.push(match object::is_stale(&self.object, &c) {
                true => format!("(of an earlier change) {}", c.message),
                false => c.message,
            });
        }
        out.table_with_text("  ", &table, "message", &messages)
    }

    /// What was said of it, for people.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn tell_events(&self, now: Timestamp, out: &mut Out) -> Result<(), Failure> {
        section("Events", out)?;
        let events = match &self.events {
            None => return out.line("  you may not read them"),
            Some(none) if none.is_empty() => return out.line("  none of late"),
            Some(events) => events,
        };
        let mut table = Table::new([("last", ALWAYS), ("reason", ALWAYS), ("times", 10)]);
        let mut messages = Vec::new();
        for event in events {
            let tone = if event.type_ == "Warning" {
                Tone::Bad
            } else {
                Tone::Plain
            };
            table.push(vec![
                event
                    .time
                    .map(|then| age::since(then, now))
                    .unwrap_or_default()
                    .into(),
                Cell::new(event.reason.clone(), tone),
                event.count.to_string().into(),
            ]);
            messages.push(event.message.clone());
        }
        out.table_with_text("  ", &table, "message", &messages)
    }

    /// What is around the object, by kind.
    fn tables(&self, now: Timestamp) -> Vec<(&'static str, Table)> {
        let rows = get::Rows::default();
        let of = |plural: &str, objects: &[Object]| match Kind::named(plural) {
            Some(kind) => get::table(kind, objects, &rows, now),
            None => Table::default(),
        };
        match self.kind.kind {
            "Instance" => {
                vec![("Addresses", self.cards()), ("Volumes", self.disks())]
            }
            "Network" => vec![
                ("Routers", self.routers()),
                ("Instances", of("instances", &self.related.instances)),
            ],
            "Volume" => vec![
                ("Attached to", self.attached()),
                ("Named by", of("instances", &self.related.instances)),
            ],
            "Tenant" => vec![
                (
                    "Routing",
                    entries(&self.object, "/status/routing", &ROUTING),
                ),
                ("Networks", of("networks", &self.related.networks)),
                ("Instances", of("instances", &self.related.instances)),
                ("Volumes", of("volumes", &self.related.volumes)),
            ],
            "Provider" => vec![("Instances", of("instances", &self.related.instances))],
            _ => vec![("Providers", of("providers", &self.related.providers))],
        }
    }

    fn cards(&self) -> Table {
        entries(
            &self.object,
            "/status/addresses",
            &["name", "network", "address", "mac"],
        )
    }

    fn disks(&self) -> Table {
        let heads = ["disk", "volume", "size", "ready", "device", "serial"];
        let mut table = Table::new(heads.map(|head| (head, ALWAYS)));
        for entry in list(&self.object, "/spec/volumes") {
            let field = |name: &str| entry.get(name).map(object::word).unwrap_or_default();
            let volume = field("volume");
            let found = self
                .related
                .volumes
                .iter()
                .find(|v| object::name(v) == volume);
            let of = |pointer: &str| found.map(|v| object::text(v, pointer)).unwrap_or_default();
            let health = found.map(object::health);
            table.push(vec![
                field("name").into(),
                volume.into(),
                of("/spec/size").into(),
                health.map_or_else(Cell::default, |h| {
                    Cell::new(h.ready.word(), kinds::tone(&h))
                }),
                of("/status/attachedTo/device").into(),
                of("/status/attachedTo/serial").into(),
            ]);
        }
        table
    }

    fn routers(&self) -> Table {
        let mut table = Table::new([
            ("router", ALWAYS),
            ("reason", ALWAYS),
            ("interface", 60),
            ("vlan", 70),
            ("message", 10),
        ]);
        for state in list(&self.object, "/status/targets") {
            let field = |name: &str| state.get(name).map(object::word).unwrap_or_default();
            let router = field("name");
            let trunks = list(&self.object, "/status/vlans").iter();
            let trunks: Vec<&Value> = trunks
                .filter(|trunk| trunk["router"].as_str() == Some(&router))
                .collect();
            let of = |name: &str| {
                trunks
                    .iter()
                    .map(|trunk| object::word(&trunk[name]))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let reason = field("reason");
            let tone = if reason == "Programmed" {
                Tone::Good
            } else {
                Tone::Waiting
            };
            table.push(vec![
                router.clone().into(),
                Cell::new(reason, tone),
                of("interface").into(),
                of("vlan").into(),
                field("message").into(),
            ]);
        }
        table
    }

    fn attached(&self) -> Table {
        let fields = ["instance", "device", "serial"];
        let mut table = Table::new(fields.map(|field| (field, ALWAYS)));
        if let Some(entry) = at(&self.object, "/status/attachedTo") {
            table.push(
                fields
                    .map(|field| object::word(&entry[field]).into())
                    .to_vec(),
            );
        }
        table
    }
}

const ROUTING: [&str; 5] = ["region", "vrf", "table", "l3vni", "routeTarget"];

/// A field's name as the words that it is made of.
fn spaced(field: &str) -> String {
    let mut words = String::new();
    for c in field.chars() {
        if c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c);
    }
    words
}

/// A list of objects as a table of some of their fields.
fn entries(object: &Object, pointer: &str, fields: &[&str]) -> Table {
    let titles: Vec<String> = fields.iter().map(|field| spaced(field)).collect();
    let mut table = Table::new(titles.iter().map(|title| (title.as_str(), ALWAYS)));
    for entry in list(object, pointer) {
        table.push(
            fields
                .iter()
                .map(|field| object::word(&entry[*field]).into())
                .collect(),
        );
    }
    table
}

fn section(title: &str, out: &mut Out) -> Result<(), Failure> {
    let title = out.paint(Tone::Head, &format!("{title}:"));
    out.line("")?;
    out.line(&title)
}

/// A part of an object as an outline, without what is empty or told elsewhere.
fn tree(title: &str, part: Option<&Value>, told: &[&str], out: &mut Out) -> Result<(), Failure> {
    let mut part = part.cloned().unwrap_or_default();
    if let Some(map) = part.as_object_mut() {
        map.retain(|field, _| !told.contains(&field.as_str()));
    }
    if is_empty(&part) {
        return Ok(());
    }
    section(title, out)?;
    outline(&part)
        .iter()
        .try_for_each(|line| out.line(&format!("  {line}")))
}
