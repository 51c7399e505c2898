//! Turns a call into a name that is the same in every run, and the calls of one run into the
//! points at which the controller is killed in others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Error, Result, bail};
use bb_lab_proxy::{Asked, Call, Fits, Proxy, Rule, When};
use serde_json::Value;

use super::story::Phase;

/// A moment in a run: just before or just after a call took effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The phase that the call is made in.
    pub phase: Phase,
    /// Where it goes: `api`, or the name of a router or cluster.
    pub target: String,
    /// What it is.
    pub call: String,
    /// The how many-th such call of the phase, from 1.
    pub nth: u64,
    /// On which side of it.
    pub when: When,
}

impl fmt::Display for Point {
    /// As `SWEEP_POINT` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.when {
            When::Before => "before",
            When::After => "after",
        };
        let (phase, target, call, nth) = (self.phase.word(), &self.target, &self.call, self.nth);
        write!(f, "{phase}|{target}|{call}|{nth}|{when}")
    }
}

impl FromStr for Point {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('|').collect();
        let [phase, target, call, nth, when] = parts.as_slice() else {
            bail!("a point is PHASE|TARGET|CALL|NTH|SIDE, not {text:?}");
        };
        Ok(Self {
            phase: Phase::ALL
                .into_iter()
                .find(|p| p.word() == *phase)
                .with_context(|| format!("no phase is called {phase}"))?,
            target: (*target).to_owned(),
            call: (*call).to_owned(),
            nth: nth.parse().context("NTH is a number")?,
            when: match *when {
                "before" => When::Before,
                "after" => When::After,
                other => bail!("a side is before or after, not {other}"),
            },
        })
    }
}

/// What numbers and UIDs stand for in this run; learnt from what the controller records, which
/// it does before it uses them.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<String, String>>>);

impl Names {
    /// Learns from everything that passes to the API.
    pub fn listen(&self, api: &Proxy) {
        let names = self.clone();
        // Fits no call, and sees each.
        let ear = Fits::when(move |asked| {
            names.learn(asked);
            false
        });
        api.rule(Rule::new(ear, bb_lab_proxy::Action::Pass));
    }

    /// A guest is recorded as `proxmox://CLUSTER/VMID`, a volume as
    /// `proxmox://CLUSTER/STORAGE/pvc-UID`.
    fn learn(&self, asked: &Asked) {
        if asked.method != "PATCH" || !asked.path.ends_with("/status") {
            return;
        }
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let name = body["metadata"]["name"].as_str();
        let id = body["status"]["providerID"].as_str();
        if let (Some(name), Some(id)) = (name, id.and_then(|id| id.rsplit('/').next())) {
            let id = id.strip_prefix("pvc-").unwrap_or(id);
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(id.to_owned(), name.to_owned());
        }
    }

    /// A text in which what is known is called by its name.
    fn in_words(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |part: &str| {
            let (before, id) = part.split_once("-pvc-").unwrap_or(("", part));
            match known.get(id) {
                Some(name) if before.is_empty() => name.clone(),
                Some(name) => format!("{before}-pvc-{name}"),
                None if part.starts_with("UPID") => "UPID".to_owned(),
                None => part.to_owned(),
            }
        };
        let parts: Vec<String> = text.split('/').map(part).collect();
        parts.join("/")
    }
}

/// What a call is, in words that do not change from run to run.
#[must_use]
pub fn name_of(target: &str, asked: &Asked, names: &Names) -> String {
    let method = &asked.method;
    if target == "api" {
        return of_api(asked);
    }
    let path = names.in_words(asked.path.trim_start_matches("/api2/json"));
    // Who is made stands in the body: a machine's name, a container's, a volume's file.
    let made = ["name", "hostname", "filename"].iter().find_map(|field| {
        let text = asked.text();
        let value = text.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == *field).then(|| names.in_words(value))
        });
        value.filter(|_| method == "POST" && !path.ends_with("/config"))
    });
    made.map_or_else(
        || format!("{method} {path}"),
        |made| format!("{method} {path} {made}"),
    )
}

fn of_api(asked: &Asked) -> String {
    let (method, path) = (&asked.method, asked.path.as_str());
    if asked.query.contains("watch=true") {
        return format!("WATCH {path}");
    }
    if path.contains("/events") && method != "GET" {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let word = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
        let (kind, name) = (word("/regarding/kind"), word("/regarding/name"));
        return format!("{method} event {kind}/{name} {}", word("/reason"));
    }
    let short = path
        .trim_start_matches("/apis/bitbuilder.cloud/v1alpha1/")
        .trim_start_matches("/apis/")
        .trim_start_matches("/api/v1/");
    format!("{method} {short}")
}

