//! Turns set and delete commands into changes of a candidate, or into the text that refuses them.

use crate::schema::{self, At, Kind};
use crate::tree::Node;
use crate::values;
use serde_json::Value;

/// What a command does. The API knows these and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Set,
    Delete,
    /// Checked, then forgotten: the comment shows up nowhere on the real one either.
    Comment,
}

/// One command with its value at the end of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub verb: Verb,
    pub path: Vec<String>,
}

impl Edit {
    /// A set of `path`, blank separated, for texts that have no blanks inside a word.
    #[must_use]
    pub fn set(path: &str) -> Self {
        Self {
            verb: Verb::Set,
            path: path.split(' ').map(str::to_owned).collect(),
        }
    }

    /// A delete of `path`, blank separated.
    #[must_use]
    pub fn delete(path: &str) -> Self {
        Self {
            verb: Verb::Delete,
            ..Self::set(path)
        }
    }

    /// Carries it out on `tree`.
    ///
    /// # Errors
    /// The text the backend prints: the path, a name or a value does not fit the schema.
    pub fn apply(&self, tree: &mut Node) -> Result<(), String> {
        match self.verb {
            Verb::Set => set(tree, &self.path),
            Verb::Delete => delete(tree, &self.path),
            Verb::Comment => comment(&self.path),
        }
    }

    /// Carries it out as a person's would be whose schema is wider than ours: a path we do not
    /// know is taken as it is, with `value` as the value of its leaf.
    pub fn apply_unchecked(&self, value: Option<&str>, tree: &mut Node) {
        match (self.verb, value) {
            (Verb::Comment, _) => {}
            (Verb::Set, Some(value)) => tree.make(&self.path).values = vec![value.to_owned()],
            (Verb::Set, None) => {
                tree.make(&self.path);
            }
            (Verb::Delete, _) => {
                tree.remove(&self.path);
            }
        }
    }
}

fn not_valid(path: &[String], verb: &str) -> String {
    format!(
        "Configuration path: [{}] is not valid\n\n{verb} failed\n",
        path.join(" ")
    )
}

fn set(tree: &mut Node, path: &[String]) -> Result<(), String> {
    let mut path = path.to_vec();
    if let Some(last) = path.last_mut() {
        *last = last.trim_start().to_owned();
    }
    let at = schema::find(&path).ok_or_else(|| not_valid(&path, "Set"))?;
    let requires_a_value = || {
        format!(
            "Configuration path: [{}] requires a value\nSet failed\n",
            path.join(" ")
        )
    };
    if let At::Node(def) = at
        && matches!(def.kind, Kind::Tag(_) | Kind::Leaf { .. })
    {
        return Err(requires_a_value());
    }
    let named = if matches!(at, At::Value(_)) {
        path.len() - 1
    } else {
        path.len()
    };
    if path[..named].iter().any(String::is_empty) {
        return Err(not_valid(&path, "Set"));
    }
    for (check, value) in schema::checks(&path) {
        let refused = values::forbidden_character(&value)
            .or_else(|| values::refusal(&check, &value).filter(|_| !value.is_empty()));
        if let Some(text) = refused {
            return Err(text + "Set failed\n");
        }
    }
    match at {
        At::Value(def) => {
            let value = path[named].clone();
            let held = &mut tree.make(&path[..named]).values;
            let multi = matches!(def.kind, Kind::Leaf { multi: true, .. });
            if !multi {
                *held = vec![value];
            } else if !held.contains(&value) {
                held.push(value);
            }
        }
        At::Node(_) | At::Name(_) => {
            tree.make(&path);
        }
    }
    Ok(())
}

fn delete(tree: &mut Node, path: &[String]) -> Result<(), String> {
    let known = schema::find(path);
    if known.is_none() && !tree.has(path) {
        return Err(not_valid(path, "Delete"));
    }
    let (last, parents) = path.split_last().ok_or_else(|| not_valid(path, "Delete"))?;
    if tree.get(path).is_some() {
        tree.remove(path);
        drop_empty_tag(tree, parents);
    } else if let Some(leaf) = tree.get(parents)
        && leaf.values.contains(last)
    {
        let held = tree.make(parents);
        held.values.retain(|value| value != last);
        if held.values.is_empty() {
            tree.remove(parents);
        }
    }
    Ok(())
}

/// A tag node goes with its last name; a plain node stays behind empty.
fn drop_empty_tag(tree: &mut Node, parents: &[String]) {
    let empty = tree
        .get(parents)
        .is_some_and(|node| node.children.is_empty());
    if empty && (schema::is_tag(parents) || schema::find(parents).is_none()) {
        tree.remove(parents);
    }
}

fn comment(path: &[String]) -> Result<(), String> {
    let known = path.split_last().is_some_and(|(_, node)| {
        matches!(schema::find(node), Some(At::Node(_) | At::Name(_))) && !node.is_empty()
    });
    if known {
        Ok(())
    } else {
        Err(not_valid(path, "Comment"))
    }
}

