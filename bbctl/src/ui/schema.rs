//! Turns the definition of a kind into what may stand in one of its fields.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::kinds::Kind;

/// The schema of each kind, by its plural.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let one = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let plural = crd.spec.names.plural.clone();
        let version = crd.spec.versions.into_iter().next();
        let schema = version.and_then(|v| v.schema).and_then(|s| s.open_api_v3_schema);
        let schema = serde_json::to_value(schema).unwrap_or_default();
        (plural, schema)
    };
    bb_crds::crds().into_iter().map(one).collect()
});

/// The schema of a field by its way, such as `spec/networks/-/address`; `-` is any entry.
#[must_use]
pub fn of(kind: &Kind, way: &str) -> Option<&'static Value> {
    let mut schema = SCHEMAS.get(kind.plural)?;
    for step in way.split('/') {
        schema = match step {
            "-" => schema.get("items")?,
            name => schema.get("properties")?.get(name)?,
        };
    }
    Some(schema)
}

/// What the definition says that a field is for, in one sentence.
#[must_use]
pub fn says(kind: &Kind, way: &str) -> String {
    let text = of(kind, way)
        .and_then(|s| s["description"].as_str())
        .unwrap_or_default();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('`', "")
}

/// What stands in a field unless somebody says otherwise, by the definition.
#[must_use]
pub fn default(kind: &Kind, way: &str) -> Option<String> {
    let value = of(kind, way)?.get("default")?;
    Some(crate::object::word(value))
}

/// The words that may stand in a field, where the definition counts them.
#[must_use]
pub fn choices(kind: &Kind, way: &str) -> Vec<String> {
    let words = of(kind, way).and_then(|s| s["enum"].as_array());
    words
        .into_iter()
        .flatten()
        .map(crate::object::word)
        .collect()
}

/// Checks what was typed against the definition of its field.
///
/// # Errors
/// When it cannot stand there, with a sentence that says what can.
pub fn check(kind: &Kind, way: &str, text: &str) -> Result<(), String> {
    let Some(schema) = of(kind, way) else {
        return Ok(());
    };
    let number = |name: &str| schema[name].as_f64();
    if schema["type"] == "integer" {
        let Ok(value) = text.parse::<i32>() else {
            return Err(format!("`{text}` is no whole number"));
        };
        let (least, most) = (number("minimum"), number("maximum"));
        let value = f64::from(value);
        if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
            return Err(format!(
                "from {} to {}",
                least.unwrap_or_default(),
                most.unwrap_or(f64::from(i32::MAX))
            ));
        }
        return Ok(());
    }
    let length = text.chars().count() as f64;
    if let Some(most) = number("maxLength").filter(|most| length > *most) {
        return Err(format!("at most {most} characters"));
    }
    if let Some(least) = number("minLength").filter(|least| length < *least) {
        return Err(format!("at least {least} characters"));
    }
    let words = choices(kind, way);
    if !words.is_empty() && !words.iter().any(|word| word == text) {
        return Err(format!("one of {}", words.join(", ")));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && regex::Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        return Err(format!("`{text}` has not the form of it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_checked_by_its_definition() {
        let kind = Kind::named("instance").unwrap();
        let table = [
            ("spec/cpu", "4", None),
            ("spec/cpu", "0", Some("from 1 to 256")),
            ("spec/cpu", "two", Some("no whole number")),
            ("spec/memory", "2Gi", None),
            ("spec/memory", "lots", Some("has not the form")),
            ("spec/type", "Container", None),
            ("spec/type", "Pod", Some("one of VirtualMachine, Container")),
            ("spec/networks/-/name", "Eth0", Some("has not the form")),
            ("spec/sshKeys/-", "short", Some("at least 16")),
        ];
        for (way, text, wrong) in table {
            let answer = check(kind, way, text);
            match wrong {
                None => assert_eq!(answer, Ok(()), "{way} {text}"),
                Some(words) => assert!(answer.unwrap_err().contains(words), "{way} {text}"),
            }
        }
        assert_eq!(default(kind, "spec/cpu").as_deref(), Some("1"));
        assert!(says(kind, "spec/image").contains("image"));
    }

    #[test]
    fn every_field_of_a_form_is_in_the_definition() {
        for (singular, fields) in crate::ui::form::FIELDS {
            let kind = Kind::named(singular).unwrap();
            // Names are checked by themselves.
            for field in fields.iter().filter(|field| field.way != "metadata") {
                assert!(of(kind, field.way).is_some(), "{singular} {}", field.way);
            }
        }
    }
}
