//! Turns the pages for users into checks: what they say of fields, reasons, files, tests and costs is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use bb_crds::{Instance, Network, Plan, Provider, Reason, Region, Tenant, Volume};
use bb_lab_harness::paths;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[path = "docs/cost.rs"]
mod cost;

fn read(path: &str) -> Result<String> {
    fs::read_to_string(paths::root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Files below a folder with an ending, builds and what git does not know left out.
fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files(&path, ending, found)?;
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

/// Every page for people: those of the root and those in `docs`, by their path from the root.
fn pages() -> Result<Vec<(String, String)>> {
    let root = paths::root();
    let mut all = Vec::new();
    files(&root.join("docs"), ".md", &mut all)?;
    all.extend(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    all.into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root)?.display().to_string();
            let text = fs::read_to_string(&path)?;
            Ok((name, text))
        })
        .collect()
}

/// The words between single backticks, blocks of code left out.
fn quoted(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    outside
        .flat_map(|part| part.lines())
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// A field of a definition, the path as pages write it, and whether it must be given.
struct Field {
    path: String,
    schema: Value,
    required: bool,
}

fn walk(schema: &Value, path: &str, fields: &mut Vec<Field>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if path != "spec" && path != "status" {
            fields.push(Field {
                path: path.clone(),
                schema: below.clone(),
                required: required.contains(&Value::String(name.clone())),
            });
        }
        // Conditions are those of Kubernetes, and have a page of their own.
        if path != "status.conditions" {
            walk(below, &path, fields);
            walk(&below["items"], &format!("{path}[]"), fields);
        }
    }
}

/// Each kind's page and its fields.
fn kinds() -> Result<Vec<(String, Vec<Field>)>> {
    bb_crds::crds()
        .into_iter()
        .map(|crd| {
            let page = format!("docs/spec/{}.md", crd.spec.names.kind.to_lowercase());
            let version = serde_json::to_value(&crd.spec.versions[0])?;
            let mut fields = Vec::new();
            walk(&version["schema"]["openAPIV3Schema"], "", &mut fields);
            ensure!(fields.len() > 5, "{page}: the schema has no fields");
            Ok((page, fields))
        })
        .collect()
}

#[test]
fn every_field_is_on_the_page_of_its_kind() -> Result<()> {
    let mut missing = Vec::new();
    for (page, fields) in kinds()? {
        let text = read(&page)?;
        let named: BTreeSet<&str> = quoted(&text).into_iter().collect();
        let absent = fields.iter().filter(|f| !named.contains(f.path.as_str()));
        missing.extend(absent.map(|f| format!("{page}: {}", f.path)));
        // And none that the kind does not have.
        let known: BTreeSet<&str> = fields.iter().map(|f| f.path.as_str()).collect();
        let rows = text.lines().filter_map(cells);
        let firsts = rows.filter_map(|row| row[0].strip_prefix('`')?.strip_suffix('`'));
        let odd = firsts
            .filter(|f| f.starts_with("spec.") || f.starts_with("status."))
            .filter(|f| !known.contains(f));
        missing.extend(odd.map(|f| format!("{page}: {f} is no field")));
    }
    ensure!(missing.is_empty(), "{missing:#?}");
    Ok(())
}

/// What the schema knows of a field and its row has to say.
fn facts(field: &Field) -> Vec<String> {
    let schema = &field.schema;
    let mut facts = Vec::new();
    match &schema["default"] {
        Value::String(text) => facts.push(format!("`{text}`")),
        value @ (Value::Number(_) | Value::Bool(_)) => facts.push(format!("`{value}`")),
        _ => {}
    }
    for bound in ["minimum", "maximum", "maxItems"] {
        if let Some(number) = schema[bound].as_f64() {
            facts.push(format!("{number}"));
        }
    }
    for word in schema["enum"].as_array().into_iter().flatten() {
        facts.extend(word.as_str().map(|word| format!("`{word}`")));
    }
    // Where a rule of CEL or a list of words says it better, the length says nothing.
    let plain = schema["x-kubernetes-validations"].is_null() && schema["enum"].is_null();
    if let Some(length) = schema["maxLength"].as_u64().filter(|_| plain) {
        facts.push(length.to_string());
    }
    if field.required {
        facts.push("required".to_owned());
    }
    facts
}

