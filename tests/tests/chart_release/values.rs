//! Turns the comments of `values.yaml` into the page of values and the descriptions of the schema,
//! and wrong values into words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::chart;
use bb_tests::site::documents;
use serde_json::Value;

const HEAD: &str = "# Values

Made from `values.yaml` by `UPDATE=1 cargo test -p bb-tests --test chart_release`: change that file, not this page.
How to install the chart, upgrade it and take it away: [docs/install.md](../../docs/install.md).

| value | meaning | default |
|---|---|---|
";

/// The path of each value and what the comment before it says, in the order of the file.
fn meanings(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut around: Vec<(usize, &str)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
        } else if trimmed.is_empty() {
            comment.clear();
        } else if let Some((key, _)) = trimmed.split_once(':') {
            let depth = line.len() - trimmed.len();
            around.retain(|(other, _)| *other < depth);
            around.push((depth, key));
            if !comment.is_empty() {
                let path: Vec<&str> = around.iter().map(|(_, key)| *key).collect();
                all.push((path.join("."), comment.join(" ")));
                comment.clear();
            }
        }
    }
    all
}

/// The value at a path, as a person would write it in one line.
fn shown(values: &Value, path: &str) -> Result<String> {
    let pointer = format!("/{}", path.replace('.', "/"));
    let value = values.pointer(&pointer);
    Ok(value
        .with_context(|| format!("{path} is no value"))?
        .to_string())
}

/// Puts the meaning of each value into its schema; gives what nothing is said about.
fn describe(
    schema: &mut Value,
    path: &str,
    said: bool,
    meanings: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut silent = Vec::new();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return silent;
    };
    for (name, below) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let meaning = meanings.get(&path);
        if let Some(meaning) = meaning {
            below["description"] = Value::String(meaning.clone());
        }
        let said = said || meaning.is_some() || path == "global";
        if !said && below.get("properties").is_none() {
            silent.push(path.clone());
        }
        silent.extend(describe(below, &path, said, meanings));
    }
    silent
}

/// Compares a file with what it should be, or makes it so.
fn current(name: &str, wanted: &str, same: impl Fn(&str) -> bool) -> Result<()> {
    let path = chart::dir().join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted)?;
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        same(&present),
        "{name} is not what values.yaml makes: run `UPDATE=1 cargo test -p bb-tests --test chart_release`"
    );
    Ok(())
}

#[test]
fn the_page_and_the_schema_say_of_each_value_what_its_comment_says() -> Result<()> {
    let text = fs::read_to_string(chart::dir().join("values.yaml"))?;
    let values = documents(&text)?.pop().context("values.yaml has values")?;
    let meanings = meanings(&text);
    let mut page = HEAD.to_owned();
    for (path, meaning) in &meanings {
        let default = shown(&values, path)?;
        writeln!(
            page,
            "| `{path}` | {} | `{default}` |",
            meaning.replace('|', "\\|")
        )?;
    }
    current("README.md", &page, |present| present == page)?;

    let name = "values.schema.json";
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(chart::dir().join(name))?)?;
    let meanings: BTreeMap<String, String> = meanings.into_iter().collect();
    let silent = describe(&mut schema, "", false, &meanings);
    ensure!(silent.is_empty(), "nothing is said about {silent:?}");
    let wanted = serde_json::to_string_pretty(&schema)? + "\n";
    // Which order the keys have depends on what else is built.
    current(name, &wanted, |present| {
        serde_json::from_str::<Value>(present).is_ok_and(|present| present == schema)
    })
}

/// Values that are wrong, and what has to be in the answer: where it is, and what would be right.
const WRONG: [(&str, &[&str]); 19] = [
    ("replicaCount=2", &["replicaCount", "not allowed"]),
    (
        "crds.onUninstall=delete",
        &["/crds/onUninstall", "'Refuse', 'Orphan'"],
    ),
    ("replicas=two", &["/replicas", "want integer"]),
    ("replicas=12", &["/replicas", "want 9"]),
    (
        "image.repository=ghcr.io/clouds/controller:1.0",
        &["/image/repository", "without_a_tag"],
    ),
    (
        "image.digest=0123abcd",
        &["/image/digest", "sha256:", "{64}"],
    ),
    (
        "image.pullPolicy=always",
        &["/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"],
    ),
    (
        "leaderElection.leaseDuration=15s",
        &["/leaderElection/leaseDuration", "want integer"],
    ),
    ("controller.poll=0", &["/controller/poll", "want 1"]),
    ("log.format=logfmt", &["/log/format", "'Json', 'Text'"]),
    (
        "serviceAccount.create=false",
        &["/serviceAccount/name", "name_of_an_account_that_is_there"],
    ),
    (
        "resources.limits.memory=1gb",
        &["/resources/limits/memory", "Mi|Gi"],
    ),
    (
        "podDisruptionBudget.maxUnavailable=0",
        &["/podDisruptionBudget/maxUnavailable", "want 1"],
    ),
    (
        "networkPolicy.targets={192.0.2.1}",
        &["/networkPolicy/targets/0", "<length>"],
    ),
    ("metrics.port=80", &["/metrics/port", "want 1,024"]),
    ("metrics.auth=true", &["/metrics/auth", "want object"]),
    (
        "tracing.endpoint=http://collector.monitoring",
        &["/tracing/endpoint", "with_a_port"],
    ),
    (
        "admissionPolicies.action=deny",
        &["/admissionPolicies/action", "'Deny', 'Warn', 'Audit'"],
    ),
    (
        "terminationGracePeriodSeconds=5",
        &["/terminationGracePeriodSeconds", "want 30"],
    ),
];

#[test]
fn wrong_values_are_refused_with_their_place_and_what_is_right() -> Result<()> {
    for (wrong, words) in WRONG {
        let answer = chart::render(&["--set", wrong]).err();
        let answer = answer
            .with_context(|| format!("{wrong} is taken"))?
            .to_string();
        for word in words {
            ensure!(answer.contains(word), "{wrong}: no {word} in {answer}");
        }
    }
    Ok(())
}
