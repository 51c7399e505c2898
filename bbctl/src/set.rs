//! Turns the name of a set of objects into the marks that its members and its record carry.
//!
//! The marks are those of Kubernetes' ApplySets (KEP-3659), so that other tools see whose an object
//! is and leave it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bb_crds::GROUP;
use serde_json::{Value, json};

use crate::change::FIELD_OWNER;
use crate::kinds::Kind;
use crate::object::Object;

/// The label of a member; its value is the id of the set.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The label of the record; its value is the id of the set.
const ID: &str = "applyset.kubernetes.io/id";
/// Which program keeps the set.
const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// Of which kinds members may be.
const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// In which namespaces besides the record's own members may be.
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// The kinds that belong to sets, in the order in which they are deleted.
pub const KINDS: [&str; 4] = ["Instance", "Volume", "Network", "Tenant"];

/// The name of a set as people type it: `NAME`, or `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetName {
    /// The namespace that its record is kept in; none: the one that is worked in.
    pub namespace: Option<String>,
    /// Its name there.
    pub name: String,
}

impl std::fmt::Display for SetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for SetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let is_name = |word: &str| {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=63).contains(&word.len())
                && word.chars().all(good)
                && !word.starts_with('-')
                && !word.ends_with('-')
        };
        if !is_name(name) || !namespace.is_none_or(is_name) {
            return Err(
                "a set is NAME or NAMESPACE/NAME, of a-z, 0-9 and -, at most 63 each".to_owned(),
            );
        }
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

/// A set: what belongs together since it was applied together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The namespace of its record.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What its members carry.
    pub id: String,
}

impl Set {
    /// The set of that name. Its id follows from where its record is, as the specification says.
    #[must_use]
    pub fn new(name: &SetName, working: &str) -> Self {
        let namespace = name.namespace.as_deref().unwrap_or(working);
        let place = format!("{}.{namespace}.ConfigMap.", name.name);
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, place.as_bytes()));
        Self {
            namespace: namespace.to_owned(),
            name: name.name.clone(),
            id: format!("applyset-{hash}-v1"),
        }
    }

    /// What is typed to mean it, wherever one works.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// What the record of a set says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of which of our kinds members may be.
    pub kinds: BTreeSet<String>,
    /// In which namespaces besides the record's own members may be.
    pub namespaces: BTreeSet<String>,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is no record of this set, or another program keeps it: why.
    pub fn read(set: &Set, object: &Object) -> Result<Self, String> {
        let said = |map: &Option<BTreeMap<String, String>>, key: &str| {
            map.as_ref().and_then(|map| map.get(key)).cloned()
        };
        let meta = &object.metadata;
        if said(&meta.labels, ID).as_deref() != Some(&set.id) {
            return Err("it is no record of a set".to_owned());
        }
        let tool = said(&meta.annotations, TOOLING).unwrap_or_default();
        if tool.split('/').next() != Some(FIELD_OWNER) {
            return Err(format!("the set is kept by `{tool}`"));
        }
        let list = |key: &str| {
            let text = said(&meta.annotations, key).unwrap_or_default();
            let words = text.split(',').filter(|word| !word.is_empty());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let ours = |word: String| {
            let (kind, group) = word.split_once('.')?;
            (group == GROUP).then(|| kind.to_owned())
        };
        Ok(Self {
            kinds: list(GROUP_KINDS).into_iter().filter_map(ours).collect(),
            namespaces: list(NAMESPACES).into_iter().collect(),
        })
    }

    /// Takes in where an object of the set is.
    pub fn take(&mut self, set: &Set, kind: &str, namespace: Option<&str>) {
        self.kinds.insert(kind.to_owned());
        if let Some(namespace) = namespace.filter(|namespace| *namespace != set.namespace) {
            self.namespaces.insert(namespace.to_owned());
        }
    }

    /// The record as an object. `version` is the one that it was read at, so that a record that
    /// somebody else changed since is not overwritten.
    #[must_use]
    pub fn render(&self, set: &Set, version: Option<&str>) -> Value {
        let kinds = self.kinds.iter().map(|kind| format!("{kind}.{GROUP}"));
        let mut notes = json!({
            TOOLING: format!("{FIELD_OWNER}/v{}", env!("CARGO_PKG_VERSION")),
            GROUP_KINDS: kinds.collect::<Vec<_>>().join(","),
        });
        if !self.namespaces.is_empty() {
            let names: Vec<&str> = self.namespaces.iter().map(String::as_str).collect();
            notes[NAMESPACES] = json!(names.join(","));
        }
        let mut record = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": set.name,
                "namespace": set.namespace,
                "labels": {ID: set.id},
                "annotations": notes,
            },
        });
        if let Some(version) = version {
            record["metadata"]["resourceVersion"] = json!(version);
        }
        record
    }
}

/// Whether an object of a manifest belongs to sets.
#[must_use]
pub fn is_kept(object: &Object) -> bool {
    object.types.as_ref().is_some_and(|types| {
        Kind::of_manifest(&types.api_version, &types.kind)
            .is_some_and(|kind| KINDS.contains(&kind.kind))
    })
}

/// The id of the set that an object is in.
#[must_use]
pub fn of(object: &Object) -> Option<&str> {
    let labels = object.metadata.labels.as_ref()?;
    labels.get(PART_OF).map(String::as_str)
}

