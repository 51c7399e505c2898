//! Turns raw parameters into checked ones, or into the map of errors Proxmox's schema check gives.

use std::collections::BTreeMap;

use crate::refusal::{Answer, MISSING, NOT_IN_SCHEMA, Refusal};

/// A parameter as it came in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    One(String),
    /// Named more than once.
    Many,
    /// JSON `null`.
    Null,
}

/// Parameters by name.
pub(crate) type RawParams = BTreeMap<String, Raw>;

/// How a value is judged: `Err` is the text of the error.
pub(crate) type Format = fn(key: &str, value: &str) -> Result<(), String>;

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Int(i64, i64),
    Num,
    /// Text of at most so many characters.
    Text(usize),
    Enum(&'static [&'static str]),
    /// A pattern without words of its own.
    Pattern(fn(&str) -> bool),
    Format(Format),
    /// Judged in words of its own, without "invalid format" in front.
    Words(Format),
}

/// One parameter of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

/// A parameter a call needs.
pub(crate) const fn need(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        kind,
        required: true,
    }
}

/// A parameter a call may have.
pub(crate) const fn may(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        kind,
        required: false,
    }
}

/// Plain text without a limit worth checking.
pub(crate) const TEXT: Kind = Kind::Text(usize::MAX);
/// Any number that is not negative.
pub(crate) const COUNT: Kind = Kind::Int(0, i64::MAX);

/// Parameters that passed the schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Params(pub BTreeMap<String, String>);

impl Params {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A value the schema has made sure of.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }

    pub(crate) fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }

    pub(crate) fn vmid(&self, key: &str) -> u32 {
        self.get(key)
            .and_then(|v| v.parse().ok())
            .unwrap_or_default()
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }
}

/// Checks parameters against those of a call; `more` knows families such as `net[n]`.
///
/// # Errors
/// 400 with every error found, or 500 for a JSON null.
pub(crate) fn check(
    raw: &RawParams,
    fixed: &[&[Param]],
    more: Option<fn(&str) -> Option<Kind>>,
) -> Answer<Params> {
    let mut out = Params::default();
    let mut errors = BTreeMap::new();
    let known = |name: &str| {
        let listed = fixed
            .iter()
            .flat_map(|list| list.iter())
            .find(|p| p.name == name);
        listed
            .map(|p| p.kind)
            .or_else(|| more.and_then(|family| family(name)))
    };
    for param in fixed
        .iter()
        .flat_map(|list| list.iter())
        .filter(|p| p.required)
    {
        if !raw.contains_key(param.name) {
            errors.insert(param.name.to_owned(), MISSING.to_owned());
        }
    }
    for (name, value) in raw {
        let Some(kind) = known(name) else {
            errors.insert(name.clone(), NOT_IN_SCHEMA.to_owned());
            continue;
        };
        let verdict = match value {
            Raw::Null => {
                let text = format!("unable to parse value of '{name}' - got undefined value");
                return Err(Refusal::fail(text));
            }
            Raw::Many => Err(format!(
                "type check ('{}') failed - got ARRAY",
                type_word(kind)
            )),
            Raw::One(text) => judge(name, text, kind),
        };
        match (verdict, value) {
            (Err(text), _) => {
                errors.insert(name.clone(), text);
            }
            (Ok(()), Raw::One(text)) => {
                out.0.insert(name.clone(), text.clone());
            }
            (Ok(()), _) => {}
        }
    }
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(Refusal::params(errors))
    }
}

fn type_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Int(..) => "integer",
        Kind::Num => "number",
        _ => "string",
    }
}

fn judge(name: &str, text: &str, kind: Kind) -> Result<(), String> {
    match kind {
        Kind::Bool if text == "0" || text == "1" => Ok(()),
        Kind::Bool => Err(format!("type check ('boolean') failed - got '{text}'")),
        Kind::Int(low, high) => judge_int(text, low, high),
        Kind::Num if text.parse::<f64>().is_ok() => Ok(()),
        Kind::Num => Err(format!("type check ('number') failed - got '{text}'")),
        Kind::Text(max) if text.chars().count() <= max => Ok(()),
        Kind::Text(max) => Err(format!("value may only be {max} characters long")),
        Kind::Enum(all) if all.contains(&text) => Ok(()),
        Kind::Enum(all) => {
            let all = all.join(", ");
            Err(format!(
                "value '{text}' does not have a value in the enumeration '{all}'"
            ))
        }
        Kind::Words(judge) => judge(name, text),
        Kind::Pattern(fits) if fits(text) => Ok(()),
        Kind::Pattern(_) => Err("value does not match the regex pattern".to_owned()),
        Kind::Format(format) => {
            format(name, text).map_err(|why| format!("invalid format - {why}\n"))
        }
    }
}

fn judge_int(text: &str, low: i64, high: i64) -> Result<(), String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    let Some(value) = whole.then(|| text.parse::<i64>().ok()).flatten() else {
        return Err(format!("type check ('integer') failed - got '{text}'"));
    };
    if value < low {
        return Err(format!("value must have a minimum value of {low}"));
    }
    if value > high {
        return Err(format!("value must have a maximum value of {high}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &[Param] = &[need("newid", COUNT), may("full", Kind::Bool)];

    fn raw(pairs: &[(&str, &str)]) -> RawParams {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Raw::One((*v).to_owned())))
            .collect()
    }

    #[test]
    fn every_error_is_named_at_once() {
        let refusal = check(&raw(&[("full", "true"), ("tags", "x")]), &[CALL], None)
            .expect_err("three things are wrong");
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.errors["newid"], MISSING);
        assert_eq!(
            refusal.errors["full"],
            "type check ('boolean') failed - got 'true'"
        );
        assert_eq!(refusal.errors["tags"], NOT_IN_SCHEMA);
    }

    #[test]
    fn a_parameter_named_twice_is_an_array() {
        let mut params = raw(&[("newid", "100")]);
        params.insert("full".into(), Raw::Many);
        let refusal = check(&params, &[CALL], None).expect_err("full came twice");
        assert_eq!(
            refusal.errors["full"],
            "type check ('boolean') failed - got ARRAY"
        );
    }
}
