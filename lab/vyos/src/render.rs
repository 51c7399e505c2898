//! Turns a configuration into the texts that need to know the kinds of its nodes.

use crate::schema;
use crate::tree::Node;
use serde_json::Value;

/// The text of a configuration file below `path`, with `indent` spaces before each line.
#[must_use]
pub(crate) fn raw(path: &[String], node: &Node, indent: usize) -> String {
    let mut text = String::new();
    write_raw(&mut path.to_vec(), node, indent, &mut text);
    text
}

fn write_raw(path: &mut Vec<String>, node: &Node, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    for (name, child) in &node.children {
        path.push(name.clone());
        for value in &child.values {
            text.push_str(&format!("{pad}{name} {}\n", quoted(value)));
        }
        if schema::is_tag(path) {
            for (tag, child) in &child.children {
                path.push(tag.clone());
                block(path, &format!("{name} {tag}"), child, indent, text);
                path.pop();
            }
        } else if !child.children.is_empty() {
            block(path, name, child, indent, text);
        } else if child.values.is_empty() {
            let open = !schema::is_flag(path) && schema::find(path).is_some();
            text.push_str(&format!("{pad}{name}{}\n", if open { " {\n}" } else { "" }));
        }
        path.pop();
    }
}

fn block(path: &mut Vec<String>, title: &str, node: &Node, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    text.push_str(&format!("{pad}{title} {{\n"));
    write_raw(path, node, indent + 4, text);
    text.push_str(&format!("{pad}}}\n"));
}

fn quoted(value: &str) -> String {
    let plain = !value.is_empty()
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:+@".contains(c));
    if plain {
        value.to_owned()
    } else {
        format!("\"{value}\"")
    }
}

/// JSON as the show command writes it: leaves that may hold many values are always lists.
#[must_use]
pub(crate) fn json(node: &Node) -> Value {
    fn step(path: &mut Vec<String>, node: &Node) -> Value {
        if !node.values.is_empty() {
            return match node.values.as_slice() {
                [one] if !schema::is_multi(path) => one.clone().into(),
                many => many.to_vec().into(),
            };
        }
        let children = node.children.iter().map(|(name, child)| {
            path.push(name.clone());
            let json = step(path, child);
            path.pop();
            (name.clone(), json)
        });
        Value::Object(children.collect())
    }
    step(&mut Vec::new(), node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn tags_share_a_line_with_their_names() {
        let config = value!({"dummy": {"dum0": {"address": ["10.0.0.1/32", "10.0.0.2/32"],
            "description": "two words", "disable": {}}}});
        let text = raw(&["interfaces".to_owned()], &Node::from_json(&config), 0);
        assert_eq!(
            text,
            "dummy dum0 {\n    address 10.0.0.1/32\n    address 10.0.0.2/32\n    \
             description \"two words\"\n    disable\n}\n"
        );
    }

    #[test]
    fn shown_json_lists_even_one_value_of_a_multi_leaf() {
        let config =
            value!({"interfaces": {"dummy": {"dum0": {"address": "10.0.0.1/32", "mtu": "9"}}}});
        let shown = json(&Node::from_json(&config));
        assert_eq!(
            shown,
            value!({"interfaces": {"dummy": {"dum0": {"address": ["10.0.0.1/32"], "mtu": "9"}}}})
        );
    }
}
