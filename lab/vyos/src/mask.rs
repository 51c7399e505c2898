//! Turns commands and configuration that hold secrets into ones that may be written down.

use serde_json::Value;

const MASK: &str = "***";

/// Whether the value of this node is a secret.
#[must_use]
pub(crate) fn is_secret(leaf: &str) -> bool {
    matches!(leaf, "key" | "secret" | "token" | "pre-shared-secret")
        || leaf.ends_with("password")
        || (leaf.ends_with("-key") && leaf != "public-key")
}

/// A path with the value of a secret leaf masked.
#[must_use]
pub(crate) fn path(words: &[String]) -> Vec<String> {
    let mut masked = words.to_vec();
    if let [.., leaf, value] = masked.as_mut_slice()
        && is_secret(leaf)
    {
        MASK.clone_into(value);
    }
    masked
}

/// A request body with the API key and the values of secret leaves masked, wherever they are.
#[must_use]
pub(crate) fn body(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let words: Option<Vec<String>> =
                map.get("path").and_then(Value::as_array).map(|path| {
                    path.iter()
                        .map(|word| word.as_str().unwrap_or_default().to_owned())
                        .collect()
                });
            let secret_value = words
                .as_ref()
                .and_then(|w| w.last())
                .is_some_and(|leaf| is_secret(leaf));
            map.iter()
                .map(|(name, inner)| {
                    let shown = match name.as_str() {
                        "path" if words.is_some() => {
                            path(words.as_deref().unwrap_or_default()).into()
                        }
                        "value" if secret_value => MASK.into(),
                        _ if is_secret(name) && !inner.is_object() => MASK.into(),
                        _ => body(inner),
                    };
                    (name.clone(), shown)
                })
                .collect()
        }
        Value::Array(list) => list.iter().map(body).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_and_passwords_are_masked_in_every_form() {
        let seen = json!({
            "key": "api-key",
            "commands": [
                {"op": "set", "path": ["service", "https", "api", "keys", "id", "x", "key", "s1"]},
                {"op": "set", "path": ["interfaces", "wireguard", "wg0", "private-key"], "value": "s2"},
                {"op": "set", "path": ["system"], "section": {"login": {"plaintext-password": "s3"}}},
            ],
        });
        let text = body(&seen).to_string();
        for secret in ["api-key", "s1", "s2", "s3"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("wg0"));
    }

    #[test]
    fn public_keys_stay() {
        assert!(!is_secret("public-key"));
        assert!(is_secret("private-key"));
        assert!(is_secret("encrypted-password"));
    }
}
