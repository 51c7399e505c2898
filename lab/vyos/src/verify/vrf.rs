//! Turns the VRFs of a candidate into a verdict, and into devices with tables.

use super::{Part, Verdict, refuse};
use crate::kernel::Kernel;
use std::collections::BTreeSet;

/// Words of the `ip` command, and the table everything is in that is in no VRF.
const RESERVED: [&str; 12] = [
    "add",
    "all",
    "broadcast",
    "default",
    "delete",
    "dev",
    "get",
    "inet",
    "link",
    "mtu",
    "type",
    "vrf",
];

/// The rules of the VRF script.
pub(super) fn verify(part: &Part<'_>, kernel: &Kernel) -> Verdict {
    for (name, _) in part.old.below(&["vrf", "name"]) {
        let gone = part.new.get(&["vrf", "name", name]).is_none();
        // Only interfaces of the first level are looked at: a VLAN in the VRF does not count.
        let has_members = part.new.below(&["interfaces"]).any(|(_, interfaces)| {
            interfaces
                .below(&[])
                .any(|(_, interface)| interface.value(&["vrf"]) == Some(name))
        });
        if gone && has_members {
            return refuse(format!(
                "Can not remove VRF \"{name}\", it still has member interfaces!"
            ));
        }
    }
    let mut tables = BTreeSet::new();
    for (name, vrf) in part.new.below(&["vrf", "name"]) {
        if RESERVED.contains(&name) {
            return refuse(format!(
                "VRF name \"{name}\" is reserved and connot be used!"
            ));
        }
        let Some(table) = vrf.value(&["table"]) else {
            return refuse(format!("VRF \"{name}\" table id is mandatory!"));
        };
        if kernel.vrfs.get(name).is_some_and(|held| held != table) {
            return refuse(format!(
                "VRF \"{name}\" table id modification not possible!"
            ));
        }
        if !tables.insert(table) {
            return refuse(format!("VRF \"{name}\" table id is not unique!"));
        }
    }
    Ok(())
}

/// Makes and removes the devices, then hands the L3 VNIs to the routing daemon, which is the
/// one to refuse a VNI used twice: the device is there by then and stays.
pub(super) fn apply(part: &Part<'_>, kernel: &mut Kernel) -> Verdict {
    for (name, _) in part.old.below(&["vrf", "name"]) {
        if part.new.get(&["vrf", "name", name]).is_none() {
            kernel.vrfs.remove(name);
        }
    }
    for (name, vrf) in part.new.below(&["vrf", "name"]) {
        let table = vrf.value(&["table"]).unwrap_or_default();
        kernel.vrfs.insert(name.to_owned(), table.to_owned());
    }
    let mut vnis = BTreeSet::new();
    for (name, vrf) in part.new.below(&["vrf", "name"]) {
        let Some(vni) = vrf.value(&["vni"]) else {
            continue;
        };
        if !vnis.insert(vni) {
            return refuse(format!(
                "line 6: Failure to communicate[13] to zebra, line: vrf {name} % Configuration \
                 failed. Error type: validation Error description: VNI {vni} is already \
                 configured as L3-VNI"
            ));
        }
    }
    Ok(())
}
