//! Turns an object and the schema of its kind into what an API server would say against it.
//!
//! For objects that no server has judged yet: bounds, keys of lists, and the rules of the kind,
//! those about changes included. What stands in a text (`pattern`) is left to whoever reads it.

use kube::CustomResourceExt;
use kube::core::cel::{validate_cel, validate_cel_update};
use serde::Serialize;
use serde_json::Value;

/// The most that is said against one object.
const MOST: usize = 5;

/// What an API server would say against an object as it is now, `old` being the one that is there:
/// fields and messages. Nothing where it would take it.
#[must_use]
pub fn judge<T: CustomResourceExt + Serialize>(object: &T, old: Option<&T>) -> Vec<String> {
    let crd = T::crd();
    let schema = crd.spec.versions.first().and_then(|v| v.schema.as_ref());
    let schema = schema.and_then(|s| s.open_api_v3_schema.as_ref());
    let read = (serde_json::to_value(schema), serde_json::to_value(object));
    let (Ok(schema), Ok(value)) = read else {
        return vec!["it cannot be written as JSON".to_owned()];
    };
    let mut against = Vec::new();
    bounds("", &schema, &value, &mut against);
    if against.is_empty() {
        let judged = match old {
            Some(old) => validate_cel_update(object, old),
            None => validate_cel(object),
        };
        if let Err(errors) = judged {
            against.extend(errors.iter().map(ToString::to_string));
        }
    }
    against.truncate(MOST);
    against
}

/// Bounds of numbers, texts and lists, and keys that are there twice.
fn bounds(path: &str, schema: &Value, value: &Value, against: &mut Vec<String>) {
    let mut wrong = |words: String| against.push(format!("{path}: {words}"));
    let number = |key: &str| schema[key].as_f64();
    let length = |key: &str| schema[key].as_u64().and_then(|n| usize::try_from(n).ok());
    match value {
        Value::Number(is) => {
            let is = is.as_f64().unwrap_or(f64::NAN);
            if let Some(least) = number("minimum").filter(|least| is < *least) {
                wrong(format!("{is} is less than {least}"));
            }
            if let Some(most) = number("maximum").filter(|most| is > *most) {
                wrong(format!("{is} is more than {most}"));
            }
        }
        Value::String(text) => {
            let is = text.chars().count();
            if let Some(least) = length("minLength").filter(|least| is < *least) {
                wrong(format!("it has less than {least} characters"));
            }
            if let Some(most) = length("maxLength").filter(|most| is > *most) {
                wrong(format!("it has more than {most} characters"));
            }
        }
        Value::Array(items) => {
            let is = items.len();
            if let Some(least) = length("minItems").filter(|least| is < *least) {
                wrong(format!("it has less than {least} entries"));
            }
            if let Some(most) = length("maxItems").filter(|most| is > *most) {
                wrong(format!("it has more than {most} entries"));
            }
            if let Some(twice) = twice(schema, items) {
                wrong(format!("{twice} is there twice"));
            }
            for (at, item) in items.iter().enumerate() {
                bounds(&format!("{path}[{at}]"), &schema["items"], item, against);
            }
        }
        Value::Object(fields) => {
            for (name, below) in fields {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                bounds(&path, &schema["properties"][name], below, against);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The key of a map, or the value of a set, that two entries of a list have.
fn twice(schema: &Value, items: &[Value]) -> Option<Value> {
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let is_set = schema["x-kubernetes-list-type"] == "set";
    let key = |item: &Value| match keys {
        Some(keys) => {
            let of = keys.iter().filter_map(Value::as_str);
            Value::Array(of.map(|key| item[key].clone()).collect())
        }
        None => item.clone(),
    };
    if keys.is_none() && !is_set {
        return None;
    }
    let all: Vec<Value> = items.iter().map(key).collect();
    let second = |(at, key): &(usize, &Value)| all[..*at].contains(key);
    all.iter()
        .enumerate()
        .find(second)
        .map(|(_, key)| key.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Instance, Network, Volume};

    fn of<T: serde::de::DeserializeOwned>(spec: &Value) -> T {
        serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "n"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn what_a_server_takes_is_taken() {
        let network: Network = of(&json!({"ipv4": {"prefix": "10.0.0.0/24",
            "dhcp": {"from": "10.0.0.10", "to": "10.0.0.20"}}, "dns": {"servers": ["9.9.9.9"]}}));
        assert_eq!(judge(&network, None), Vec::<String>::new());
        let volume: Volume = of(&json!({"size": "20Gi"}));
        assert_eq!(judge(&volume, Some(&volume)), Vec::<String>::new());
        let instance: Instance = of(&json!({"image": "debian-12", "memory": "2Gi",
            "networks": [{"name": "web", "network": "web"}]}));
        assert_eq!(judge(&instance, Some(&instance)), Vec::<String>::new());
    }

    #[test]
    fn bounds_rules_and_changes_are_judged() {
        let small: Volume = of(&json!({"size": "100Mi"}));
        assert!(judge(&small, None)[0].contains("between 1Gi and 64Ti"));
        let (large, less): (Volume, Volume) =
            (of(&json!({"size": "20Gi"})), of(&json!({"size": "10Gi"})));
        assert!(judge(&less, Some(&large))[0].contains("only grow"));
        assert!(judge(&large, Some(&less)).is_empty());
        let twice: Instance = of(&json!({"image": "i", "networks": [
            {"name": "web", "network": "a"}, {"name": "web", "network": "b"}]}));
        assert!(judge(&twice, None)[0].contains("twice"));
        let many: Vec<Value> = (0..99).map(|n| json!(format!("key {n}"))).collect();
        let many: Instance = of(&json!({"image": "i", "sshKeys": many,
            "networks": [{"name": "web", "network": "a"}]}));
        assert!(
            judge(&many, None)[0].contains("entries"),
            "{:?}",
            judge(&many, None)
        );
    }
}
