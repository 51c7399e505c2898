//! Turns configuration JSON into a tree that can be edited, compared and shown again.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One node: a leaf holds values, everything else holds children, some hold neither.
///
/// Tree and schema are kept apart, so nodes that no schema knows survive as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// In the order they were set; that order is shown.
    pub values: Vec<String>,
    pub children: BTreeMap<String, Node>,
}

impl Node {
    /// Reads what showConfig writes: objects are nodes, strings and lists are leaves.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        match value {
            Value::Object(map) => Self {
                values: Vec::new(),
                children: map
                    .iter()
                    .map(|(k, v)| (k.clone(), Self::from_json(v)))
                    .collect(),
            },
            Value::Array(list) => Self {
                values: list.iter().filter_map(scalar).collect(),
                children: BTreeMap::new(),
            },
            other => Self {
                values: scalar(other).into_iter().collect(),
                children: BTreeMap::new(),
            },
        }
    }

    /// Writes what showConfig writes: one value is a string, more are a list.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self.values.as_slice() {
            [] => Value::Object(
                self.children
                    .iter()
                    .map(|(k, v)| (k.clone(), v.to_json()))
                    .collect::<Map<_, _>>(),
            ),
            [one] => Value::String(one.clone()),
            many => many.iter().cloned().map(Value::String).collect(),
        }
    }

    /// The node at `path`, values not counted as nodes.
    #[must_use]
    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |node, name| node.children.get(name.as_ref()))
    }

    /// The node at `path`, made with its parents when absent.
    pub fn make<S: AsRef<str>>(&mut self, path: &[S]) -> &mut Self {
        path.iter().fold(self, |node, name| {
            node.children.entry(name.as_ref().to_owned()).or_default()
        })
    }

    /// Whether `path` names a node or one value of a leaf.
    #[must_use]
    pub fn has<S: AsRef<str>>(&self, path: &[S]) -> bool {
        if self.get(path).is_some() {
            return true;
        }
        path.split_last().is_some_and(|(value, leaf)| {
            self.get(leaf)
                .is_some_and(|leaf| leaf.values.iter().any(|v| v == value.as_ref()))
        })
    }

    /// Takes the node at `path` away with all below it.
    pub fn remove<S: AsRef<str>>(&mut self, path: &[S]) -> Option<Self> {
        let (last, parents) = path.split_last()?;
        let parent = parents
            .iter()
            .try_fold(self, |node, name| node.children.get_mut(name.as_ref()))?;
        parent.children.remove(last.as_ref())
    }

    /// The first value of the leaf at `path`.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<&str> {
        self.get(path)
            .and_then(|leaf| leaf.values.first())
            .map(String::as_str)
    }

    /// Every value of the leaf at `path`.
    #[must_use]
    pub fn values(&self, path: &[&str]) -> &[String] {
        self.get(path).map_or(&[], |leaf| leaf.values.as_slice())
    }

    /// The names and nodes below `path`.
    pub fn below<'a>(&'a self, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a Self)> {
        self.get(path).into_iter().flat_map(|node| {
            node.children
                .iter()
                .map(|(name, child)| (name.as_str(), child))
        })
    }

    /// How many nodes there are, values not counted.
    #[must_use]
    pub fn size(&self) -> usize {
        self.children.values().map(|child| 1 + child.size()).sum()
    }

    /// Every node with its path, parents before children.
    pub fn walk(&self, visit: &mut impl FnMut(&[String], &Self)) {
        fn step(node: &Node, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &Node)) {
            for (name, child) in &node.children {
                path.push(name.clone());
                visit(path, child);
                step(child, path, visit);
                path.pop();
            }
        }
        step(self, &mut Vec::new(), visit);
    }

    /// Every value, childless node and its path: what one would have to set to get this tree.
    #[must_use]
    pub fn lines(&self) -> BTreeSet<Vec<String>> {
        let mut lines = BTreeSet::new();
        self.walk(&mut |path, node| {
            if node.children.is_empty() && node.values.is_empty() {
                lines.insert(path.to_vec());
            }
            for value in &node.values {
                lines.insert(path.iter().cloned().chain([value.clone()]).collect());
            }
        });
        lines
    }

    /// The same as `set` commands, one a line.
    #[must_use]
    pub fn commands(&self) -> String {
        let mut text = String::new();
        self.walk(&mut |path, node| {
            let words = path.join(" ");
            if node.children.is_empty() && node.values.is_empty() {
                text.push_str(&format!("set {words}\n"));
            }
            for value in &node.values {
                text.push_str(&format!("set {words} '{value}'\n"));
            }
        });
        text
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_goes_in_and_comes_out_unchanged() {
        let json = json!({"a": {"b": "1", "c": ["x", "y"], "d": {}}, "e": {"f": ""}});
        assert_eq!(Node::from_json(&json).to_json(), json);
    }

    #[test]
    fn a_value_is_found_at_the_end_of_its_path() {
        let tree = Node::from_json(&json!({"a": {"b": ["1", "2"]}}));
        assert!(tree.has(&["a", "b", "2"]));
        assert!(!tree.has(&["a", "b", "3"]));
        assert!(tree.has(&["a", "b"]));
        assert!(!tree.has(&["a", "c"]));
    }

    #[test]
    fn lines_are_what_one_would_set() {
        let tree = Node::from_json(&json!({"a": {"b": ["1", "2"], "c": {}}}));
        let lines: Vec<String> = tree
            .lines()
            .into_iter()
            .map(|line| line.join(" "))
            .collect();
        assert_eq!(lines, ["a b 1", "a b 2", "a c"]);
        assert_eq!(tree.commands(), "set a b '1'\nset a b '2'\nset a c\n");
    }
}