/// Puts an object into a set.
pub fn put(object: &mut Object, id: &str) {
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert(PART_OF.to_owned(), id.to_owned());
}

/// Lets an object that is applied without a word of a set stay in the one that bbctl put it into:
/// it would fall out of it otherwise, and never be pruned. Tells the other set that it would be
/// taken from.
pub fn stay<'a>(object: &mut Object, before: &'a Object) -> Option<&'a str> {
    let there = of(before)?;
    match of(object) {
        Some(wanted) => (wanted != there).then_some(there),
        None => {
            if is_our_mark(before) {
                put(object, there);
            }
            None
        }
    }
}

/// Whether it was bbctl that put an object into its set.
pub(crate) fn is_our_mark(object: &Object) -> bool {
    let path = "/f:metadata/f:labels";
    let mark = format!("f:{PART_OF}");
    let mut managers = object.metadata.managed_fields.iter().flatten();
    managers.any(|entry| {
        let fields = entry.fields_v1.as_ref().and_then(|f| f.0.pointer(path));
        entry.manager.as_deref() == Some(FIELD_OWNER)
            && entry.operation.as_deref() == Some("Apply")
            && fields.is_some_and(|labels| labels.get(&mark).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        Set::new(&"acme".parse().unwrap(), "infra")
    }

    fn object(value: Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_set_is_a_name_with_or_without_a_namespace() {
        let name = |text: &str| text.parse::<SetName>();
        assert_eq!(name("acme").unwrap().namespace, None);
        assert_eq!(name("a/b").unwrap().namespace.as_deref(), Some("a"));
        for text in ["", "/", "a/", "/a", "a/b/c", "A", "a_b", "-a", "a-", "a.b"] {
            assert!(name(text).is_err(), "{text}");
        }
        assert!(name(&"a".repeat(64)).is_err());
    }

    #[test]
    fn the_id_is_the_one_that_the_specification_gives() {
        // printf 'acme.infra.ConfigMap.' | sha256sum | xxd -r -p | basenc --base64url
        assert_eq!(
            set().id,
            "applyset-_KWjWh_3jOpFM_7ewabYhTNccR3nm0lHC4vgDDYps40-v1"
        );
        assert!(set().id.len() <= 63, "a label has no more");
        let other = Set::new(&"other/acme".parse().unwrap(), "infra");
        assert_ne!(other.id, set().id);
        assert_eq!(other.words(), "other/acme");
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_strangers_is_refused() {
        let mut record = Record::default();
        record.take(&set(), "Network", Some("infra"));
        record.take(&set(), "Volume", Some("acme"));
        record.take(&set(), "Tenant", None);
        let written = record.render(&set(), None);
        let notes = &written["metadata"]["annotations"];
        assert_eq!(
            notes[GROUP_KINDS],
            "Network.bitbuilder.cloud,Tenant.bitbuilder.cloud,Volume.bitbuilder.cloud"
        );
        assert_eq!(notes[NAMESPACES], "acme");
        assert_eq!(Record::read(&set(), &object(written.clone())), Ok(record));

        let mut theirs = written.clone();
        theirs["metadata"]["annotations"][TOOLING] = json!("kubectl/v1.34");
        let why = Record::read(&set(), &object(theirs)).unwrap_err();
        assert!(why.contains("kubectl/v1.34"), "{why}");
        let mut plain = written;
        plain["metadata"]["labels"] = json!({});
        assert!(Record::read(&set(), &object(plain)).is_err());
    }

    fn applied(set: Option<&str>, manager: &str) -> Object {
        let mut value = json!({"metadata": {"name": "web"}});
        if let Some(set) = set {
            value["metadata"]["labels"] = json!({PART_OF: set});
            value["metadata"]["managedFields"] = json!([{"manager": manager,
                "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels":
                    {format!("f:{PART_OF}"): {}}}}}]);
        }
        object(value)
    }

    #[test]
    fn an_object_stays_in_its_set_and_is_not_taken_from_another() {
        // What is applied, what is there, whose set it would be taken from, where it is then.
        let table = [
            (None, applied(None, ""), None, None),
            (None, applied(Some("a"), "bbctl"), None, Some("a")),
            (None, applied(Some("a"), "kubectl"), None, None),
            (Some("a"), applied(None, ""), None, Some("a")),
            (Some("a"), applied(Some("a"), "bbctl"), None, Some("a")),
            (Some("a"), applied(Some("b"), "bbctl"), Some("b"), Some("a")),
            (
                Some("a"),
                applied(Some("b"), "kubectl"),
                Some("b"),
                Some("a"),
            ),
        ];
        for (wanted, before, taken, then) in table {
            let mut object = applied(wanted, "bbctl");
            object.metadata.managed_fields = None;
            assert_eq!(stay(&mut object, &before), taken);
            assert_eq!(of(&object), then);
        }
    }

    #[test]
    fn what_is_the_administrators_belongs_to_no_set() {
        for (kind, kept) in [("Network", true), ("Tenant", true), ("Region", false)] {
            let value = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
                "metadata": {"name": "x"}});
            assert_eq!(is_kept(&object(value)), kept, "{kind}");
        }
        let other = json!({"apiVersion": "example.org/v1", "kind": "Network",
            "metadata": {"name": "x"}});
        assert!(!is_kept(&object(other)));
    }
}
