//! Instance: a virtual machine or a container of a tenant.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Size;
use crate::condition::Condition;
use crate::drift::{Drift, Preview};
use crate::provider::ManagementPolicy;

/// A virtual machine or a container.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Instance",
    plural = "instances",
    namespaced,
    shortname = "bbi",
    category = "bitbuilder",
    status = "InstanceStatus",
    derive = "PartialEq",
    doc = "A virtual machine or a container of a tenant.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[0].address"),
    printcolumn(name = "Power", type_ = "string", json_path = ".status.power"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = 1),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.providerID", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')").message("the name of an Instance is its host name: at most 63 characters, no dots"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.type != 'Container' || self.volumes.size() == 0").message("volumes can be attached to a VirtualMachine only"))]
#[x_kube(validation = Rule::new("has(self.adopt) == has(oldSelf.adopt)").message("adopt cannot be added or taken away later: make a new Instance"))]
#[x_kube(validation = Rule::new("!has(oldSelf.disk) || has(self.disk)").message("disk cannot be taken away once set: it can only grow"))]
pub struct InstanceSpec {
    /// A virtual machine or a container.
    #[serde(default, rename = "type")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("type cannot change: make a new Instance"))]
    pub type_: InstanceType,

    /// The image, a name that the cluster's Provider offers.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("image cannot change: make a new Instance"))]
    pub image: String,

    /// Virtual CPUs.
    #[serde(default = "default_cpu")]
    #[schemars(range(min = 1, max = 256))]
    pub cpu: i32,

    /// Memory, such as `2Gi`: 64Mi to 4Ti, rounded up to whole mebibytes.
    #[serde(default = "default_memory")]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('64Mi')) >= 0 && quantity(self).compareTo(quantity('4Ti')) <= 0").message("memory must be between 64Mi and 4Ti")
    )]
    pub memory: Size,

    /// The root disk, such as `20Gi`: 1Gi to 64Ti, rounded up to whole gibibytes. It can
    /// grow. Without it: the image's own size (a container: 4Gi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1Gi')) >= 0 && quantity(self).compareTo(quantity('64Ti')) <= 0").message("disk must be between 1Gi and 64Ti"),
        validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0").message("disk can only grow: make a new Instance to shrink it")
    )]
    pub disk: Option<Size>,

    /// Whether it should run.
    #[serde(default)]
    pub power: Power,

    /// Its network cards, in the order in which the guest sees them.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub networks: Vec<Nic>,

    /// The Volumes attached to it.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(a, self.exists_one(b, b.volume == a.volume))").message("a Volume can be attached once only")
    )]
    pub volumes: Vec<VolumeUse>,

    /// SSH public keys that may log in.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 16, max = 1024),
            regex(pattern = r"^(ssh-|ecdsa-|sk-)[^\n\r]+$")
        )
    )]
    pub ssh_keys: Vec<String>,

    /// Where it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// Refuses to destroy the guest while true, whoever deletes the object.
    #[serde(default)]
    pub deletion_protection: bool,

    /// What becomes of the guest when the Instance is deleted: `Delete` destroys it,
    /// `Orphan` leaves it running. Without it: `Delete`, and `Orphan` for one that was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `Manage` puts right what differs; `Observe` only reports it: nothing of the object is
    /// written to a router or cluster, deletes included.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// A guest that is there already, to be taken over in place of making one. An operator
    /// must have allowed it, in `spec.proxmox.adoptable` of the cluster's Provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
}

impl InstanceSpec {
    /// What becomes of the guest when the Instance is deleted.
    #[must_use]
    pub fn deletion(&self) -> DeletionPolicy {
        let unless_said = if self.adopt.is_some() {
            DeletionPolicy::Orphan
        } else {
            DeletionPolicy::Delete
        };
        self.deletion_policy.unwrap_or(unless_said)
    }
}

fn default_cpu() -> i32 {
    1
}

fn default_memory() -> Size {
    Size::from("1Gi")
}

/// What kind of guest an Instance is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum InstanceType {
    /// A virtual machine (QEMU).
    #[default]
    VirtualMachine,
    /// A system container (LXC).
    Container,
}

/// Whether an Instance runs.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Power {
    /// It runs.
    #[default]
    Running,
    /// It is shut down.
    Stopped,
}

/// What becomes of a guest when its object is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum DeletionPolicy {
    /// The guest goes with the object.
    #[default]
    Delete,
    /// The guest stays.
    Orphan,
}

/// A guest to be taken over.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adopt {
    /// Its VMID.
    #[schemars(range(min = 100, max = 999_999_999))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("adopt.vmid cannot change: make a new Instance"))]
    pub vmid: i32,
    /// `Preview` shows in `status.preview` what would be changed, and changes nothing;
    /// `Adopt` takes the guest over.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Adopt' || self == 'Adopt'").message("adopt.mode cannot go back to Preview: to let go of the guest, delete the Instance with deletionPolicy Orphan"))]
    pub mode: AdoptMode,
}

/// Whether a guest is taken over, or what that would change is shown.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum AdoptMode {
    /// What would be changed is shown.
    #[default]
    Preview,
    /// The guest is taken over.
    Adopt,
}

/// A network card.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.address) == has(oldSelf.address)").message("address cannot be added or taken away later: take the card away and add another"))]
pub struct Nic {
    /// The name of the card within the Instance.
    #[schemars(
        length(min = 1, max = 15),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The Network it is in.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("network cannot change: take the card away and add another"))]
    pub network: String,
    /// Its address. Without it: the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 15))]
    #[x_kube(
        validation = Rule::new("isIP(self) && ip(self).family() == 4").message("address must be an IPv4 address"),
        validation = Rule::new("self == oldSelf").message("address cannot change: take the card away and add another")
    )]
    pub address: Option<String>,
}

/// A Volume in use.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeUse {
    /// The name of the disk within the Instance.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The Volume.
    #[schemars(length(min = 1, max = 63))]
    pub volume: String,
}

/// Where an Instance may run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// The zone. Without it: one in which its networks and volumes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
}

/// What the controller knows of an Instance.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// `proxmox://CLUSTER/VMID`, recorded before the guest is made.
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
    /// The node that it was last seen on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether it was last seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<String>,
    /// The addresses of its cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub addresses: Vec<NicStatus>,
    /// Settings that take effect when the guest is restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_changes: Vec<String>,
    /// A fingerprint of the configuration that the guest was seen to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// What adopting the guest would change on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
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

/// The identity of a network card.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NicStatus {
    /// The name of the card.
    pub name: String,
    /// The Network it is in.
    pub network: String,
    /// Its address.
    pub address: String,
    /// Its MAC address.
    pub mac: String,
}
