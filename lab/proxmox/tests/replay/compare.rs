//! Turns two answers into alike or a text that says where they differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::recording::Step;
use crate::words::normalise;

/// What a comparison has to know of the scenario.
pub(crate) struct Context<'a> {
    /// Guests the scenario makes.
    pub guests: &'a BTreeSet<u64>,
    /// Recorded UPID to ours.
    pub upids: &'a BTreeMap<String, String>,
}

/// An answer of the stand-in.
pub(crate) struct Got {
    pub status: u16,
    pub reason: String,
    pub body: Value,
}

/// Config keys whose values are drawn.
const DRAWN: &[&str] = &["digest", "smbios1", "vmgenid", "meta"];

/// Judges status, class of error, and what a GET shows.
pub(crate) fn answers(step: &Step, got: &Got, context: &Context<'_>) -> Result<(), String> {
    if step.status != got.status {
        return Err(format!(
            "status {} {}, not {} {}",
            got.status, got.reason, step.status, step.reason
        ));
    }
    if step.status != 200 {
        let (wanted, found) = (normalise(&step.reason), normalise(&got.reason));
        if wanted != found {
            return Err(format!("reason {found:?}, not {wanted:?}"));
        }
        let (wanted, found) = (errors(&step.body), errors(&got.body));
        if wanted != found {
            return Err(format!("errors {found:?}, not {wanted:?}"));
        }
        return Ok(());
    }
    if step.body.get("__truncated__").is_some() {
        return Ok(());
    }
    let (wanted, found) = (
        view(step, &step.body, context, true),
        view(step, &got.body, context, false),
    );
    same(&wanted, &found)
}

fn errors(body: &Value) -> BTreeMap<String, String> {
    let map = body.get("errors").and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), normalise(v.as_str().unwrap_or_default())))
        .collect()
}

fn same(wanted: &Value, found: &Value) -> Result<(), String> {
    if wanted == found {
        return Ok(());
    }
    if let (Value::Object(a), Value::Object(b)) = (wanted, found) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let diff: Vec<String> = keys
            .into_iter()
            .filter(|k| a.get(*k) != b.get(*k))
            .map(|k| {
                let show = |v: Option<&Value>| v.map_or("absent".to_owned(), Value::to_string);
                format!("{k}: {}, not {}", show(b.get(k)), show(a.get(k)))
            })
            .collect();
        return Err(diff.join("; "));
    }
    Err(format!("{found}, not {wanted}"))
}

/// The part of an answer that two runs have in common.
fn view(step: &Step, body: &Value, context: &Context<'_>, recorded: bool) -> Value {
    let data = &body["data"];
    let parts = step.parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let rows = || data.as_array().cloned().unwrap_or_default();
    match (step.method.as_str(), parts.as_slice()) {
        ("GET", ["nodes", _, _, _, "config"]) => json!(config(data)),
        ("GET", ["nodes", _, _, _, "pending"]) => json!(pending(&rows())),
        ("GET", ["nodes", _, _, _, "status", "current"]) => status(data),
        ("GET", ["nodes", _, "storage", _, "content"]) => json!(content(&rows(), context)),
        ("GET", ["nodes", _, "storage", _, "content", ..]) => {
            pick(data, &["format", "path", "size"])
        }
        ("GET", ["cluster", "resources"]) => json!(guests(&rows(), context, "id")),
        ("GET", ["nodes", _, "qemu" | "lxc"]) => json!(guests(&rows(), context, "vmid")),
        ("GET", ["nodes", _, "tasks"]) => json!(tasks(&rows(), context, recorded)),
        ("GET", ["nodes", _, "tasks", _, "status"]) => task(data),
        ("GET", ["cluster", "nextid"] | ["access", "permissions"] | ["version"]) => data.clone(),
        ("GET", ["access", "roles", _]) => data.clone(),
        ("GET", ["access", "acl"]) => json!(as_set(&rows())),
        ("POST", ["access", "ticket"]) => json!([data["username"], data["cap"]]),
        ("POST", ["nodes", _, "storage", _, "content"]) => data.clone(),
        ("POST", ["access", "users", _, "token", _]) => {
            json!([data["full-tokenid"], data["info"]])
        }
        // A UPID or nothing: which of the two is the point.
        ("POST" | "PUT" | "DELETE", _) => match data.as_str() {
            Some(upid) if upid.starts_with("UPID:") => {
                let fields: Vec<&str> = upid.split(':').collect();
                json!(["task", fields[5], fields[6], fields[7]])
            }
            Some(_) => json!("text"),
            None => json!(data.is_null()),
        },
        _ => Value::Null,
    }
}

