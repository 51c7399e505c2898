//! Turns a configuration tree as VyOS shows it into a set of lines, and back.
//!
//! A line is the path of one `set` command, the value last. Sets of lines make single values,
//! lists and valueless nodes the same thing, so that a diff is a difference of sets.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The words of one command, without `set` or `delete`.
pub type Path = Vec<String>;

/// A configuration, or a part of one, as lines in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lines(BTreeSet<Path>);

impl Lines {
    /// Reads the data of `showConfig []` (VyOS 1.5): an object per node, a text or a list per
    /// leaf, `{}` for a valueless leaf and for an empty node alike.
    ///
    /// Empty nodes on the way are kept as lines: VyOS leaves them behind, and only the caller
    /// knows which of them mean something.
    #[must_use]
    pub fn parse(shown: &Value) -> Self {
        let mut lines = Self::default();
        lines.read(shown, &mut Vec::new());
        lines
    }

    fn read(&mut self, value: &Value, at: &mut Path) {
        match value {
            Value::Object(children) if !children.is_empty() => {
                for (name, child) in children {
                    at.push(name.clone());
                    self.read(child, at);
                    at.pop();
                }
            }
            Value::Array(values) => {
                for value in values {
                    self.read(value, at);
                }
            }
            Value::String(text) => self.add_value(at, text.clone()),
            Value::Number(number) => self.add_value(at, number.to_string()),
            _ => {
                if !at.is_empty() {
                    self.0.insert(at.clone());
                }
            }
        }
    }

    fn add_value(&mut self, at: &Path, value: String) {
        let mut line = at.clone();
        line.push(value);
        self.0.insert(line);
    }

    /// Adds one line, given as words.
    pub fn set(&mut self, words: &[&str]) {
        self.0
            .insert(words.iter().map(|w| (*w).to_owned()).collect());
    }

    /// Adds one line.
    pub fn insert(&mut self, line: Path) {
        self.0.insert(line);
    }

    /// Adds every line of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Whether the line is there.
    #[must_use]
    pub fn contains(&self, line: &Path) -> bool {
        self.0.contains(line)
    }

    /// The lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No line at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines at or below `root`, in order. A search, not a scan: lines below a node stand
    /// together.
    pub fn below<'a>(&'a self, root: &'a [String]) -> impl Iterator<Item = &'a Path> {
        self.0
            .range(root.to_vec()..)
            .take_while(move |line| line.starts_with(root))
    }

    /// Whether anything is at or below `root`.
    #[must_use]
    pub fn any_below(&self, root: &[String]) -> bool {
        self.below(root).next().is_some()
    }

    /// The first value right below `leaf`.
    #[must_use]
    pub fn value<'a>(&'a self, leaf: &'a [String]) -> Option<&'a str> {
        let line = self.below(leaf).find(|line| line.len() == leaf.len() + 1)?;
        line.last().map(String::as_str)
    }

    /// Removes one line.
    pub fn remove(&mut self, line: &Path) {
        self.0.remove(line);
    }

    /// Removes everything at or below `root`.
    pub fn remove_below(&mut self, root: &[String]) {
        let gone: Vec<Path> = self.below(root).cloned().collect();
        for line in gone {
            self.0.remove(&line);
        }
    }

    /// The lines as a tree in the form that `showConfig` has, every leaf's values as nodes.
    #[must_use]
    pub fn tree(&self) -> Value {
        let mut root = Map::new();
        for line in &self.0 {
            let mut node = &mut root;
            for word in line {
                let child = node
                    .entry(word.clone())
                    .or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(next) = child else { break };
                node = next;
            }
        }
        Value::Object(root)
    }
}

impl FromIterator<Path> for Lines {
    fn from_iter<T: IntoIterator<Item = Path>>(lines: T) -> Self {
        Self(lines.into_iter().collect())
    }
}

/// The words of a path written with blanks; for constants whose words have none.
#[must_use]
pub fn words(text: &str) -> Path {
    text.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn single_values_lists_and_valueless_nodes_become_lines() {
        let lines = Lines::parse(&json!({
            "interfaces": {"ethernet": {"eth0": {"address": ["192.0.2.1/24", "192.0.2.2/24"]}},
                           "dummy": {"dum0": {}}},
            "vrf": {"name": {"a": {"table": "1001"}}}
        }));
        let shown: Vec<String> = lines.iter().map(|l| l.join(" ")).collect();
        assert_eq!(
            shown,
            [
                "interfaces dummy dum0",
                "interfaces ethernet eth0 address 192.0.2.1/24",
                "interfaces ethernet eth0 address 192.0.2.2/24",
                "vrf name a table 1001",
            ]
        );
    }

    #[test]
    fn what_a_tree_renders_parses_to_the_same_lines() {
        let mut lines = Lines::default();
        lines.set(&["vrf", "name", "a", "table", "1001"]);
        lines.set(&["vrf", "name", "a", "description", "two words"]);
        lines.set(&["interfaces", "bridge", "br1"]);
        assert_eq!(Lines::parse(&lines.tree()), lines);
    }

    #[test]
    fn below_finds_whole_words_only() {
        let mut lines = Lines::default();
        lines.set(&["interfaces", "bridge", "br1", "vrf", "a"]);
        lines.set(&["interfaces", "bridge", "br10", "vrf", "a"]);
        assert_eq!(lines.below(&words("interfaces bridge br1")).count(), 1);
        assert_eq!(lines.value(&words("interfaces bridge br10 vrf")), Some("a"));
    }
}
