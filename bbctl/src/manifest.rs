//! Turns files, folders and standard input into the objects that they describe.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Exit, Failure};
use crate::next::quoted;
use crate::object::{self, Object};
use crate::out::Out;

/// An object as a file has it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file, and which of its documents.
    pub origin: String,
    /// What it says.
    pub object: Object,
}

/// Which files are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// A file, a folder of *.yaml, *.yml and *.json, or `-` for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A folder with a kustomization, built by kubectl or kustomize; may be repeated
    #[arg(short, long, value_name = "DIR")]
    pub kustomize: Vec<PathBuf>,
    /// Look into folders within folders too
    #[arg(short = 'R', long, requires = "files")]
    pub recursive: bool,
}

impl Files {
    /// What was typed to name them, as a shell takes it.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let files = self.files.iter().map(|file| ("-f", file));
        let folders = self.kustomize.iter().map(|folder| ("-k", folder));
        let all = files.chain(folders);
        let mut words: Vec<String> = all
            .map(|(flag, path)| format!("{flag} {}", quoted(&[path.display().to_string()])))
            .collect();
        if self.recursive {
            words.push("-R".to_owned());
        }
        words
    }

    /// Whether no file is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.kustomize.is_empty()
    }

    /// Reads all of them. Nothing is returned unless everything can be read and is in the
    /// namespace that the command line asks for, if it asks for one.
    ///
    /// # Errors
    /// When a file cannot be read or understood, or nothing is in them.
    pub async fn read(&self, asked: Option<&str>, out: &mut Out) -> Result<Vec<Manifest>, Failure> {
        let mut all = Vec::new();
        for path in &self.files {
            if path.as_os_str() == "-" {
                let text = out.read_stdin().await?;
                all.extend(parse(&text, "standard input")?);
                continue;
            }
            for file in self.expand(path)? {
                let text = std::fs::read_to_string(&file)
                    .map_err(|error| unreadable(&file, &error.to_string()))?;
                all.extend(parse(&text, &file.display().to_string())?);
            }
        }
        for folder in &self.kustomize {
            let text = crate::kustomize::build(folder, out.env()).await?;
            all.extend(parse(&text, &format!("{} (kustomize)", folder.display()))?);
        }
        if all.is_empty() {
            return Err(Failure::usage("there is no object in what is named"));
        }
        all.iter().try_for_each(|manifest| agree(manifest, asked))?;
        Ok(all)
    }

    /// The files that a path stands for, by name.
    fn expand(&self, path: &Path) -> Result<Vec<PathBuf>, Failure> {
        if !path.is_dir() {
            let text = path.to_string_lossy();
            if text.starts_with("http://") || text.starts_with("https://") {
                return Err(Failure::usage("-f takes files and folders, not URLs")
                    .hint(format!("as in `curl -fsS {text} | bbctl apply -f -`")));
            }
            return Ok(vec![path.to_path_buf()]);
        }
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries: Vec<PathBuf> = entries
            .map_err(|error| unreadable(path, &error.to_string()))?
            .into_iter()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        let mut files = Vec::new();
        for entry in entries {
            if entry.is_dir() {
                if self.recursive {
                    files.extend(self.expand(&entry)?);
                }
                continue;
            }
            let extension = entry
                .extension()
                .and_then(|e| e.to_str())
                .unwrap_or_default();
            if ["yaml", "yml", "json"].contains(&extension) {
                files.push(entry);
            }
        }
        Ok(files)
    }
}

/// Says whether a manifest is in the namespace that was asked for.
fn agree(manifest: &Manifest, asked: Option<&str>) -> Result<(), Failure> {
    let own = object::namespace(&manifest.object);
    match asked {
        Some(asked) if !own.is_empty() && own != asked => Err(Failure::usage(format!(
            "{} says namespace {own}, the command line says {asked}",
            manifest.origin
        ))
        .hint("leave one of the two out")),
        _ => Ok(()),
    }
}

fn unreadable(path: &Path, words: &str) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot read {}: {words}", path.display()),
    )
}

/// Reads the documents of one text; those without anything in them are passed over, lists are
/// taken apart.
///
/// # Errors
/// When the text is not YAML, or a document is not an object with a kind and a name.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Manifest>, Failure> {
    // As kubectl reads it: 0755 is a number of base 8; a key that is there twice is an error.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Failure::new(Exit::Failure, format!("{origin} is not YAML: {error}")))?;
    let several = documents.len() > 1;
    let mut manifests = Vec::new();
    for (at, document) in documents.into_iter().enumerate() {
        if document.is_null() {
            continue;
        }
        let origin = match several {
            true => format!("{origin} (document {})", at + 1),
            false => origin.to_owned(),
        };
        manifests.extend(objects(document, &origin)?);
    }
    Ok(manifests)
}

