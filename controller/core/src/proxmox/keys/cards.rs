//! Turns desired network cards and those in a configuration into `netN` and `ipconfigN` keys.

use std::collections::BTreeMap;

use super::{DesiredGuest, DesiredNic, GuestConfig, KeyDiff, Kind, Property};

/// Where Proxmox VE keeps a card's model and MAC address, in one part: `virtio=MAC`.
const MODELS: [&str; 4] = ["virtio", "e1000", "rtl8139", "vmxnet3"];

/// The number at the end of a key such as `net3`.
fn index(key: &str, prefix: &str) -> Option<u32> {
    key.strip_prefix(prefix)?.parse().ok()
}

fn mac(kind: Kind, card: &Property) -> Option<&str> {
    match kind {
        Kind::Vm => MODELS.iter().find_map(|model| card.get(model)),
        Kind::Container => card.get("hwaddr"),
    }
}

/// Which slot each desired card has: a card stays where its MAC address is seen, a new one
/// takes the first slot that no other card of ours has.
fn slots(guest: &DesiredGuest, present: &BTreeMap<u32, Property>) -> Vec<u32> {
    let kind = guest.source.kind();
    let seen = |nic: &DesiredNic| {
        present
            .iter()
            .find(|(_, card)| mac(kind, card).is_some_and(|m| m.eq_ignore_ascii_case(&nic.mac)))
            .map(|(slot, _)| *slot)
    };
    let mut taken: Vec<u32> = guest.nics.iter().filter_map(seen).collect();
    guest
        .nics
        .iter()
        .map(|nic| {
            seen(nic).unwrap_or_else(|| {
                let free = (0..).find(|slot| !taken.contains(slot)).unwrap_or_default();
                taken.push(free);
                free
            })
        })
        .collect()
}

/// The parts of a card that the object decides.
fn parts(kind: Kind, slot: u32, nic: &DesiredNic) -> BTreeMap<&'static str, Option<String>> {
    let mut parts = BTreeMap::from([
        ("bridge", Some(nic.bridge.clone())),
        ("tag", Some(nic.vlan.to_string())),
    ]);
    if let Some(mtu) = nic.mtu {
        parts.insert("mtu", Some(mtu.to_string()));
    }
    if kind == Kind::Container {
        parts.insert("name", Some(format!("eth{slot}")));
        parts.insert("hwaddr", Some(nic.mac.to_ascii_uppercase()));
        parts.insert("ip", Some(format!("{}/{}", nic.address, nic.prefix_len)));
        parts.insert("gw", nic.gateway.map(|gateway| gateway.to_string()));
        parts.insert("type", Some("veth".to_owned()));
    }
    parts
}

fn ipconfig(nic: &DesiredNic) -> Property {
    let mut property = Property::default();
    property.set("ip", format!("{}/{}", nic.address, nic.prefix_len));
    if let Some(gateway) = nic.gateway {
        property.set("gw", gateway.to_string());
    }
    property
}

fn card(kind: Kind, slot: u32, nic: &DesiredNic, present: Option<&Property>) -> Option<String> {
    let same = |have: Option<&str>, want: &str| have.is_some_and(|h| h.eq_ignore_ascii_case(want));
    let wanted = parts(kind, slot, nic);
    let kept = present.filter(|card| same(mac(kind, card), &nic.mac));
    if let Some(card) = kept
        && wanted.iter().all(|(key, want)| match want {
            Some(want) => same(card.get(key), want),
            None => card.get(key).is_none(),
        })
    {
        return None;
    }
    // What people set on this very card (a rate, the firewall) stays; another card's does not.
    let mut card = kept.cloned().unwrap_or_default();
    if kept.is_none() && kind == Kind::Vm {
        card.set("virtio", nic.mac.to_ascii_uppercase());
    }
    for (key, want) in wanted {
        match want {
            Some(want) => card.set(key, want),
            None => {
                card.parts.remove(key);
            }
        }
    }
    Some(card.to_string())
}

pub(super) fn diff(diff: &mut KeyDiff, guest: &DesiredGuest, config: &GuestConfig) {
    let kind = guest.source.kind();
    let present: BTreeMap<u32, Property> = config
        .keys()
        .filter_map(|key| Some((index(key, "net")?, Property::parse(config.effective(key)?))))
        .collect();
    let slots = slots(guest, &present);
    for (slot, nic) in slots.iter().zip(&guest.nics) {
        if let Some(value) = card(kind, *slot, nic, present.get(slot)) {
            diff.set.insert(format!("net{slot}"), value);
        }
        if kind == Kind::Vm {
            let key = format!("ipconfig{slot}");
            let want = ipconfig(nic);
            let have = config.effective(&key).map(Property::parse);
            if have.as_ref() != Some(&want) {
                diff.set.insert(key, want.to_string());
            }
        }
    }
    for key in config.keys() {
        let slot = index(key, "net").or_else(|| index(key, "ipconfig"));
        if slot.is_some_and(|slot| !slots.contains(&slot)) {
            diff.delete.insert(key.to_owned());
        }
    }
}
