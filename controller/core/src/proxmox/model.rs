//! Names what a Proxmox VE cluster should have, and what one pass over it found.
//!
//! The shell renders [`Desired`] from the objects and turns [`PassReport`] into their status;
//! everything between the two is in this module's neighbours and in the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bb_crds::condition::Reason;
use bb_crds::ids::{VlanId, Vmid};

pub use bb_crds::instance::Power;

use crate::drift::Difference;

/// Everything that should be on one cluster, whole: what is not in it is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// What holds for the cluster as a whole.
    pub cluster: ClusterSettings,
    /// Virtual machines and containers, in any order.
    pub guests: Vec<DesiredGuest>,
    /// Volumes, in any order.
    pub volumes: Vec<DesiredVolume>,
}

/// What holds for a cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The identity of the management cluster, part of every mark: no blanks, no `/`.
    pub installation: String,
    /// The resource pool that every guest is made in.
    pub pool: String,
    /// The guest under whose name volumes are allocated; volumes are held back without it.
    pub holder: Option<Vmid>,
    /// The first and the last VMID that are ours to give.
    pub vmids: (u32, u32),
    /// How many clones and container builds may be under way at once.
    pub clones: usize,
    /// How many tasks may be under way at once, clones included.
    pub tasks: usize,
    /// Read and report, write nothing.
    pub observe_only: bool,
}

/// A virtual machine or a container that an Instance asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredGuest {
    /// The UID of the Instance.
    pub uid: String,
    /// The namespace of the Instance.
    pub namespace: String,
    /// The name of the Instance, which is the guest's name and host name as well.
    pub name: String,
    /// Recorded in the API before the guest is asked for.
    pub vmid: Vmid,
    /// What it is made from; that decides what kind of guest it is.
    pub source: Source,
    /// Virtual CPUs.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The root disk of a virtual machine in GiB, at least; `None` leaves the template's. A
    /// container's is in [`Source::Archive`], or here when it has grown since.
    pub disk_gib: Option<u64>,
    /// Network cards in the order in which the guest sees them.
    pub nics: Vec<DesiredNic>,
    /// Name servers in order of preference.
    pub dns_servers: Vec<String>,
    /// The search domain.
    pub dns_domain: Option<String>,
    /// SSH public keys, one line each.
    pub ssh_keys: Vec<String>,
    /// Volumes to attach, in order.
    pub volumes: Vec<Attachment>,
    /// Whether it should run.
    pub power: Power,
    /// What is to become of it.
    pub fate: Fate,
    /// The fingerprint recorded in the object's status: what the guest was last proven to
    /// have. `None` when it never was.
    pub settled: Option<String>,
    /// It is compared and reported, and nothing is written for it.
    pub observe: bool,
    /// It is not made but taken over.
    pub adopt: Option<Adoption>,
}

/// How a guest is taken over that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// It is to be done; otherwise what it would change is reported.
    pub confirmed: bool,
    /// The UIDs of all Instances while this one has no guest yet: the mark of one of these
    /// is that of another owner, and that of any other one is nobody's any more.
    pub living: BTreeSet<String>,
}

/// What a guest is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A virtual machine is cloned from a template.
    Template {
        /// The template's VMID.
        vmid: Vmid,
        /// A full copy, in place of sharing the template's blocks.
        full: bool,
        /// Where a full copy goes; `None` is where the template is. A linked clone is always
        /// where its template is.
        storage: Option<String>,
    },
    /// A container is built from an archive.
    Archive {
        /// The archive's volume id, such as `local:vztmpl/alpine-3.20.tar.zst`.
        volid: String,
        /// Where its root goes.
        storage: String,
        /// The size of its root in GiB.
        disk_gib: u64,
    },
}

/// Virtual machine or container: the two take different calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A virtual machine (`qemu` in paths).
    Vm,
    /// A container (`lxc` in paths).
    Container,
}

/// A network card that a guest should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredNic {
    /// The bridge on the node, such as `vmbr0`.
    pub bridge: String,
    /// The VLAN on that bridge.
    pub vlan: VlanId,
    /// The MAC address; letters of any case.
    pub mac: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The length of its prefix.
    pub prefix_len: u8,
    /// The default gateway; on the first card only.
    pub gateway: Option<Ipv4Addr>,
    /// The MTU in bytes; `None` leaves the bridge's.
    pub mtu: Option<u16>,
}

/// A volume that a guest should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The UID of the Volume, which must be among [`Desired::volumes`].
    pub volume_uid: String,
    /// The name of the disk image, from [`volume_name`](super::mark::volume_name).
    pub volid_name: String,
    /// The serial number that the guest sees, from [`serial`](super::mark::serial).
    pub serial: String,
}