fn objects(document: Value, origin: &str) -> Result<Vec<Manifest>, Failure> {
    let wrong = |words: &str| Failure::new(Exit::Failure, format!("{origin}: {words}"));
    let Value::Object(mut map) = document else {
        return Err(wrong(
            "this is not an object: it has no apiVersion, kind and metadata",
        ));
    };
    let is_list = map
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|k| k.ends_with("List"));
    if is_list && let Some(Value::Array(items)) = map.remove("items") {
        let mut all = Vec::new();
        for item in items {
            all.extend(objects(item, origin)?);
        }
        return Ok(all);
    }
    for field in ["apiVersion", "kind"] {
        if !map.get(field).is_some_and(Value::is_string) {
            return Err(wrong(&format!("{field} is missing")));
        }
    }
    clean(&mut map);
    let object: Object = serde_json::from_value(Value::Object(map))
        .map_err(|error| wrong(&format!("metadata cannot be understood: {error}")))?;
    if object
        .metadata
        .name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        return Err(wrong("metadata.name is missing"));
    }
    Ok(vec![Manifest {
        origin: origin.to_owned(),
        object,
    }])
}

/// An object as a manifest that makes it again: what people decided, without what the server or
/// kubectl keeps beside it.
///
/// # Errors
/// When it cannot be rendered.
pub fn of(object: &Object) -> Result<Value, Failure> {
    /// What `kubectl apply` keeps there repeats the whole object.
    const KUBECTL: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut value = serde_json::to_value(object).map_err(|error| {
        Failure::new(Exit::Failure, format!("cannot render an object: {error}"))
    })?;
    if let Some(map) = value.as_object_mut() {
        clean(map);
    }
    if let Some(Value::Object(notes)) = value.pointer_mut("/metadata/annotations") {
        notes.remove(KUBECTL);
    }
    // Which set an object is in is for whoever applies it there to say.
    if let Some(Value::Object(labels)) = value.pointer_mut("/metadata/labels") {
        labels.remove(crate::set::PART_OF);
    }
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        for field in ["annotations", "labels"] {
            let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
            if metadata.get(field).is_some_and(empty) {
                metadata.remove(field);
            }
        }
    }
    Ok(value)
}

/// Takes out what the server wrote, so that what `get -o yaml` prints can be applied again.
///
/// The resourceVersion goes too: whose fields are whose is what guards against overwriting.
fn clean(map: &mut Map<String, Value>) {
    map.remove("status");
    let Some(Value::Object(metadata)) = map.get_mut("metadata") else {
        return;
    };
    for field in [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    ] {
        metadata.remove(field);
    }
    if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
        finalizers.retain(|finalizer| finalizer != bb_crds::FINALIZER);
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# first\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\n\
        apiVersion: bitbuilder.cloud/v1alpha1\nkind: Network\nmetadata: {name: b, namespace: a}\n\
        spec: {ipv4: {prefix: 10.0.0.0/24}}\n";

    fn names(text: &str) -> Vec<String> {
        let manifests = parse(text, "f").unwrap();
        manifests
            .iter()
            .map(|m| object::name(&m.object).to_owned())
            .collect()
    }

    #[test]
    fn every_document_is_an_object_and_empty_ones_are_passed_over() {
        assert_eq!(names(TWO), ["a", "b"]);
        assert!(names("# nothing\n").is_empty());
        assert!(names("").is_empty());
    }

    #[test]
    fn lists_are_taken_apart_and_json_is_read_too() {
        let list = r#"{"apiVersion":"v1","kind":"List","items":[
            {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"n":"1"}}]}"#;
        assert_eq!(names(list), ["x"]);
    }

    #[test]
    fn what_the_server_wrote_is_taken_out() {
        let text = "apiVersion: bitbuilder.cloud/v1alpha1\nkind: Network\nmetadata:\n  name: a\n  \
            uid: u\n  resourceVersion: '7'\n  generation: 2\n  creationTimestamp: \
            2026-01-01T00:00:00Z\n  finalizers: [bitbuilder.cloud/targets]\nspec: {}\nstatus: {}\n";
        let object = serde_json::to_value(&parse(text, "f").unwrap()[0].object).unwrap();
        assert_eq!(object["metadata"], serde_json::json!({"name": "a"}));
        assert!(object.get("status").is_none());
    }

    #[test]
    fn a_namespace_said_twice_must_be_the_same() {
        let network = parse(TWO, "f").unwrap().remove(1);
        assert!(agree(&network, None).is_ok());
        assert!(agree(&network, Some("a")).is_ok());
        assert_eq!(agree(&network, Some("b")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn what_is_wrong_names_the_file_and_the_document() {
        let table = [
            ("a: [", "f is not YAML"),
            ("just text", "f: this is not an object"),
            ("kind: X\nmetadata: {name: a}", "f: apiVersion is missing"),
            ("apiVersion: v1\nmetadata: {name: a}", "f: kind is missing"),
            ("apiVersion: v1\nkind: X", "f: metadata.name is missing"),
            ("apiVersion: v1\nkind: X\nkind: Y", "f is not YAML"),
        ];
        for (text, start) in table {
            let failure = parse(text, "f").unwrap_err();
            assert!(failure.message.starts_with(start), "{text}: {failure}");
        }
        let second = format!("{TWO}---\nkind: X\n");
        let failure = parse(&second, "f").unwrap_err();
        assert!(failure.message.starts_with("f (document "), "{failure}");
    }
}
