//! Turns Proxmox VE's property strings (`virtio=MAC,bridge=vmbr0,tag=7`) and sizes into values.

use std::collections::BTreeMap;
use std::fmt;

/// Parts that people expect first; Proxmox VE takes any order.
const FIRST: [&str; 7] = [
    "virtio", "e1000", "rtl8139", "vmxnet3", "name", "bridge", "ip",
];

/// A value of the form `[KEY=]VALUE,KEY=VALUE...`.
///
/// Proxmox VE gives the parts back in an order of its own and adds some: it is compared part
/// by part, never as text. A first part without `=` (a volume id) stays first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Property {
    /// The part that has no key.
    pub(crate) head: Option<String>,
    pub(crate) parts: BTreeMap<String, String>,
}

impl Property {
    pub(crate) fn parse(text: &str) -> Self {
        let mut property = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match part.split_once('=') {
                Some((key, value)) => {
                    property.parts.insert(key.to_owned(), value.to_owned());
                }
                None if property.head.is_none() => property.head = Some(part.to_owned()),
                None => {
                    property.parts.insert(part.to_owned(), String::new());
                }
            }
        }
        property
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.parts.get(key).map(String::as_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.parts.insert(key.to_owned(), value.into());
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = |key: &str| {
            FIRST
                .iter()
                .position(|first| *first == key)
                .unwrap_or(FIRST.len())
        };
        let mut parts: Vec<(&String, &String)> = self.parts.iter().collect();
        parts.sort_by_key(|(key, _)| rank(key));
        let parts = parts
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"));
        f.write_str(
            &self
                .head
                .iter()
                .cloned()
                .chain(parts)
                .collect::<Vec<_>>()
                .join(","),
        )
    }
}

/// The bytes in a size as a configuration has it: `3G`, `512M`, `104858K`, `1.5T` or bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 10),
        (at, 'M') => (&text[..at], 20),
        (at, 'G') => (&text[..at], 30),
        (at, 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from((number << shift) / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_a_volume_id_stays_first() {
        let one = Property::parse("virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=7,firewall=1");
        let two = Property::parse("tag=7,firewall=1,virtio=BC:24:11:00:00:01,bridge=vmbr0");
        assert_eq!(one, two);
        let disk =
            Property::parse("local:200/base-200-disk-0.qcow2/202/vm-202-disk-0.qcow2,size=3G");
        assert_eq!(
            disk.head.as_deref(),
            Some("local:200/base-200-disk-0.qcow2/202/vm-202-disk-0.qcow2")
        );
        assert_eq!(Property::parse(&disk.to_string()), disk);
    }

    #[test]
    fn sizes_of_every_form_are_bytes() {
        for (text, bytes) in [
            ("3G", Some(3 << 30)),
            ("104858K", Some(104_858 << 10)),
            ("1.5T", Some(3 << 39)),
            ("1073741824", Some(1 << 30)),
            ("4M", Some(4 << 20)),
            ("", None),
            ("G", None),
            ("x", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
