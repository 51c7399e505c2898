//! Network: one prefix of a tenant, and where it exists.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, Reason};
use crate::drift::Drift;
use crate::provider::ManagementPolicy;
use crate::region::Usage;

/// A network of a tenant: one prefix, one gateway, in one or more zones of a Region.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Network",
    plural = "networks",
    namespaced,
    shortname = "bbnet",
    category = "bitbuilder",
    status = "NetworkStatus",
    derive = "PartialEq",
    doc = "A network of a tenant: one prefix, one gateway, in one or more zones of a Region.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Prefix", type_ = "string", json_path = ".spec.ipv4.prefix"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.addresses.used"),
    printcolumn(name = "VNI", type_ = "integer", json_path = ".status.vni", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a Network has at most 63 characters"),
    validation = Rule::new("!has(oldSelf.spec.region) || (has(self.spec.region) && self.spec.region == oldSelf.spec.region)").message("region cannot change: make a new Network"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The Region. Without it: the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,

    /// The zones in which instances can join. Empty means every zone of the Region. In one
    /// zone the network is a plain VLAN; in several it is stretched by VXLAN.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub zones: Vec<String>,

    /// The IPv4 side of the network.
    pub ipv4: Ipv4,

    /// What guests are told about name resolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,

    /// `Manage` puts right what differs; `Observe` only reports it: nothing of the object is
    /// written to a router or cluster, deletes included.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
}

/// The IPv4 side of a network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.gateway) || !isCIDR(self.prefix) || cidr(self.prefix).containsIP(self.gateway)").message("gateway must be an address inside prefix"))]
#[x_kube(validation = Rule::new("has(self.gateway) == has(oldSelf.gateway)").message("gateway cannot be added or taken away: guests have it in their configuration; make a new Network"))]
pub struct Ipv4 {
    /// The prefix in CIDR form, such as `10.0.0.0/24`: `/8` to `/29`, no host bits. Two
    /// networks of one tenant must not overlap; those of different tenants may.
    #[schemars(length(min = 9, max = 18))]
    #[x_kube(
        validation = Rule::new("isCIDR(self) && cidr(self).ip().family() == 4").message("prefix must be an IPv4 prefix such as 10.0.0.0/24"),
        validation = Rule::new("!isCIDR(self) || cidr(self) == cidr(self).masked()").message("prefix has host bits set: write the network's own address, such as 10.0.0.0/24"),
        validation = Rule::new("!isCIDR(self) || (cidr(self).prefixLength() >= 8 && cidr(self).prefixLength() <= 29)").message("prefix must be between /8 and /29"),
        validation = Rule::new("self == oldSelf").message("prefix cannot change: guests have its addresses; make a new Network and move them")
    )]
    pub prefix: String,

    /// The address of the router in the network. Without it: the first of the prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 15))]
    #[x_kube(
        validation = Rule::new("isIP(self) && ip(self).family() == 4").message("gateway must be an IPv4 address"),
        validation = Rule::new("self == oldSelf").message("gateway cannot change: guests have it in their configuration; make a new Network")
    )]
    pub gateway: Option<String>,

    /// Addresses that are never given out, each an address or `FIRST-LAST`.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 7, max = 31), regex(pattern = r"^[0-9.]+(-[0-9.]+)?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub reserved: Vec<String>,

    /// A pool that the router serves by DHCP, for guests that are not instances. Instances
    /// get their addresses without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<Dhcp>,
}

/// A pool of addresses that the router serves.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dhcp {
    /// The first address of the pool.
    #[schemars(length(min = 7, max = 15))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 4").message("dhcp.from must be an IPv4 address"))]
    pub from: String,
    /// The last address of the pool.
    #[schemars(length(min = 7, max = 15))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 4").message("dhcp.to must be an IPv4 address"))]
    pub to: String,
}

/// What guests are told about name resolution.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// Resolvers, in order.
    #[serde(default)]
    #[schemars(length(max = 3), inner(length(min = 7, max = 39)))]
    #[x_kube(validation = Rule::new("self.all(s, isIP(s))").message("dns.servers are IP addresses"))]
    pub servers: Vec<String>,
    /// The search domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub domain: Option<String>,
}

/// What the controller knows of a Network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The Region that it was placed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its VXLAN network identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<i64>,
    /// The gateway in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The MTU in force, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i64>,
    /// Addresses in all and in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Usage>,
    /// Where the next address is looked for. Moved forward before an address is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_address: Option<String>,
    /// Its VLAN on each trunk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["router".into(), "interface".into()]))]
    pub vlans: Vec<TrunkVlan>,
    /// How far each router is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<TargetState>,
    /// What was last found changed by somebody else, by target. What was put right is kept
    /// for a day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["target".into()]))]
    pub drift: Vec<Drift>,
    /// Accepted, ResolvedRefs, Programmed and Ready, and why not.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The VLAN of a network on one trunk.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrunkVlan {
    /// The router's Provider.
    pub router: String,
    /// The router's interface.
    pub interface: String,
    /// The VLAN.
    pub vlan: i64,
}

/// How far one target is with an object.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetState {
    /// The Provider.
    pub name: String,
    /// Why it is as it is.
    pub reason: Reason,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A fingerprint of what it was last seen to run, by which a change of somebody else is
    /// told from one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
}
