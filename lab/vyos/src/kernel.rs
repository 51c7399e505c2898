//! Turns applied configuration into what the system below holds, which may outlive it.

use crate::tree::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Devices of the system. A VRF whose commit failed late stays here until a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The network cards: they exist without configuration.
    pub nics: BTreeSet<String>,
    /// VRF devices with their tables.
    pub vrfs: BTreeMap<String, String>,
    pub links: BTreeMap<String, Link>,
}

/// One device that is not a VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub addresses: BTreeSet<String>,
    pub vrf: Option<String>,
    pub vni: Option<String>,
    pub mtu: Option<u32>,
}

/// The interface types, as their node below `interfaces` is named.
pub(crate) const KINDS: [&str; 7] = [
    "bonding",
    "bridge",
    "dummy",
    "ethernet",
    "loopback",
    "vxlan",
    "wireguard",
];

impl Kernel {
    /// What there is after a boot with `config` on a machine with these cards.
    #[must_use]
    pub(crate) fn boot(config: &Node, nics: &BTreeSet<String>) -> Self {
        let mut kernel = Self {
            nics: nics.clone(),
            ..Self::default()
        };
        for (name, vrf) in config.below(&["vrf", "name"]) {
            let table = vrf.value(&["table"]).unwrap_or_default();
            kernel.vrfs.insert(name.to_owned(), table.to_owned());
        }
        for (_, interfaces) in config.below(&["interfaces"]) {
            for (name, interface) in interfaces.below(&[]) {
                kernel.put_link(name, Some(interface));
            }
        }
        kernel
    }

    /// Whether any device has this name.
    #[must_use]
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.nics.contains(name) || self.links.contains_key(name) || self.vrfs.contains_key(name)
    }

    /// Makes the device and its VLAN devices as `config` says; `None` takes them away.
    pub(crate) fn put_link(&mut self, name: &str, config: Option<&Node>) {
        let vlans = format!("{name}.");
        self.links
            .retain(|link, _| link != name && !link.starts_with(&vlans));
        let Some(config) = config else { return };
        self.links.insert(name.to_owned(), Link::of(config));
        for (vlan, vif) in config.below(&["vif"]) {
            self.links.insert(format!("{name}.{vlan}"), Link::of(vif));
        }
    }

    /// Whether some device has this address; with `vrf`, a device of that VRF (`None` is the
    /// default one).
    #[must_use]
    pub(crate) fn has_address(&self, address: IpAddr, vrf: Option<Option<&str>>) -> bool {
        self.links.values().any(|link| {
            vrf.is_none_or(|vrf| link.vrf.as_deref() == vrf)
                && link.hosts().any(|(host, _)| host == address)
        })
    }
}

impl Link {
    fn of(config: &Node) -> Self {
        Self {
            addresses: config.values(&["address"]).iter().cloned().collect(),
            vrf: config.value(&["vrf"]).map(str::to_owned),
            vni: config.value(&["vni"]).map(str::to_owned),
            mtu: config.value(&["mtu"]).and_then(|mtu| mtu.parse().ok()),
        }
    }

    /// The addresses with their prefix lengths.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        self.addresses
            .iter()
            .filter_map(|text| crate::values::address_and_length(text))
    }
}