/// Whether a call may change something at its target that anybody goes by. An event is told to
/// people, and read by no controller.
#[must_use]
pub fn is_write(target: &str, asked: &Asked) -> bool {
    if target.starts_with('r') {
        return ["/configure", "/config-file"].contains(&asked.path.as_str());
    }
    let event = target == "api" && asked.path.contains("/events");
    asked.method != "GET" && !event
}

/// The points of one phase: both sides of every call that may change something, and the near
/// side of the first other call after each.
#[must_use]
pub fn points(
    phase: Phase,
    journals: &BTreeMap<String, Vec<Call>>,
    names: &Names,
) -> BTreeSet<Point> {
    let mut points = BTreeSet::new();
    for (target, calls) in journals {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let mut after_write = false;
        for call in calls {
            let name = name_of(target, &call.asked, names);
            if name.starts_with("WATCH ") {
                continue;
            }
            let nth = seen.entry(name.clone()).or_default();
            *nth += 1;
            let write = is_write(target, &call.asked);
            let sides: &[When] = match (write, after_write) {
                (true, _) => &[When::Before, When::After],
                (false, true) => &[When::Before],
                (false, false) => &[],
            };
            after_write = write;
            points.extend(sides.iter().map(|when| Point {
                phase,
                target: target.clone(),
                call: name.clone(),
                nth: *nth,
                when: *when,
            }));
        }
    }
    points
}

/// The calls that a point's call is among.
#[must_use]
pub fn fits(point: &Point, names: &Names) -> Fits {
    let (target, call, names) = (point.target.clone(), point.call.clone(), names.clone());
    Fits::when(move |asked| name_of(&target, asked, &names) == call)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str, body: &str) -> Asked {
        Asked {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: String::new(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn a_point_is_read_as_it_is_printed() {
        let text = "change|c1|POST /nodes/pve1/qemu/pg/config|2|after";
        let point: Point = text.parse().unwrap();
        assert_eq!(point.to_string(), text);
        assert_eq!(
            (point.phase, point.nth, point.when),
            (Phase::Change, 2, When::After)
        );
        assert!("create|c1|x|1".parse::<Point>().is_err());
    }

    #[test]
    fn guests_and_volumes_are_called_by_their_names() {
        let names = Names::default();
        let path = "/apis/bitbuilder.cloud/v1alpha1/namespaces/acme/instances/pg/status";
        let guest = r#"{"metadata":{"name":"pg"},"status":{"providerID":"proxmox://c1/700003"}}"#;
        let volume = r#"{"metadata":{"name":"data"},
            "status":{"providerID":"proxmox://c1/ssd/pvc-u-1"}}"#;
        names.learn(&asked("PATCH", path, guest));
        names.learn(&asked(
            "PATCH",
            &path.replace("instances", "volumes"),
            volume,
        ));
        let name = |method, path, body| name_of("c1", &asked(method, path, body), &names);
        assert_eq!(
            name(
                "POST",
                "/api2/json/nodes/pve1/qemu/700003/config",
                "name=pg"
            ),
            "POST /nodes/pve1/qemu/pg/config"
        );
        assert_eq!(
            name(
                "POST",
                "/api2/json/nodes/pve1/qemu/9000/clone",
                "newid=700003&name=pg"
            ),
            "POST /nodes/pve1/qemu/9000/clone pg"
        );
        assert_eq!(
            name(
                "POST",
                "/api2/json/nodes/pve1/storage/ssd/content",
                "filename=vm-900-pvc-u-1"
            ),
            "POST /nodes/pve1/storage/ssd/content vm-900-pvc-data"
        );
        assert_eq!(
            name(
                "DELETE",
                "/api2/json/nodes/pve1/storage/ssd/content/ssd%3Avm-900-pvc-u-1",
                ""
            ),
            "DELETE /nodes/pve1/storage/ssd/content/ssd%3Avm-900-pvc-data"
        );
        assert_eq!(
            name_of("api", &asked("PATCH", path, guest), &names),
            "PATCH namespaces/acme/instances/pg/status"
        );
    }
}
