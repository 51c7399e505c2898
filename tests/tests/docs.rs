//! Turns the pages for users into checks: what they say of fields, reasons, files, tests and costs is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bb_core::render;
use bb_core::resolve::resolve;
use bb_core::vyos::Want;
use bb_core::world::{Key, NamespaceView, World};
use bb_crds::{Instance, Network, Provider, Reason, Region, Tenant, Volume};
use bb_lab_harness::paths;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

const TYPES: [&str; 6] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "Ready",
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
            if !document.contains("apiVersion: bitbuilder.cloud/v1alpha1") {
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
    for (page, _) in pages()? {
        let Some(below) = page.strip_prefix("docs/").filter(|p| *p != "README.md") else {
            continue;
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

/// A Region with two sites, and a tenant with a network in one and a network in both.
const TWO_SITES: &str = "
kind: Region
metadata: {name: home}
spec:
  asn: 65000
  vnis: 10000-19999
  tables: 1000-1999
  mtu: MTU
  attachments:
    - {name: north, cluster: c1, vlan: {router: r1, interface: eth2, bridge: vmbr1, vlans: 100-3999}}
    - {name: south, cluster: c2, vlan: {router: r2, interface: eth2, bridge: vmbr1, vlans: 100-3999}}
---
kind: Provider
metadata: {name: r1}
spec:
  region: home
  zone: north
  vyos: {endpoint: 'https://192.0.2.1', credentials: {secret: r1}, tls: {caSecret: r1}, routerId: 10.255.0.1}
---
kind: Provider
metadata: {name: r2}
spec:
  region: home
  zone: south
  vyos: {endpoint: 'https://192.0.2.2', credentials: {secret: r2}, tls: {caSecret: r2}, routerId: 10.255.0.2}
---
kind: Provider
metadata: {name: c1}
spec:
  region: home
  zone: north
  proxmox: {endpoints: ['https://192.0.2.3'], credentials: {secret: c1}, tls: {caSecret: c1}, vmids: 100000-199999, pool: p}
---
kind: Provider
metadata: {name: c2}
spec:
  region: home
  zone: south
  proxmox: {endpoints: ['https://192.0.2.4'], credentials: {secret: c2}, tls: {caSecret: c2}, vmids: 100000-199999, pool: p}
---
kind: Tenant
metadata: {name: acme, uid: acme}
spec: {}
status:
  routing:
    - {region: home, vrf: bb1000, table: 1000, l3vni: 10000, routeTarget: '65000:10000'}
---
kind: Network
metadata: {name: plain, namespace: acme, uid: plain}
spec: {zones: [north], ipv4: {prefix: 10.0.1.0/24}}
status: {region: home, vni: 10001, vlans: [{router: r1, interface: eth2, vlan: 101}]}
---
kind: Network
metadata: {name: stretched, namespace: acme, uid: stretched}
spec: {ipv4: {prefix: 10.0.2.0/24}}
status:
  region: home
  vni: 10002
  vlans: [{router: r1, interface: eth2, vlan: 102}, {router: r2, interface: eth2, vlan: 102}]
---
kind: Network
metadata: {name: pool, namespace: acme, uid: pool}
spec: {zones: [north], ipv4: {prefix: 10.0.3.0/24, dhcp: {from: 10.0.3.100, to: 10.0.3.199}}}
status: {region: home, vni: 10003, vlans: [{router: r1, interface: eth2, vlan: 103}]}
";

fn world(text: &str) -> Result<World> {
    let mut world = World::default();
    let owned = NamespaceView {
        tenant: Some("acme".to_owned()),
        owner: Some("acme".to_owned()),
        deleting: false,
    };
    world.namespaces.insert("acme".to_owned(), owned);
    for document in text.split("\n---\n") {
        let document = format!("apiVersion: bitbuilder.cloud/v1alpha1\n{document}");
        let value: Value = serde_saphyr::from_str(&document)?;
        let name = value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match value["kind"].as_str().unwrap_or_default() {
            "Region" => drop(
                world
                    .regions
                    .insert(name, Arc::new(serde_json::from_value(value)?)),
            ),
            "Provider" => drop(
                world
                    .providers
                    .insert(name, Arc::new(serde_json::from_value(value)?)),
            ),
            "Tenant" => drop(
                world
                    .tenants
                    .insert(name, Arc::new(serde_json::from_value(value)?)),
            ),
            "Network" => {
                let key = Key::new("acme", name);
                world
                    .networks
                    .insert(key, Arc::new(serde_json::from_value(value)?));
            }
            other => bail!("{other} is not in this world"),
        }
    }
    Ok(world)
}

/// Commands that bring an object to the router r1, and those that take it away.
fn commands(mtu: u16, owner: &str) -> Result<(usize, usize)> {
    let world = world(&TWO_SITES.replace("MTU", &mtu.to_string()))?;
    let resolved = resolve(&world);
    ensure!(resolved.problems.is_empty(), "{:?}", resolved.problems);
    let desired = render::router(&world, &resolved, "r1", "installation");
    let claim = desired.claims.iter().find(|claim| claim.owner == owner);
    match claim.map(|claim| &claim.want) {
        Some(Want::Present { roots, lines }) => Ok((lines.len(), roots.len())),
        other => bail!("{owner} is not on the router: {other:?}"),
    }
}

#[test]
fn what_things_cost_on_a_router_is_as_the_page_says() -> Result<()> {
    let page = read("docs/design/0008-networks-on-routers.md")?;
    let plain = commands(9000, "plain")?;
    let pool = commands(9000, "pool")?;
    let low = |owner: &str| -> Result<usize> { Ok(commands(1500, owner)?.0) };
    let rows = [
        (
            "tenant, on each router with a network of it",
            commands(9000, "acme")?,
            low("acme")?,
        ),
        ("network in one zone", plain, low("plain")?),
        (
            "network in several zones, on each router",
            commands(9000, "stretched")?,
            low("stretched")?,
        ),
        (
            "DHCP pool without resolvers, on one router",
            (pool.0 - plain.0, pool.1 - plain.1),
            low("pool")? - low("plain")?,
        ),
    ];
    for (what, (sets, deletes), low) in rows {
        let row = format!("| {what} | {sets} | {low} | {deletes} |");
        ensure!(page.contains(&row), "the page should say\n{row}");
    }
    Ok(())
}