#[test]
fn a_row_says_the_default_and_the_bounds_of_its_field() -> Result<()> {
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for (page, fields) in kinds()? {
        let text = read(&page)?;
        for field in fields.iter().filter(|f| f.path.starts_with("spec.")) {
            let first = format!("| `{}` |", field.path);
            let Some(row) = text.lines().find(|line| line.starts_with(&first)) else {
                wrong.push(format!("{page}: no row begins with {first}"));
                continue;
            };
            let rest = &row[first.len()..];
            let words: Vec<&str> = rest
                .split(|c: char| c.is_whitespace() || ",;:|".contains(c))
                .map(|word| word.trim_end_matches('.'))
                .collect();
            for fact in facts(field) {
                looked_at += 1;
                if !words.contains(&fact.as_str()) {
                    wrong.push(format!("{page}: the row of {} lacks {fact}", field.path));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    ensure!(looked_at > 80, "only {looked_at} facts were found");
    Ok(())
}

const TYPES: [&str; 7] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "Ready",
    "InSync",
    "Reachable",
    "Authorized",
];

#[test]
fn every_reason_has_a_cause_and_a_remedy() -> Result<()> {
    let text = read("docs/spec/conditions.md")?;
    let (_, reasons) = text
        .split_once("## Reasons")
        .context("the page has a part on reasons")?;
    for reason in Reason::ALL {
        let name = format!("`{}`", reason.as_str());
        let row = reasons
            .lines()
            .filter_map(cells)
            .find(|row| row.len() == 3 && row[0] == name)
            .with_context(|| format!("{name} has no row"))?;
        ensure!(row[1].len() > 15 && row[2].len() > 4, "{row:?}");
    }
    Ok(())
}

#[test]
fn every_metric_has_a_cause_and_a_remedy() -> Result<()> {
    let text = read("docs/spec/metrics.md")?;
    let rows = text.lines().filter_map(cells);
    let rows: Vec<_> = rows
        .filter(|row| row[0].starts_with("`bitbuilder_"))
        .collect();
    // That the page names those that there are, and no others, is compared with the sources.
    ensure!(rows.len() >= 20, "only {} metrics", rows.len());
    for row in rows {
        ensure!(row.len() == 4, "{row:?}");
        ensure!(row[2].len() > 15 && row[3].len() > 15, "{row:?}");
    }
    Ok(())
}

#[test]
fn pages_of_kinds_speak_of_conditions_and_reasons_that_exist() -> Result<()> {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    let mut rows = 0;
    for (page, _) in kinds()? {
        let text = read(&page)?;
        let (_, table) = text
            .split_once("| condition and reason |")
            .with_context(|| format!("{page} has no table of conditions"))?;
        for row in table.lines().filter_map(cells).filter(|r| r.len() == 3) {
            let words: Vec<&str> = row[0].split('`').skip(1).step_by(2).collect();
            let Some((type_, reasons_named)) = words.split_first() else {
                continue;
            };
            rows += 1;
            ensure!(TYPES.contains(type_), "{page}: {type_} is no condition");
            ensure!(!reasons_named.is_empty(), "{page}: {row:?} gives no reason");
            for reason in reasons_named {
                ensure!(reasons.contains(reason), "{page}: {reason} is no reason");
            }
        }
    }
    ensure!(rows > 60, "only {rows} rows were found");
    Ok(())
}

fn parse<K: DeserializeOwned>(text: &str) -> Result<()> {
    serde_saphyr::from_str::<K>(text)?;
    Ok(())
}

#[test]
fn every_manifest_in_the_pages_is_one_that_the_types_take() -> Result<()> {
    let mut parsed = 0;
    for (page, text) in pages()? {
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        for document in blocks.flat_map(|block| block.split("\n---\n")) {
            let ours = "apiVersion: bitbuilder.cloud/v1alpha1";
            if !document.lines().any(|line| line == ours) {
                continue;
            }
            let value: Value = serde_saphyr::from_str(document)?;
            let fields = value.as_object().context("a manifest is an object")?;
            for field in fields.keys() {
                let known = ["apiVersion", "kind", "metadata", "spec"].contains(&field.as_str());
                ensure!(known, "{page}: {field} is no part of a manifest");
            }
            let kind = value["kind"].as_str().unwrap_or_default();
            match kind {
                "Region" => parse::<Region>(document),
                "Provider" => parse::<Provider>(document),
                "Tenant" => parse::<Tenant>(document),
                "Network" => parse::<Network>(document),
                "Volume" => parse::<Volume>(document),
                "Instance" => parse::<Instance>(document),
                "Plan" => parse::<Plan>(document),
                other => bail!("{page}: {other} is none of our kinds"),
            }
            .with_context(|| format!("{page}: a {kind} that does not parse:\n{document}"))?;
            parsed += 1;
        }
    }
    ensure!(parsed >= 12, "only {parsed} manifests were found");
    Ok(())
}

#[test]
fn every_test_that_a_guarantee_names_exists() -> Result<()> {
    let mut sources = Vec::new();
    files(&paths::root(), ".rs", &mut sources)?;
    let mut tests = BTreeSet::new();
    for source in sources {
        for line in fs::read_to_string(source)?.lines() {
            let line = line.trim_start();
            let name = line.strip_prefix("async ").unwrap_or(line);
            let name = name.strip_prefix("fn ").and_then(|n| n.split('(').next());
            tests.extend(name.map(str::to_owned));
        }
    }
    let text = read("docs/guarantees.md")?;
    let mut rows = 0;
    for row in text.lines().filter_map(cells).filter(|row| row.len() == 3) {
        if row[0] == "promise" || row[0].starts_with("--") {
            continue;
        }
        rows += 1;
        let named: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
        ensure!(!named.is_empty(), "no test shows: {}", row[0]);
        for name in named {
            ensure!(tests.contains(name), "no test is called {name}");
        }
    }
    ensure!(rows > 15, "only {rows} promises were found");
    Ok(())
}

#[test]
fn every_file_that_a_page_names_exists() -> Result<()> {
    let root = paths::root();
    let tops = [
        "docs/",
        "crds/",
        "controller/",
        "bbctl/",
        "charts/",
        "lab/",
        "tests/",
        "scripts/",
        "examples/",
    ];
    let mut wrong = Vec::new();
    for (page, text) in pages()? {
        let folder = root
            .join(&page)
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        let links = text.split("](").skip(1).filter_map(|l| l.split(')').next());
        for link in links.filter(|l| !l.contains("://")) {
            let path = link.split('#').next().unwrap_or_default();
            if !folder.join(path).exists() {
                wrong.push(format!("{page}: the link to {link}"));
            }
        }
        for word in quoted(&text) {
            let is_path = tops.iter().any(|top| word.starts_with(top))
                && !word.contains(['*', ' ', '{', '<'])
                && !word.contains("NNNN");
            if is_path && !root.join(word).exists() {
                wrong.push(format!("{page}: the path {word}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn every_page_is_in_the_index() -> Result<()> {
    let index = read("docs/README.md")?;
    let commands = read("docs/cli/README.md")?;
    for (page, _) in pages()? {
        let Some(below) = page.strip_prefix("docs/").filter(|p| *p != "README.md") else {
            continue;
        };
        // Commands have an index of their own.
        let (index, below) = match below.strip_prefix("cli/") {
            Some(name) if name != "README.md" => (&commands, name),
            _ => (&index, below),
        };
        ensure!(
            index.contains(&format!("]({below})")),
            "{page} is not in the index"
        );
    }
    Ok(())
}

#[test]
fn every_verb_of_make_that_a_page_names_exists() -> Result<()> {
    let makefile = read("Makefile")?;
    for (page, text) in pages()? {
        let verbs = quoted(&text)
            .into_iter()
            .filter_map(|w| w.strip_prefix("make "));
        for verb in verbs {
            let rule = format!("\n{verb}:\n");
            ensure!(
                makefile.contains(&rule),
                "{page}: there is no `make {verb}`"
            );
        }
    }
    Ok(())
}
