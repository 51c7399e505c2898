//! Provider: one router or one Proxmox VE cluster.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NumberRange;
use crate::condition::Condition;

/// One router or one Proxmox VE cluster that the controller drives.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "bitbuilder.cloud",
    version = "v1alpha1",
    kind = "Provider",
    plural = "providers",
    shortname = "bbp",
    category = "bitbuilder",
    status = "ProviderStatus",
    derive = "PartialEq",
    selectable = ".spec.region",
    doc = "One router or one Proxmox VE cluster that the controller drives.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.zone"),
    printcolumn(name = "Orphans", type_ = "integer", json_path = ".status.orphanCount", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a Provider has at most 63 characters"),
    validation = Rule::new("has(self.spec.vyos) == has(oldSelf.spec.vyos)").message("a Provider stays a router or a cluster: make a new Provider"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.vyos) != has(self.proxmox)").message("a Provider is exactly one of `vyos` and `proxmox`"))]
pub struct ProviderSpec {
    /// The Region it belongs to.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("region cannot change: what runs on it has the numbers of its Region; make a new Provider"))]
    pub region: String,

    /// The zone it stands in: what shares power, racks and a router.
    #[serde(default = "default_zone")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("zone cannot change: networks and guests were placed by it; make a new Provider"))]
    pub zone: String,

    /// `Manage` changes what differs; `Observe` reads and reports, and writes nothing.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// The Tenants that may use it. Empty means all.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tenants: Vec<String>,

    /// When so many objects are to be deleted at once that a person has to confirm it.
    #[serde(default)]
    pub delete_guard: DeleteGuard,

    /// A VyOS 1.5 router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vyos: Option<Vyos>,

    /// A Proxmox VE 8 or 9 cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<Proxmox>,
}

fn default_zone() -> String {
    "main".to_owned()
}

/// Whether a target is changed or only watched.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ManagementPolicy {
    /// What differs from the objects is changed.
    #[default]
    Manage,
    /// What differs is reported, nothing is written.
    Observe,
}

/// When so many objects are to be deleted at once that a person has to confirm it: more than
/// `objects`, and more than `percent` of those that are on the target, within `window`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeleteGuard {
    /// So many may always be deleted.
    #[schemars(range(min = 0, max = 100_000))]
    pub objects: i32,
    /// This share may always be deleted; 100 switches the guard off.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// The time over which deletes are added up, such as `10m`: seconds, minutes or hours.
    #[schemars(length(min = 2, max = 6), regex(pattern = r"^[1-9][0-9]{0,4}[smh]$"))]
    pub window: String,
}

impl Default for DeleteGuard {
    fn default() -> Self {
        Self {
            objects: 50,
            percent: 50,
            window: "10m".to_owned(),
        }
    }
}

/// A VyOS 1.5 router, reached over its HTTP API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vyos {
    /// Where the HTTP API listens, such as `https://192.0.2.1`. It needs
    /// `service https api rest` and a key.
    #[schemars(length(min = 9, max = 253), regex(pattern = r"^https://[^/\s]+$"))]
    pub endpoint: String,

    /// The Secret in the controller's namespace; its entry `key` is the API key.
    pub credentials: SecretName,

    /// How the router's certificate is judged.
    pub tls: Tls,

    /// The router's loopback address: its BGP router ID and its VTEP address.
    #[schemars(
        length(min = 7, max = 15),
        regex(pattern = r"^([0-9]{1,3}\.){3}[0-9]{1,3}$")
    )]
    #[x_kube(validation = Rule::new("isIP(self)").message("routerId is an IPv4 address"))]
    pub router_id: String,

    /// How fast it is asked.
    #[serde(default)]
    pub limits: RouterLimits,
}

/// How fast a router is asked. It has one request of ours at a time, whatever is set here.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouterLimits {
    /// Requests a second, on average.
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: i32,
    /// Requests one after the other, after a time without any, before that is held to.
    #[schemars(range(min = 1, max = 1000))]
    pub request_burst: i32,
}

impl Default for RouterLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 10,
            request_burst: 20,
        }
    }
}

/// The name of a Secret in the controller's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretName {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
}

/// How a certificate is judged: by a CA, or by the fingerprint of the certificate itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.caSecret) != has(self.sha256)").message("tls is exactly one of `caSecret` and `sha256`"))]
pub struct Tls {
    /// A Secret in the controller's namespace; its entry `ca.crt` is the CA in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ca_secret: Option<String>,

    /// SHA-256 fingerprints of certificates to accept, as hex with or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(
            length(min = 64, max = 95),
            regex(pattern = r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")
        )
    )]
    pub sha256: Option<Vec<String>>,
}

