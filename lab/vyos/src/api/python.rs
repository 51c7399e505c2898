//! Turns JSON into the text Python prints for it, which is what several errors are made of.

use serde_json::Value;

/// `repr()` of the object that `value` is in Python.
pub(super) fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(name, value)| format!("{}: {}", string(name), repr(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

fn string(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The message of Python's JSON parser for text that is no JSON.
pub(super) fn json_error(text: &str, error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = if said.starts_with("EOF") || said.starts_with("expected value") {
        "Expecting value"
    } else if said.starts_with("key must be a string") {
        "Expecting property name enclosed in double quotes"
    } else if said.starts_with("expected `:`") {
        "Expecting ':' delimiter"
    } else if said.starts_with("expected `,`") {
        "Expecting ',' delimiter"
    } else if said.starts_with("trailing characters") {
        "Extra data"
    } else {
        "Expecting value"
    };
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    // Python points at the place, ours one behind it unless the text ended.
    let back = usize::from(!error.is_eof());
    let column = error.column().saturating_sub(back);
    format!(
        "{what}: line {} column {} (char {})",
        error.line(),
        column + 1,
        before + column
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_print_as_python_prints_them() {
        let value = json!({"op": "set", "path": ["a", "it's"], "value": null, "x": [1, true]});
        assert_eq!(
            repr(&value),
            "{'op': 'set', 'path': ['a', \"it's\"], 'value': None, 'x': [1, True]}"
        );
    }

    #[test]
    fn broken_json_is_located_as_python_locates_it() {
        let error =
            |text: &str| json_error(text, &serde_json::from_str::<Value>(text).unwrap_err());
        assert_eq!(error(""), "Expecting value: line 1 column 1 (char 0)");
        assert_eq!(
            error("{\"op\":"),
            "Expecting value: line 1 column 7 (char 6)"
        );
        assert_eq!(error("yyy"), "Expecting value: line 1 column 1 (char 0)");
    }
}
