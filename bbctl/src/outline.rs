//! Turns a part of an object into indented lines for people: YAML without its quotes.

use serde_json::Value;

use crate::object::word;
use crate::style::tame;

/// The value as lines, without what is empty. It is for reading: what needs to be read back is
/// rendered as YAML.
#[must_use]
pub fn outline(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    write(value, "", &mut lines);
    lines
}

fn write(value: &Value, indent: &str, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter().filter(|(_, field)| !is_empty(field)) {
                if is_leaf(field) {
                    lines.push(format!("{indent}{name}: {}", tame(&word(field))));
                } else {
                    lines.push(format!("{indent}{name}:"));
                    write(field, &format!("{indent}  "), lines);
                }
            }
        }
        Value::Array(items) => {
            for item in items.iter().filter(|item| !is_empty(item)) {
                let from = lines.len();
                write(item, &format!("{indent}  "), lines);
                // The first line of an entry carries its dash.
                if let Some(first) = lines.get_mut(from) {
                    *first = format!("{indent}- {}", first.trim_start());
                }
            }
        }
        leaf => lines.push(format!("{indent}{}", tame(&word(leaf)))),
    }
}

fn is_leaf(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// Says whether there is nothing in a value worth a line.
#[must_use]
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outline_reads_like_yaml_without_quotes_and_empty_parts() {
        let value = json!({
            "prefix": "10.0.0.0/24", "none": [], "deep": {"none": {}}, "on": false,
            "nics": [{"name": "a", "address": "10.0.0.1"}, {"name": "b"}],
            "words": ["x", "y: z"],
        });
        assert_eq!(
            outline(&value),
            [
                "nics:",
                "  - address: 10.0.0.1",
                "    name: a",
                "  - name: b",
                "on: false",
                "prefix: 10.0.0.0/24",
                "words:",
                "  - x",
                "  - y: z",
            ]
        );
        assert!(outline(&json!({})).is_empty());
    }
}