/// A Proxmox VE 8 or 9 cluster, reached over its REST API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxmox {
    /// Where its nodes answer, such as `https://192.0.2.11:8006`. Any node answers for all;
    /// the next is tried when one does not.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 9, max = 253), regex(pattern = r"^https://[^/\s]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub endpoints: Vec<String>,

    /// The Secret in the controller's namespace: `token` is `USER@REALM!NAME=SECRET`; or
    /// `username` (`USER@REALM`) and `password`. A token is better: it needs no renewal.
    pub credentials: SecretName,

    /// How the nodes' certificates are judged.
    pub tls: Tls,

    /// VMIDs to give out, `FIRST-LAST` within 100-999999999.
    #[x_kube(
        validation = Rule::new("self.split('-').size() == 2 && int(self.split('-')[0]) >= 100 && int(self.split('-')[0]) <= int(self.split('-')[1]) && int(self.split('-')[1]) <= 999999999").message("vmids is FIRST-LAST, within 100-999999999, the first not above the last")
    )]
    pub vmids: NumberRange,

    /// The resource pool that every guest is made in. The rights of the controller's user
    /// hang on it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_.-]+$"))]
    pub pool: String,

    /// The VMID of the stopped guest under whose name volumes are allocated, so that no
    /// destroy of a guest can reach them. Needed for Volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 999_999_999))]
    pub holder: Option<i32>,

    /// The storages by the class names that tenants use.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub storage: Vec<StorageClass>,

    /// The images by the names that tenants use.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub images: Vec<Image>,

    /// How much may be under way at once.
    #[serde(default)]
    pub limits: Limits,

    /// The guests that Instances may take over (`spec.adopt`), by the tenant that may.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["tenant".into()]))]
    pub adoptable: Vec<Adoptable>,
}

/// Guests that a tenant may take over.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adoptable {
    /// The Tenant.
    #[schemars(length(min = 1, max = 63))]
    pub tenant: String,
    /// Their VMIDs, each a number or `FIRST-LAST`.
    #[schemars(
        length(min = 1, max = 256),
        inner(
            length(min = 3, max = 19),
            regex(pattern = r"^[1-9][0-9]{2,8}(-[1-9][0-9]{2,8})?$")
        )
    )]
    pub vmids: Vec<String>,
}

/// A storage under the name that tenants use.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageClass {
    /// The class, such as `ssd`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The storage in Proxmox VE, such as `ceph-ssd`.
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = r"^[A-Za-z][A-Za-z0-9_.-]*$")
    )]
    pub storage: String,
}

/// An image under the name that tenants use: a template guest or a container archive.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.template) != has(self.archive)").message("an image is exactly one of `template` (a virtual machine) and `archive` (a container)"))]
pub struct Image {
    /// The image, such as `debian-12`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The VMID of a template with a cloud-init drive: virtual machines are cloned from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 999_999_999))]
    pub template: Option<i32>,

    /// A container archive by volume id, such as `local:vztmpl/alpine-3.20.tar.zst`:
    /// containers are made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 10, max = 253),
        regex(pattern = r"^[A-Za-z][A-Za-z0-9_.-]*:vztmpl/[^\s]+$")
    )]
    pub archive: Option<String>,

    /// `Linked` shares the template's blocks and is done in a second; `Full` copies them.
    #[serde(default)]
    pub clone: CloneMode,

    /// The storage class of a full copy or a container's root. Without it: the template's
    /// own, or the first class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub class: Option<String>,
}

/// How a template becomes a guest.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum CloneMode {
    /// Shares the blocks of the template.
    #[default]
    Linked,
    /// Copies the blocks of the template.
    Full,
}

/// How much may be under way at once on a cluster.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Clones at once.
    #[schemars(range(min = 1, max = 64))]
    pub clones: i32,
    /// Tasks at once, clones included.
    #[schemars(range(min = 1, max = 256))]
    pub tasks: i32,
    /// Requests a second, on average.
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: i32,
    /// Requests one after the other, after a time without any, before that is held to.
    #[schemars(range(min = 1, max = 1000))]
    pub request_burst: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clones: 4,
            tasks: 16,
            requests_per_second: 50,
            request_burst: 100,
        }
    }
}

/// What the controller knows of a Provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// The version that it says it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Privileges that its user lacks, as `PATH: PRIVILEGE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_privileges: Vec<String>,
    /// Things that carry our mark and that no object accounts for, the first 50 of them. They
    /// are reported, never removed by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub orphans: Vec<String>,
    /// How many such things there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan_count: Option<i64>,
    /// A router runs, or may run, what it has not saved. Recorded before a change is sent, and
    /// taken back when what runs is saved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsaved: bool,
    /// Where the next VMID is looked for. Moved forward before a VMID is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_vmid: Option<i64>,
    /// Reachable, Authorized and Ready, and why not.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
