//! Tenant: who owns a namespace and a VRF.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::drift::Drift;

/// A customer, team or project: a namespace in the management cluster and a VRF on the
/// routers, apart from every other tenant.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "bbt",
    category = "bitbuilder",
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "A customer, team or project: a namespace in the management cluster and a VRF on the routers, apart from every other tenant.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".status.namespace"),
    printcolumn(name = "VRF", type_ = "string", json_path = ".status.routing[*].vrf"),
    printcolumn(name = "L3VNI", type_ = "integer", json_path = ".status.routing[*].l3vni", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 50").message("the name of a Tenant has at most 50 characters"),
    validation = Rule::new("!self.metadata.name.startsWith('kube-') && self.metadata.name != 'default'").message("the name of a Tenant is the name of its namespace: `default` and `kube-*` are taken"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("the name of a Tenant is the name of its namespace: no dots"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// Who may work in the tenant's namespace, and how much.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<Member>,

    /// The Regions that the tenant may use. Empty means all.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub regions: Vec<String>,
}

/// One who may work in a tenant.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// The name of the user or group, as the API server knows it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Whether the name is a user's or a group's.
    #[serde(default)]
    pub kind: MemberKind,
    /// What the member may do.
    #[serde(default)]
    pub role: MemberRole,
}

/// What a member's name stands for.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum MemberKind {
    /// A user.
    #[default]
    User,
    /// A group of users.
    Group,
}

/// What a member may do in the tenant's namespace.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum MemberRole {
    /// Read everything.
    View,
    /// Create, change and delete networks, instances and volumes.
    #[default]
    Edit,
    /// Edit, and give rights in the namespace to others.
    Admin,
}

/// What the controller knows of a Tenant.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The namespace that the tenant owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the tenant is called on the routers of each Region that it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["region".into()]))]
    pub routing: Vec<Routing>,
    /// What was last found changed by somebody else, by target. What was put right is kept
    /// for a day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["target".into()]))]
    pub drift: Vec<Drift>,
    /// Accepted, Programmed and Ready, and why not.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A tenant's identity in one Region.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// The Region.
    pub region: String,
    /// The VRF on its routers.
    pub vrf: String,
    /// The VRF's routing table.
    pub table: i64,
    /// The VNI that carries routed traffic between routers (RFC 9136).
    pub l3vni: i64,
    /// The route target that is imported and exported.
    pub route_target: String,
}
