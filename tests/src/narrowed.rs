//! Turns two sets of definitions into what the newer one takes or keeps no more.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Something that is not as wide as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The definition, the place in it, and what is so now.
    pub words: String,
    /// Objects that were taken are refused, or lose what they hold. Otherwise some may.
    pub certain: bool,
}

/// Bounds below which nothing is taken, and above which nothing is.
const LEAST: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
const MOST: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];

/// Compares definitions by name.
#[must_use]
pub fn findings(old: &[Value], new: &[Value]) -> Vec<Finding> {
    let mut all = Vec::new();
    for old in old {
        let name = old["metadata"]["name"].as_str().unwrap_or_default();
        let mut walk = Walk {
            name: name.to_owned(),
            found: &mut all,
        };
        let Some(new) = new.iter().find(|new| new["metadata"]["name"] == name) else {
            walk.certain("", "it is gone");
            continue;
        };
        if old["spec"]["scope"] != new["spec"]["scope"] {
            walk.certain("", "its scope is another");
        }
        for (version, old) in served(old) {
            let place = format!(".{version}");
            match served(new).into_iter().find(|(name, _)| *name == version) {
                Some((_, new)) => walk.compare(&place, schema(old), schema(new)),
                None => walk.certain(&place, "it is not served any more"),
            }
        }
    }
    all
}

fn served(definition: &Value) -> Vec<(&str, &Value)> {
    let versions = definition["spec"]["versions"].as_array().into_iter();
    let served = versions.flatten().filter(|v| v["served"] == true);
    served
        .map(|v| (v["name"].as_str().unwrap_or_default(), v))
        .collect()
}

fn schema(version: &Value) -> &Value {
    &version["schema"]["openAPIV3Schema"]
}

struct Walk<'a> {
    name: String,
    found: &'a mut Vec<Finding>,
}

