//! Turns what cargo says of a program's crates into a bill of materials, CycloneDX 1.5 in JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Something that a program was made of and that cargo does not know: the C library, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as SPDX writes it.
    pub license: String,
    /// Where it came from, as a package URL.
    pub purl: String,
}

/// What a program is made of.
#[derive(Clone, Debug)]
pub struct Bill {
    /// The crate that the program is built from.
    pub root: String,
    /// What `cargo metadata` printed.
    pub metadata: Value,
    /// What is in `Cargo.lock`: it knows the checksums.
    pub lock: String,
    /// Names and versions of the crates in the program, as `cargo tree --prefix none --format {p}`
    /// prints them. It leaves out what is only for tests, for the build and for other systems.
    pub tree: String,
    /// What else is in it.
    pub others: Vec<Part>,
}

impl Bill {
    /// Renders it: the same for the same sources, so without a date and a serial number.
    ///
    /// # Errors
    /// When cargo's answers name a crate that the others do not know.
    pub fn render(&self) -> Result<Value> {
        let inside = crates(&self.tree);
        let checksums = checksums(&self.lock);
        let packages: BTreeMap<(String, String), &Value> = self.metadata["packages"]
            .as_array()
            .context("cargo metadata names no packages")?
            .iter()
            .map(|package| ((word(package, "name"), word(package, "version")), package))
            .collect();
        let mut root = Value::Null;
        let mut components = Vec::new();
        for (name, version) in &inside {
            let key = (name.clone(), version.clone());
            let package = packages
                .get(&key)
                .with_context(|| format!("cargo metadata does not know {name} {version}"))?;
            let component = component(package, checksums.get(&key));
            if *name == self.root {
                root = component;
            } else {
                components.push(component);
            }
        }
        components.extend(self.others.iter().map(|part| {
            json!({
                "type": "library", "name": part.name, "version": part.version,
                "bom-ref": part.purl, "purl": part.purl,
                "licenses": [{"expression": part.license}],
            })
        }));
        root["type"] = json!("application");
        Ok(json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": root},
            "components": components,
        }))
    }
}

fn component(package: &Value, checksum: Option<&String>) -> Value {
    let (name, version) = (word(package, "name"), word(package, "version"));
    let purl = format!("pkg:cargo/{name}@{version}");
    let mut component = json!({
        "type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl,
        // Old crates write MIT/Apache-2.0, which SPDX has as OR.
        "licenses": [{"expression": word(package, "license").replace('/', " OR ")}],
    });
    if let Some(sum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    if let Some(url) = package["repository"].as_str() {
        component["externalReferences"] = json!([{"type": "vcs", "url": url}]);
    }
    component
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// `tokio v1.2.3 (proc-macro)` is a line; procedural macros run in the compiler and are left out.
fn crates(tree: &str) -> BTreeSet<(String, String)> {
    tree.lines()
        .filter(|line| !line.contains("(proc-macro)"))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, words.next()?.strip_prefix('v')?.to_owned()))
        })
        .collect()
}

/// The lock file is written by cargo, a key a line, the checksum after name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let quoted = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(quoted.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) =
            (value("name = "), value("version = "), value("checksum = "))
        {
            sums.insert((name, version), sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill() -> Bill {
        let package = |name: &str, license: &str| json!({"name": name, "version": "1.2.3", "license": license, "repository": null});
        Bill {
            root: "main".to_owned(),
            metadata: json!({"packages": [
                package("main", "Apache-2.0"), package("inside", "MIT/Apache-2.0"),
                package("macro", "MIT"), package("test-only", "MIT"),
            ]}),
            lock: "version = 4\n\n[[package]]\nname = \"inside\"\nversion = \"1.2.3\"\n\
                   source = \"registry\"\nchecksum = \"abc\"\n\n[[package]]\nname = \"main\"\n\
                   version = \"1.2.3\"\n"
                .to_owned(),
            tree: "main v1.2.3 (/somewhere)\ninside v1.2.3\nmacro v1.2.3 (proc-macro)\n\
                   inside v1.2.3 (*)\n"
                .to_owned(),
            others: vec![Part {
                name: "glibc".to_owned(),
                version: "2.36".to_owned(),
                license: "LGPL-2.1-or-later".to_owned(),
                purl: "pkg:generic/glibc@2.36".to_owned(),
            }],
        }
    }

    #[test]
    fn a_bill_names_what_is_in_the_program_once_and_nothing_else() {
        let bill = bill().render().unwrap();
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| part["name"].as_str())
            .collect();
        assert_eq!(names, ["inside", "glibc"]);
        assert_eq!(bill["metadata"]["component"]["name"], "main");
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "abc");
        assert_eq!(
            bill["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
    }

    #[test]
    fn a_crate_that_cargo_metadata_does_not_know_is_an_error() {
        let mut bill = bill();
        bill.tree.push_str("stranger v9.9.9\n");
        let error = bill.render().unwrap_err();
        assert!(error.to_string().contains("stranger 9.9.9"), "{error}");
    }
}
