//! Names the calls that a plan is made of, and prints them for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bb_crds::ids::Vmid;

use crate::proxmox::model::Kind;
use crate::proxmox::observed::Place;
use crate::proxmox::pace::{Sort, Work};

/// One guest, as calls address it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Virtual machine or container.
    pub kind: Kind,
    /// The node it is on.
    pub node: String,
    /// Its number.
    pub vmid: Vmid,
}

/// One call to a cluster. Every one of them is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes a virtual machine from a template; claims the VMID.
    Clone {
        /// The template and where it is.
        template: Guest,
        /// The VMID to claim.
        vmid: Vmid,
        /// The guest's name.
        name: String,
        /// The pool it is made in.
        pool: String,
        /// The mark.
        description: String,
        /// A full copy.
        full: bool,
        /// Where a full copy goes.
        storage: Option<String>,
    },
    /// Builds a container from an archive; claims the VMID.
    Build {
        /// The container to be.
        guest: Guest,
        /// Everything it should have.
        parameters: BTreeMap<String, String>,
    },
    /// Writes configuration keys.
    Configure {
        /// The guest.
        guest: Guest,
        /// Keys to set.
        set: BTreeMap<String, String>,
        /// Keys to take away.
        delete: BTreeSet<String>,
        /// The version of the configuration that this builds on: another one is refused, and
        /// with it a guest that is no longer ours.
        digest: Option<String>,
    },
    /// Grows a disk.
    Resize {
        /// The guest.
        guest: Guest,
        /// The disk, such as `scsi0`.
        disk: String,
        /// Its new size.
        size_gib: u64,
        /// As in [`Op::Configure`]; `None` right behind one of those, which was judged by it.
        digest: Option<String>,
    },
    /// Starts a guest.
    Start(Guest),
    /// Shuts a guest down, or stops it when it does not answer.
    Shutdown(Guest),
    /// Destroys a stopped guest with the disks that are its own.
    Destroy(Guest),
    /// Makes a disk image under the holder.
    Allocate {
        /// Where.
        place: Place,
        /// The holder.
        holder: Vmid,
        /// The name of the image.
        file: String,
        /// Its format, where the storage keeps files.
        format: Option<&'static str>,
        /// Its size.
        size_gib: u64,
    },
    /// Puts an image on the holder as unused, the first half of deleting it.
    Park {
        /// The holder.
        holder: Guest,
        /// The key, such as `unused0`.
        slot: String,
        /// The volume id.
        volid: String,
        /// The version of the holder's configuration that shows the key to be free.
        digest: Option<String>,
    },
    /// Deletes an image that the holder has as unused.
    Drop {
        /// The holder.
        holder: Guest,
        /// The key, such as `unused0`.
        slot: String,
        /// The volume id.
        volid: String,
        /// The version of the holder's configuration that shows the image under that key:
        /// in another one it may be something else's.
        digest: Option<String>,
    },
    /// Deletes an image by its volume id.
    DeleteImage {
        /// Where.
        place: Place,
        /// The volume id.
        volid: String,
    },
}

impl Op {
    /// Whether it counts against the limit of clones.
    #[must_use]
    pub const fn builds(&self) -> bool {
        matches!(self, Self::Clone { .. } | Self::Build { .. })
    }

    /// What the task of this call takes about as long as.
    #[must_use]
    pub fn sort(&self) -> Sort {
        let (node, work) = match self {
            Self::Clone { template, full, .. } if *full => {
                (&template.node, Work::Full(template.vmid))
            }
            Self::Clone { template, .. } => (&template.node, Work::Linked(template.vmid)),
            Self::Build { guest, .. } => (&guest.node, Work::Build),
            Self::Configure { guest, .. } => (&guest.node, Work::Configure),
            Self::Resize { guest, .. } => (&guest.node, Work::Resize),
            Self::Start(guest) => (&guest.node, Work::Start),
            Self::Shutdown(guest) => (&guest.node, Work::Shutdown),
            Self::Destroy(guest) => (&guest.node, Work::Destroy),
            Self::Park { holder, .. } | Self::Drop { holder, .. } => (&holder.node, Work::Image),
            Self::Allocate { place, .. } | Self::DeleteImage { place, .. } => {
                (&place.node, Work::Image)
            }
        };
        let node = node.clone();
        Sort { node, work }
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.kind.word(), self.vmid, self.node)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clone {
                template,
                vmid,
                full,
                storage,
                ..
            } => {
                let how = if *full { "full" } else { "linked" };
                write!(f, "clone {template} as VM {vmid} ({how}")?;
                if let Some(storage) = storage {
                    write!(f, ", to {storage}")?;
                }
                f.write_str(")")
            }
            Self::Build { guest, parameters } => {
                let archive = parameters.get("ostemplate").map_or("", String::as_str);
                write!(f, "build {guest} from {archive}")
            }
            Self::Configure {
                guest, set, delete, ..
            } => {
                let added = set.keys().cloned();
                let taken = delete.iter().map(|key| format!("-{key}"));
                let keys: Vec<String> = added.chain(taken).collect();
                write!(f, "configure {guest}: {}", keys.join(" "))
            }
            Self::Resize {
                guest,
                disk,
                size_gib,
                ..
            } => {
                write!(f, "grow {disk} of {guest} to {size_gib} GiB")
            }
            Self::Start(guest) => write!(f, "start {guest}"),
            Self::Shutdown(guest) => write!(f, "shut down {guest}"),
            Self::Destroy(guest) => write!(f, "destroy {guest}"),
            Self::Allocate {
                place,
                file,
                size_gib,
                ..
            } => {
                write!(
                    f,
                    "allocate {file} of {size_gib} GiB on {} of {}",
                    place.storage, place.node
                )
            }
            Self::Park {
                holder,
                slot,
                volid,
                ..
            } => {
                write!(f, "put {volid} on the holder {holder} as {slot}")
            }
            Self::Drop {
                holder,
                slot,
                volid,
                ..
            } => {
                write!(f, "delete {volid}, {slot} of the holder {holder}")
            }
            Self::DeleteImage { place, volid } => {
                write!(f, "delete {volid} on {}", place.node)
            }
        }
    }
}