/// The sets that make up a section below `path`.
///
/// # Errors
/// A value is neither text, a list of texts nor a section.
pub(crate) fn section(path: &[String], section: &Value) -> Result<Vec<Edit>, String> {
    const NOT_TEXT: &str = "object is not a dict of strings/list of strings";
    fn below(path: &[String], value: &Value, edits: &mut Vec<Edit>) -> Result<(), String> {
        let mut push = |words: Vec<String>| {
            edits.push(Edit {
                verb: Verb::Set,
                path: words,
            });
        };
        let with =
            |word: &str| -> Vec<String> { path.iter().cloned().chain([word.to_owned()]).collect() };
        match value {
            Value::Object(map) if map.is_empty() => push(path.to_vec()),
            Value::Object(map) => {
                for (name, value) in map {
                    below(&with(name), value, edits)?;
                }
            }
            Value::String(text) => push(with(text)),
            Value::Array(list) => {
                for item in list {
                    push(with(item.as_str().ok_or(NOT_TEXT)?));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => return Err(NOT_TEXT.to_owned()),
        }
        Ok(())
    }
    let mut edits = Vec::new();
    below(path, section, &mut edits)?;
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn after(start: &Value, edits: &[Edit]) -> Value {
        let mut tree = Node::from_json(start);
        for edit in edits {
            edit.apply(&mut tree).unwrap();
        }
        tree.to_json()
    }

    fn refused(edit: &Edit) -> String {
        edit.apply(&mut Node::default()).unwrap_err()
    }

    #[test]
    fn a_single_leaf_is_replaced_and_a_multi_leaf_grows() {
        let tree = after(
            &json!({}),
            &[
                Edit::set("interfaces dummy dum0 description a"),
                Edit::set("interfaces dummy dum0 description b"),
                Edit::set("interfaces dummy dum0 address 10.0.0.2/32"),
                Edit::set("interfaces dummy dum0 address 10.0.0.1/32"),
                Edit::set("interfaces dummy dum0 address 10.0.0.2/32"),
            ],
        );
        let want = json!({"address": ["10.0.0.2/32", "10.0.0.1/32"], "description": "b"});
        assert_eq!(tree["interfaces"]["dummy"]["dum0"], want);
    }

    #[test]
    fn the_last_name_takes_its_tag_node_along_but_not_the_plain_node_above() {
        let start = json!({"vrf": {"name": {"t-a": {"table": "1001"}}}});
        assert_eq!(
            after(&start, &[Edit::delete("vrf name t-a")]),
            json!({"vrf": {}})
        );
        assert_eq!(after(&start, &[Edit::delete("vrf")]), json!({}));
    }

    #[test]
    fn what_is_absent_is_deleted_without_a_word_and_what_is_invalid_is_not() {
        assert_eq!(
            after(&json!({}), &[Edit::delete("interfaces dummy eth9")]),
            json!({})
        );
        assert_eq!(
            refused(&Edit::delete("interfaces dummy dum9 colour")),
            "Configuration path: [interfaces dummy dum9 colour] is not valid\n\nDelete failed\n"
        );
    }

    #[test]
    fn a_foreign_node_can_be_deleted_though_it_could_not_be_set() {
        let start = json!({"interfaces": {"tunnel": {"tun0": {"encapsulation": "gre"}}}});
        let tree = after(&start, &[Edit::delete("interfaces tunnel tun0")]);
        assert_eq!(tree, json!({"interfaces": {}}));
        assert!(
            refused(&Edit::set("interfaces tunnel tun0 encapsulation gre"))
                .contains("is not valid")
        );
    }

    #[test]
    fn refusals_read_as_the_backend_prints_them() {
        assert_eq!(
            refused(&Edit::set("interfaces dummy")),
            "Configuration path: [interfaces dummy] requires a value\nSet failed\n"
        );
        assert_eq!(
            refused(&Edit::set("interfaces dummy foo0 address 10.0.0.1/24")),
            "\n\nDummy interface must be named dumN\nValue validation failed\nSet failed\n"
        );
        assert_eq!(
            refused(&Edit::set("interfaces dummy  address 10.0.0.1/32")),
            "Configuration path: [interfaces dummy  address 10.0.0.1/32] is not valid\n\n\
             Set failed\n"
        );
    }

    #[test]
    fn a_section_becomes_sets() {
        let path = ["interfaces".to_owned(), "dummy".to_owned()];
        let edits = section(
            &path,
            &json!({"dum0": {"address": ["10.0.0.1/32"], "disable": {}}}),
        )
        .unwrap();
        assert_eq!(
            edits,
            [
                Edit::set("interfaces dummy dum0 address 10.0.0.1/32"),
                Edit::set("interfaces dummy dum0 disable"),
            ]
        );
        assert!(section(&path, &json!({"dum0": {"mtu": 1400}})).is_err());
    }
}
