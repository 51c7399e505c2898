//! Volume: a disk that outlives instances.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Size;
use crate::condition::Condition;
use crate::drift::Drift;
use crate::provider::ManagementPolicy;

/// A disk that outlives the instances it is attached to.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Volume",
    plural = "volumes",
    namespaced,
    shortname = "bbvol",
    category = "bitbuilder",
    status = "VolumeStatus",
    derive = "PartialEq",
    doc = "A disk that outlives the instances it is attached to. An Instance names it to attach it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "Attached to", type_ = "string", json_path = ".status.attachedTo.instance"),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.providerID", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a Volume has at most 63 characters"),
    validation = Rule::new("!has(oldSelf.spec.region) || (has(self.spec.region) && self.spec.region == oldSelf.spec.region)").message("region cannot change: make a new Volume"),
    validation = Rule::new("!has(oldSelf.spec.zone) || (has(self.spec.zone) && self.spec.zone == oldSelf.spec.zone)").message("zone cannot change: make a new Volume"),
    validation = Rule::new("has(self.spec.class) == has(oldSelf.spec.class)").message("class cannot change: make a new Volume"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// How large, such as `20Gi`: 1Gi to 64Ti, rounded up to whole gibibytes. It can grow.
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1Gi')) >= 0 && quantity(self).compareTo(quantity('64Ti')) <= 0").message("size must be between 1Gi and 64Ti"),
        validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0").message("size can only grow: to shrink, make a new Volume and copy")
    )]
    pub size: Size,

    /// The storage class, a name that the cluster's Provider offers. Without it: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("class cannot change: make a new Volume"))]
    pub class: Option<String>,

    /// The Region. Without it: that of the instance, or the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,

    /// The zone. Without it: that of the instance that attaches it first, or any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,

    /// What becomes of the data when the Volume is deleted: `Delete` destroys it, `Retain`
    /// leaves it on the storage.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,

    /// `Manage` puts right what differs; `Observe` only reports it: nothing of the object is
    /// written to a router or cluster, deletes included.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
}

/// What becomes of a volume's data.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ReclaimPolicy {
    /// The data goes with the object.
    #[default]
    Delete,
    /// The data stays on the storage.
    Retain,
}

/// What the controller knows of a Volume.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// `proxmox://CLUSTER/VOLUME-ID`, recorded before the volume is made.
    #[serde(
        default,
        rename = "providerID",
        skip_serializing_if = "Option::is_none"
    )]
    pub provider_id: Option<String>,
    /// The cluster's Provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The zone that the cluster stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The storage in Proxmox VE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// The size in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_to: Option<AttachedTo>,
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

/// The instance that has a volume.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachedTo {
    /// The Instance.
    pub instance: String,
    /// The device in Proxmox VE, such as `scsi1`.
    pub device: String,
    /// The serial number under which the guest sees the disk
    /// (`/dev/disk/by-id/*SERIAL`).
    pub serial: String,
}
