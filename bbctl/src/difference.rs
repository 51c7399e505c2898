//! Turns what a status says of drift, of an adoption and of orphans into lines for people.

use jiff::Timestamp;
use serde_json::Value;

use crate::age;
use crate::error::Failure;
use crate::object::{Object, at, list, word};
use crate::out::Out;
use crate::style::Tone;

/// What somebody else changed, what adopting would change, and what has no object, each where
/// there is some.
///
/// # Errors
/// When stdout is closed or full.
pub fn tell(object: &Object, now: Timestamp, out: &mut Out) -> Result<(), Failure> {
    for drift in list(object, "/status/drift") {
        let title = title(drift, now);
        section(&title, out)?;
        lines(drift, out)?;
    }
    if let Some(preview) = at(object, "/status/preview") {
        section("Adopting the guest would change", out)?;
        lines(preview, out)?;
    }
    let orphans = list(object, "/status/orphans");
    if !orphans.is_empty() {
        let all = at(object, "/status/orphanCount").and_then(Value::as_u64);
        let shown = u64::try_from(orphans.len()).unwrap_or(u64::MAX);
        let all = all.unwrap_or(shown);
        section(&format!("Without an object ({all})"), out)?;
        for orphan in orphans {
            out.text_toned("  ", Tone::Waiting, &word(orphan))?;
        }
        more(all.saturating_sub(shown), out)?;
    }
    Ok(())
}

fn title(drift: &Value, now: Timestamp) -> String {
    let ago = |field: &str| {
        let then = drift[field].as_str()?.parse::<Timestamp>().ok()?;
        Some(age::since(then, now))
    };
    let found = ago("since").map_or_else(String::new, |ago| format!(" {ago} ago"));
    let end = match ago("corrected") {
        Some(ago) => format!("put right {ago} ago"),
        None => "still so".to_owned(),
    };
    format!(
        "Changed on {} by somebody else{found}, {end}",
        word(&drift["target"])
    )
}

fn lines(part: &Value, out: &mut Out) -> Result<(), Failure> {
    for line in part["lines"].as_array().into_iter().flatten() {
        let line = word(line);
        let tone = match line.as_bytes().first() {
            Some(b'-') => Tone::Bad,
            Some(b'+') => Tone::Good,
            _ => Tone::Plain,
        };
        out.text_toned("  ", tone, &line)?;
    }
    more(part["more"].as_u64().unwrap_or(0), out)
}

fn more(count: u64, out: &mut Out) -> Result<(), Failure> {
    match count {
        0 => Ok(()),
        count => out.line(&format!("  and {count} more")),
    }
}

fn section(title: &str, out: &mut Out) -> Result<(), Failure> {
    out.line("")?;
    out.text_toned("", Tone::Head, &format!("{title}:"))
}