impl Walk<'_> {
    fn certain(&mut self, place: &str, words: &str) {
        self.tell(place, words, true);
    }

    fn tell(&mut self, place: &str, words: &str, certain: bool) {
        let words = format!("{}{place}: {words}", self.name);
        self.found.push(Finding { words, certain });
    }

    fn compare(&mut self, place: &str, old: &Value, new: &Value) {
        if old["type"] != new["type"] {
            let words = format!("was {} and is {}", old["type"], new["type"]);
            self.certain(place, &words);
            return;
        }
        if old["nullable"] == true && new["nullable"] != true {
            self.certain(place, "null is not taken any more");
        }
        self.values(place, old, new);
        self.bounds(place, old, new);
        self.rules(place, old, new);
        self.fields(place, old, new);
        for inner in ["items", "additionalProperties"] {
            if old[inner].is_object() && new[inner].is_object() {
                self.compare(&format!("{place}[]"), &old[inner], &new[inner]);
            }
        }
    }

    fn values(&mut self, place: &str, old: &Value, new: &Value) {
        let Some(taken) = new["enum"].as_array() else {
            return;
        };
        match old["enum"].as_array() {
            None => self.tell(place, "only some values are taken now", true),
            Some(were) => {
                for value in were.iter().filter(|value| !taken.contains(value)) {
                    self.certain(place, &format!("{value} is not taken any more"));
                }
            }
        }
    }

    fn bounds(&mut self, place: &str, old: &Value, new: &Value) {
        let tighter = |key: &&str, worse: fn(f64, f64) -> bool| {
            let (was, is) = (old[*key].as_f64(), new[*key].as_f64());
            is.is_some_and(|is| was.is_none_or(|was| worse(is, was)))
        };
        let least = LEAST.iter().filter(|key| tighter(key, |is, was| is > was));
        let most = MOST.iter().filter(|key| tighter(key, |is, was| is < was));
        for key in least.chain(most).copied().collect::<Vec<_>>() {
            let words = format!("{key} was {} and is {}", old[key], new[key]);
            self.certain(place, &words);
        }
        for key in ["pattern", "format"] {
            if !new[key].is_null() && new[key] != old[key] {
                self.tell(place, &format!("{key} is another: {}", new[key]), false);
            }
        }
    }

    fn rules(&mut self, place: &str, old: &Value, new: &Value) {
        let key = "x-kubernetes-validations";
        let of = |schema: &Value| -> BTreeSet<String> {
            let rules = schema[key].as_array().into_iter().flatten();
            rules.map(|rule| rule["rule"].to_string()).collect()
        };
        for rule in of(new).difference(&of(old)) {
            self.tell(place, &format!("there is a new rule: {rule}"), false);
        }
    }

    fn fields(&mut self, place: &str, old: &Value, new: &Value) {
        let none = Map::new();
        let of = |schema: &'_ Value| schema["properties"].as_object().cloned();
        let (were, are) = (of(old).unwrap_or_default(), of(new).unwrap_or(none));
        let open = new["x-kubernetes-preserve-unknown-fields"] == true
            || new["additionalProperties"].is_object();
        for (name, old) in &were {
            let place = format!("{place}.{name}");
            match are.get(name) {
                Some(new) => self.compare(&place, old, new),
                None if open => {}
                None => self.certain(&place, "it is gone: what objects hold in it is lost"),
            }
        }
        let required = |schema: &Value| -> BTreeSet<String> {
            let names = schema["required"].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (was, is) = (required(old), required(new));
        let asked = is.difference(&was);
        let asked = asked.filter(|name| are.get(*name).is_none_or(|f| f["default"].is_null()));
        for name in asked.cloned().collect::<Vec<_>>() {
            self.certain(&format!("{place}.{name}"), "it has to be there now");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(spec: &Value) -> Value {
        json!({
            "metadata": {"name": "things.example"},
            "spec": {"scope": "Namespaced", "versions": [{
                "name": "v1", "served": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }]},
        })
    }

    fn base() -> Value {
        json!({
            "type": "object", "required": ["name"],
            "x-kubernetes-validations": [{"rule": "self.a < 5"}],
            "properties": {
                "name": {"type": "string", "maxLength": 63, "pattern": "^[a-z]+$"},
                "mode": {"type": "string", "enum": ["On", "Off"], "nullable": true},
                "disks": {"type": "array", "maxItems": 8, "items": {
                    "type": "object", "properties": {"size": {"type": "integer", "minimum": 1}},
                }},
            },
        })
    }

    /// What is found when one place of the newer one is another.
    fn found(place: &str, value: Value) -> Vec<(String, bool)> {
        let mut new = base();
        match new.pointer_mut(place) {
            Some(at) if value.is_null() => {
                *at = Value::Null;
                let (parent, key) = place.rsplit_once('/').unwrap();
                let parent = new.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                parent.remove(key);
            }
            Some(at) => *at = value,
            None => {
                let (parent, key) = place.rsplit_once('/').unwrap();
                new.pointer_mut(parent).unwrap()[key] = value;
            }
        }
        let all = findings(&[definition(&base())], &[definition(&new)]);
        all.into_iter().map(|f| (f.words, f.certain)).collect()
    }

    #[test]
    fn what_is_taken_or_kept_no_more_is_told_with_its_place() {
        let deep = "/properties/disks/items/properties/size";
        for (place, value, words, certain) in [
            (deep, Value::Null, ".v1.spec.disks[].size: it is gone", true),
            (
                "/properties/mode/enum/1",
                json!("Idle"),
                ".mode: \"Off\" is not taken",
                true,
            ),
            (
                "/properties/mode/nullable",
                Value::Null,
                ".mode: null is not taken",
                true,
            ),
            (
                "/properties/name/maxLength",
                json!(40),
                ".name: maxLength was 63",
                true,
            ),
            (
                "/properties/name/minLength",
                json!(2),
                ".name: minLength was null",
                true,
            ),
            (
                "/properties/name/type",
                json!("integer"),
                ".name: was \"string\"",
                true,
            ),
            (
                "/required",
                json!(["name", "mode"]),
                ".mode: it has to be there",
                true,
            ),
            (
                "/properties/name/enum",
                json!(["a"]),
                ".name: only some values",
                true,
            ),
            (
                "/properties/name/pattern",
                json!("^[a-c]+$"),
                ".name: pattern is another",
                false,
            ),
            (
                "/x-kubernetes-validations",
                json!([{"rule": "self.a < 4"}]),
                "a new rule",
                false,
            ),
        ] {
            let told = found(place, value);
            let [(said, sure)] = &told[..] else {
                panic!("{place}: {told:?}");
            };
            assert!(
                said.contains(words) && *sure == certain,
                "{place}: {told:?}"
            );
        }
    }

    #[test]
    fn what_is_wider_or_new_is_no_finding() {
        let none: Vec<(String, bool)> = Vec::new();
        assert_eq!(found("/properties/name/maxLength", json!(100)), none);
        assert_eq!(found("/properties/name/pattern", Value::Null), none);
        assert_eq!(
            found("/properties/mode/enum", json!(["On", "Off", "Idle"])),
            none
        );
        assert_eq!(found("/properties/more", json!({"type": "string"})), none);
        assert_eq!(found("/required", json!([])), none);
        // One that has a default need not be written.
        let mut new = base();
        new["properties"]["more"] = json!({"type": "string", "default": "x"});
        new["required"] = json!(["name", "more"]);
        assert_eq!(findings(&[definition(&base())], &[definition(&new)]), []);
    }

    #[test]
    fn a_definition_a_version_or_a_scope_that_is_another_is_told() {
        let old = [definition(&base())];
        assert!(findings(&old, &[])[0].words.contains("it is gone"));
        let mut new = definition(&base());
        new["spec"]["versions"][0]["served"] = json!(false);
        assert!(findings(&old, &[new])[0].words.contains("not served"));
        let mut new = definition(&base());
        new["spec"]["scope"] = json!("Cluster");
        assert!(findings(&old, &[new])[0].words.contains("scope"));
    }
}
