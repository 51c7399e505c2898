//! Plan: what a change would send to routers and clusters, answered before it is made.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::condition::Condition;

/// The most bytes that the manifests of a Plan have as JSON, all together.
pub const MANIFEST_BYTES: usize = 256 * 1024;
/// The most bytes that the answer of a Plan has as JSON: the API server stores 1.5 MiB.
pub const ANSWER_BYTES: usize = 768 * 1024;

/// A question: what would be sent if these objects were applied and those deleted?
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Plan",
    plural = "plans",
    namespaced,
    shortname = "bbplan",
    category = "bitbuilder",
    status = "PlanStatus",
    derive = "PartialEq",
    doc = "What a change of Networks, Volumes and Instances of its namespace would send to routers and clusters. Nothing is sent, and the Plan is deleted by itself after an hour.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Summary", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Hash", type_ = "string", json_path = ".status.hash"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a Plan has at most 63 characters"),
    validation = Rule::new("(has(self.spec.manifests) && self.spec.manifests.size() > 0) || (has(self.spec.deletes) && self.spec.deletes.size() > 0)").message("a Plan asks about something: give manifests, deletes or both"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanSpec {
    /// Objects as they would be applied, whole: Networks, Volumes and Instances of the Plan's
    /// namespace. The spec of one that is there is replaced by this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub manifests: Vec<Manifest>,

    /// Objects of the Plan's namespace that would be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub deletes: Vec<Deleted>,
}

/// An object as a file has it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(transparent)]
pub struct Manifest(pub Map<String, Value>);

/// Anything with apiVersion, kind and metadata.
impl JsonSchema for Manifest {
    fn schema_name() -> Cow<'static, str> {
        "Manifest".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "An object as a file has it, with apiVersion, kind, metadata and spec.",
            "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// An object that would be deleted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deleted {
    /// Its kind.
    pub kind: PlannedKind,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The kinds that a Plan may be about.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema,
)]
pub enum PlannedKind {
    /// A Network.
    Network,
    /// A Volume.
    Volume,
    /// An Instance.
    Instance,
}

impl PlannedKind {
    /// The word in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Volume => "Volume",
            Self::Instance => "Instance",
        }
    }
}

/// The answer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// One line of what would happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What identifies the answer and what it was made from: another answer, or other lines on
    /// a router where it would write, have another hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// What would be sent, by router and cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<PlanTarget>,
    /// Numbers and addresses that would be given. None of them is reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gives: Vec<Given>,
    /// Objects that would not be as asked, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldBack>,
    /// Who would notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// Ready once it is answered, and why not.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What would be sent to one router or cluster.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanTarget {
    /// The Provider.
    pub name: String,
    /// Which of the two it is.
    #[serde(rename = "type")]
    pub type_: TargetType,
    /// When it was read for this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Time>,
    /// Why nobody can say what would be sent; absent where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// What would be sent, in this order for each object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<PlanStep>,
    /// How many objects have something due there anyway, whatever becomes of this Plan. That
    /// is not in the steps.
    #[serde(default)]
    pub due: i64,
}

/// The two sorts of targets.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema,
)]
pub enum TargetType {
    /// A VyOS router: commands.
    Router,
    /// A Proxmox VE cluster: calls of its API.
    Cluster,
}

/// What would be sent for one object.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// The object, as `network/web`.
    pub object: String,
    /// Commands of a router, or calls with their parameters. What only the target or the API
    /// can know stands in angle brackets.
    pub sends: Vec<String>,
}

/// What an object would be given.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// The object, as `network/web`.
    pub object: String,
    /// Numbers, places and addresses, in words.
    pub values: Vec<String>,
}

/// An object that would not be as asked.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// The object, as `network/web`.
    pub object: String,
    /// One word, as in conditions.
    pub reason: String,
    /// What is so, and what to do about it.
    pub message: String,
}

/// Who would notice.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Guests that are shut down and started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<String>,
    /// Guests that are shut down and not started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stops: Vec<String>,
    /// Guests and volumes that are destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destroys: Vec<String>,
    /// What is interrupted on routers: networks, BGP sessions, the DHCP server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupts: Vec<String>,
    /// How many tenants have an object among those that are changed.
    #[serde(default)]
    pub tenants: i64,
}