fn pick(data: &Value, keys: &[&str]) -> Value {
    let map: Map<String, Value> = keys
        .iter()
        .map(|k| ((*k).to_owned(), data.get(*k).cloned().unwrap_or_default()))
        .collect();
    Value::Object(map)
}

fn as_set(rows: &[Value]) -> BTreeSet<String> {
    rows.iter()
        .map(|r| json!(r.as_object()).to_string())
        .collect()
}

/// A config without what is drawn; addresses of cards are masked.
fn config(data: &Value) -> BTreeMap<String, Value> {
    let map = data.as_object();
    map.into_iter()
        .flatten()
        .filter(|(k, _)| !DRAWN.contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), masked(k, v)))
        .collect()
}

fn masked(key: &str, value: &Value) -> Value {
    match value.as_str() {
        Some(text) if key.starts_with("net") => {
            let parts: Vec<String> = text.split(',').map(normalise).collect();
            json!(parts)
        }
        _ => value.clone(),
    }
}

fn pending(rows: &[Value]) -> BTreeMap<String, Value> {
    rows.iter()
        .filter_map(|row| {
            let key = row["key"].as_str()?;
            if DRAWN.contains(&key) {
                return None;
            }
            let mut rest = row.as_object()?.clone();
            for name in ["value", "pending"] {
                if let Some(value) = rest.get(name).cloned() {
                    rest.insert(name.to_owned(), masked(key, &value));
                }
            }
            Some((key.to_owned(), Value::Object(rest)))
        })
        .collect()
}

/// Status without what is measured.
fn status(data: &Value) -> Value {
    let mut out = data.clone();
    if let Some(map) = out.as_object_mut() {
        map.retain(|k, _| {
            let measured = [
                "uptime", "pid", "cpu", "mem", "memhost", "netin", "netout", "disk",
            ];
            !measured.contains(&k.as_str()) && !k.starts_with("pressure")
        });
        if map.contains_key("nics") {
            map.insert("nics".to_owned(), json!("present"));
        }
    }
    out
}

fn content(rows: &[Value], context: &Context<'_>) -> BTreeMap<String, Value> {
    rows.iter()
        .filter(|r| {
            r["vmid"]
                .as_u64()
                .is_none_or(|id| context.guests.contains(&id))
        })
        .map(|r| {
            let volid = r["volid"].as_str().unwrap_or_default().to_owned();
            (volid, pick(r, content_keys(r)))
        })
        .collect()
}

/// Keys of a volume that are compared; files that belong to no guest have other sizes here.
fn content_keys(row: &Value) -> &'static [&'static str] {
    if row["vmid"].is_null() {
        return &["content", "format"];
    }
    &["content", "format", "size", "vmid", "parent"]
}

/// Which of the scenario's guests a list has, with what is in it at once.
fn guests(rows: &[Value], context: &Context<'_>, key: &str) -> BTreeMap<String, Value> {
    rows.iter()
        .filter(|r| {
            r["vmid"]
                .as_u64()
                .is_some_and(|id| context.guests.contains(&id))
        })
        .map(|r| {
            (
                r[key].to_string(),
                pick(r, &["vmid", "tags", "lock", "node", "type", "pool"]),
            )
        })
        .collect()
}

fn tasks(rows: &[Value], context: &Context<'_>, recorded: bool) -> BTreeMap<String, Value> {
    let ours: BTreeMap<&String, &String> = context.upids.iter().map(|(a, b)| (b, a)).collect();
    rows.iter()
        .filter_map(|r| {
            let upid = r["upid"].as_str()?.to_owned();
            let upid = if recorded {
                context.upids.contains_key(&upid).then_some(upid)?
            } else {
                (*ours.get(&upid)?).clone()
            };
            let mut row = pick(r, &["type", "id", "user", "tokenid", "node"]);
            row["status"] = json!(normalise(r["status"].as_str().unwrap_or_default()));
            Some((upid, row))
        })
        .collect()
}

fn task(data: &Value) -> Value {
    let mut row = pick(data, &["type", "id", "user", "tokenid", "node", "status"]);
    row["exitstatus"] = json!(normalise(data["exitstatus"].as_str().unwrap_or_default()));
    row
}
