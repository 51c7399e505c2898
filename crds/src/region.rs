//! Region: what holds for a whole fabric, said once.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NumberRange;
use crate::condition::Condition;

/// A fabric: its AS number, the number ranges that are given out in it, and how its Proxmox
/// clusters hang on its routers.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Region",
    plural = "regions",
    shortname = "bbr",
    category = "bitbuilder",
    status = "RegionStatus",
    derive = "PartialEq",
    doc = "A fabric: its AS number, the number ranges given out in it, and how its Proxmox clusters hang on its routers.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.asn"),
    printcolumn(name = "VNIs used", type_ = "integer", json_path = ".status.vnis.used"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a Region has at most 63 characters"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionSpec {
    /// The AS number that the routers of the fabric share (RFC 6793). Two-byte numbers make
    /// automatic route targets the same on every platform.
    #[schemars(range(min = 1, max = 4_294_967_294_i64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("asn cannot change: every route target derives from it; make a new Region and move tenants to it"))]
    pub asn: i64,

    /// VXLAN network identifiers to give out, `FIRST-LAST` within 1-16777214. Interfaces on
    /// routers are named after them.
    #[x_kube(
        validation = Rule::new("self.split('-').size() == 2 && int(self.split('-')[0]) >= 1 && int(self.split('-')[0]) <= int(self.split('-')[1]) && int(self.split('-')[1]) <= 16777214").message("vnis is FIRST-LAST, within 1-16777214, the first not above the last")
    )]
    pub vnis: NumberRange,

    /// VRF tables to give out, `FIRST-LAST` within 100-65535. VRFs on routers are named after
    /// them.
    #[x_kube(
        validation = Rule::new("self.split('-').size() == 2 && int(self.split('-')[0]) >= 100 && int(self.split('-')[0]) <= int(self.split('-')[1]) && int(self.split('-')[1]) <= 65535").message("tables is FIRST-LAST, within 100-65535, the first not above the last")
    )]
    pub tables: NumberRange,

    /// The MTU of the underlay in bytes. Networks that span routers get 50 bytes less, the
    /// price of VXLAN.
    #[serde(default = "default_mtu")]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: i32,

    /// How each Proxmox cluster reaches a router.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attachments: Vec<Attachment>,
}

fn default_mtu() -> i32 {
    1500
}

/// One way from a Proxmox cluster to the routers. Exactly one form is given.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.vlan)").message("an attachment says how: give `vlan`"))]
pub struct Attachment {
    /// The name of the attachment.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The Provider of the Proxmox cluster.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,

    /// A VLAN trunk between the cluster's bridge and one interface of one router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanAttachment>,
}

/// A VLAN trunk from a cluster's bridge to a router's interface. Each network gets a VLAN of
/// its own on it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VlanAttachment {
    /// The Provider of the router at the other end. No second router may hang on the same
    /// trunk: two routers that bridge one trunk make a loop.
    #[schemars(length(min = 1, max = 63))]
    pub router: String,

    /// The router's interface that carries the trunk, such as `eth2`.
    #[schemars(
        length(min = 2, max = 10),
        regex(pattern = r"^(eth|bond|lan|eno|ens)[0-9]{1,4}$")
    )]
    pub interface: String,

    /// The VLAN-aware bridge on every node of the cluster, such as `vmbr1`.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-zA-Z][a-zA-Z0-9_]*$"))]
    pub bridge: String,

    /// The VLANs to give out, `FIRST-LAST` within 2-4094.
    #[x_kube(
        validation = Rule::new("self.split('-').size() == 2 && int(self.split('-')[0]) >= 2 && int(self.split('-')[0]) <= int(self.split('-')[1]) && int(self.split('-')[1]) <= 4094").message("vlans is FIRST-LAST, within 2-4094, the first not above the last")
    )]
    pub vlans: NumberRange,
}

/// What the controller knows of a Region.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// VNIs in all and in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnis: Option<Usage>,
    /// VRF tables in all and in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Usage>,
    /// Where the next number of each range is looked for. Moved forward before a number is
    /// recorded, so that two controllers cannot give one twice and a freed one rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RegionCursor>,
    /// Ready, and why not.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// How much of a range is used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Numbers in the range.
    pub total: i64,
    /// Numbers given out.
    pub used: i64,
}

/// The next number to try in each range.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionCursor {
    /// The next VNI.
    #[serde(default)]
    pub vni: i64,
    /// The next VRF table.
    #[serde(default)]
    pub table: i64,
}
