//! Turns the JSON of a cluster, whose numbers may be texts and texts numbers, into values.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::transport::Data;

/// All that an answer holds.
pub(crate) fn all_of(data: Data) -> Value {
    // It was read as JSON already.
    data.and_then(|data| serde_json::from_str(data.get()).ok())
        .unwrap_or_default()
}

/// Looks at the rows of a list one by one; anything else has none.
pub(crate) fn each(data: Data, mut look: impl FnMut(&Value)) {
    let Some(data) = data else { return };
    let rows: Vec<&RawValue> = serde_json::from_str(data.get()).unwrap_or_default();
    for row in rows {
        look(&serde_json::from_str(row.get()).unwrap_or_default());
    }
}

/// A text, also where a number or a truth value was sent.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(u8::from(*yes).to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, also where it was sent as a text or with a fraction of zero.
pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(yes) => Some(u64::from(*yes)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0)
        .then(|| format!("{number:.0}").parse().ok())
        .flatten()
}

/// The text under a key.
pub(crate) fn text_at(row: &Value, key: &str) -> Option<String> {
    text(row.get(key)?)
}

/// The number under a key.
pub(crate) fn number_at(row: &Value, key: &str) -> Option<u64> {
    number(row.get(key)?)
}

/// The rows of a list; anything else has none.
pub(crate) fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_texts_stand_in_for_each_other() {
        for value in [json!(7), json!("7"), json!(7.0)] {
            assert_eq!(number(&value), Some(7), "{value}");
        }
        assert_eq!(number(&json!(7.5)), None);
        assert_eq!(number(&json!(true)), Some(1));
        assert_eq!(text(&json!(64)), Some("64".into()));
        assert_eq!(text(&json!(null)), None);
        assert!(rows(&json!({})).is_empty());
    }
}