/// What is to become of a guest or a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It should be as described.
    Keep,
    /// It should be gone.
    Destroy,
    /// It is forgotten: nothing of it is touched.
    Release,
    /// Paused or waiting: it is read where needed, and nothing is written for it.
    Hold,
}

/// A disk that outlives guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredVolume {
    /// The UID of the Volume.
    pub uid: String,
    /// The namespace of the Volume.
    pub namespace: String,
    /// The name of the Volume.
    pub name: String,
    /// The storage in Proxmox VE.
    pub storage: String,
    /// How large, in GiB.
    pub size_gib: u64,
    /// What is to become of it. [`Fate::Release`] leaves the data on the storage.
    pub fate: Fate,
    /// The UID of the guest that should have it.
    pub attached_to: Option<String>,
    /// Whether its status records that it was proven to be there in this size.
    pub settled: bool,
    /// As [`DesiredGuest::observe`].
    pub observe: bool,
    /// Whether its status records the device that guest has it as.
    pub placed: bool,
}

/// What one pass found, for every guest and volume of [`Desired`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PassReport {
    /// By the UID of the Instance.
    pub guests: BTreeMap<String, GuestReport>,
    /// By the UID of the Volume.
    pub volumes: BTreeMap<String, VolumeReport>,
    /// What carries our mark and is in no object, each as a person would look for it.
    pub orphans: Vec<String>,
    /// The numbers of what is in no object.
    pub others: crate::outside::Others,
    /// Whether the next pass should come soon.
    pub more: More,
}

/// Whether the next pass should come soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum More {
    /// Something is under way or follows: look again within a second or two.
    Working,
    /// Nothing will change by itself.
    #[default]
    Idle,
}

/// What one pass found of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestReport {
    /// Where it stands.
    pub state: GuestState,
    /// The node it was seen on.
    pub node: Option<String>,
    /// Whether it was seen running; `None` when the cluster does not say.
    pub running: Option<bool>,
    /// Settings that take effect when it is restarted.
    pub pending: Vec<String>,
    /// What somebody else changed since it was settled, and was not put right yet.
    pub drift: Option<Difference>,
    /// What adopting it would change.
    pub preview: Option<Difference>,
}

/// Where a guest stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestState {
    /// Proven absent, or released, or never ours: the finalizer may go.
    Gone,
    /// Work is under way; the text says what.
    Working(String),
    /// As desired, proven by a read now or before. The text is to be recorded in the status
    /// as it is and handed back in [`DesiredGuest::settled`].
    Settled {
        /// From [`fingerprint`](super::keys::fingerprint), and what is pending.
        fingerprint: String,
    },
    /// Nothing more happens by itself, or not soon.
    Held {
        /// One word for the cause.
        reason: Reason,
        /// What is so, and what a person must do.
        message: String,
    },
    /// The VMID belongs to a guest that is not ours, and ours was never made: give it another.
    VmidTaken {
        /// Whose it is, as far as can be seen.
        message: String,
    },
}

/// What one pass found of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeReport {
    /// Where it stands.
    pub state: VolumeState,
    /// The volume id in Proxmox VE; `None` when it was not seen in this pass, in which case
    /// what is recorded stands.
    pub volid: Option<String>,
    /// The guest's UID and the device it is attached as, such as `scsi1`. `None` while
    /// [`DesiredVolume::attached_to`] names a settled guest means that the guest was not read
    /// in this pass, and what is recorded stands.
    pub device: Option<(String, String)>,
    /// What somebody else changed since it was settled.
    pub drift: Option<Difference>,
}

/// Where a volume stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeState {
    /// Proven absent, or released: the finalizer may go.
    Gone,
    /// Work is under way; the text says what.
    Working(String),
    /// It is there.
    Settled {
        /// Its size in whole GiB.
        size_gib: u64,
    },
    /// Nothing more happens by itself, or not soon.
    Held {
        /// One word for the cause.
        reason: Reason,
        /// What is so, and what a person must do.
        message: String,
    },
}

impl Source {
    /// The kind of guest that is made from it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Template { .. } => Kind::Vm,
            Self::Archive { .. } => Kind::Container,
        }
    }
}

impl Kind {
    /// The word in API paths.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Vm => "qemu",
            Self::Container => "lxc",
        }
    }

    /// The word for people, as Proxmox VE uses it before an id.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vm => "VM",
            Self::Container => "CT",
        }
    }
}
