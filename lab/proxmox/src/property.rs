//! Turns property strings (`local:1,format=qcow2`) into parts and parts into the order Proxmox reads back.

use std::collections::BTreeMap;

/// A property string: one leading value and named options.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Property {
    /// The value without a name, or that of the default key.
    pub head: String,
    /// Everything else; written in the order of the names.
    pub options: BTreeMap<String, String>,
}

impl Property {
    /// Splits at commas; a part without `=` is the head, so is one named `head_key`.
    pub(crate) fn parse(text: &str, head_key: &str) -> Self {
        let mut out = Self::default();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            match part.split_once('=') {
                None => out.head = part.to_owned(),
                Some((key, value)) if key == head_key => out.head = value.to_owned(),
                Some((key, value)) => {
                    out.options.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        out
    }

    /// Writes head first, then the options named in `first`, then the rest by name.
    pub(crate) fn render(&self, first: &[&str]) -> String {
        let mut parts = vec![self.head.clone()];
        for key in first {
            if let Some(value) = self.options.get(*key) {
                parts.push(format!("{key}={value}"));
            }
        }
        for (key, value) in &self.options {
            if !first.contains(&key.as_str()) {
                parts.push(format!("{key}={value}"));
            }
        }
        parts.join(",")
    }

    /// One option.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }
}

/// A disk or CD-ROM line of a QEMU guest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drive(pub Property);

impl Drive {
    pub(crate) fn parse(text: &str) -> Self {
        Self(Property::parse(text, "file"))
    }

    /// The volume id, or `none`, `STORAGE:GIB`, `STORAGE:cloudinit`.
    pub(crate) fn file(&self) -> &str {
        &self.0.head
    }

    pub(crate) fn is_cloudinit(&self) -> bool {
        let file = self.file();
        file == "cloudinit" || file.ends_with(":cloudinit") || file.contains("-cloudinit")
    }

    pub(crate) fn is_cdrom(&self) -> bool {
        self.0.get("media") == Some("cdrom") || self.is_cloudinit() || self.file() == "none"
    }

    /// Storage and GiB when the line asks for a new volume.
    pub(crate) fn wanted(&self) -> Option<(&str, f64)> {
        let (storage, size) = self.file().split_once(':')?;
        let plain = !size.is_empty()
            && size.chars().all(|c| c.is_ascii_digit() || c == '.')
            && !size.starts_with('.');
        if plain {
            Some((storage, size.parse().ok()?))
        } else {
            None
        }
    }

    pub(crate) fn render(&self) -> String {
        self.0.render(&[])
    }
}

/// A network line of a QEMU guest: `MODEL=MAC,bridge=...`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Nic {
    pub model: String,
    pub mac: Option<String>,
    pub options: BTreeMap<String, String>,
}

/// Card models QEMU guests may have.
const MODELS: &[&str] = &[
    "e1000",
    "e1000-82540em",
    "e1000-82544gc",
    "e1000-82545em",
    "e1000e",
    "i82551",
    "i82557b",
    "i82559er",
    "ne2k_isa",
    "ne2k_pci",
    "pcnet",
    "rtl8139",
    "virtio",
    "vmxnet3",
];

impl Nic {
    /// Reads a line; `None` when no model is named.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut nic = Self {
            model: String::new(),
            mac: None,
            options: BTreeMap::new(),
        };
        for part in text.split(',').filter(|p| !p.is_empty()) {
            match part.split_once('=') {
                None if MODELS.contains(&part) => nic.model = part.to_owned(),
                None => return None,
                Some((key, value)) if MODELS.contains(&key) => {
                    nic.model = key.to_owned();
                    nic.mac = Some(value.to_uppercase());
                }
                Some(("model", value)) => nic.model = value.to_owned(),
                Some(("macaddr", value)) => nic.mac = Some(value.to_uppercase()),
                Some((key, value)) => {
                    nic.options.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        (!nic.model.is_empty()).then_some(nic)
    }

    pub(crate) fn render(&self) -> String {
        let head = match &self.mac {
            Some(mac) => format!("{}={mac}", self.model),
            None => self.model.clone(),
        };
        Property {
            head,
            options: self.options.clone(),
        }
        .render(&[])
    }

    pub(crate) fn bridge(&self) -> Option<&str> {
        self.options.get("bridge").map(String::as_str)
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        self.options.get("tag").map(String::as_str)
    }
}

/// Lower-cases, splits, sorts and joins tags as an update stores them.
///
/// An update to the empty string is stored as one blank, as the product does.
pub(crate) fn unique_tags(text: &str) -> String {
    let tags: std::collections::BTreeSet<String> =
        split_list(text).map(str::to_lowercase).collect();
    if tags.is_empty() {
        return " ".to_owned();
    }
    tags.into_iter().collect::<Vec<_>>().join(";")
}

/// Splits a list at commas, semicolons, blanks and zero bytes.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', ' ', '\t', '\n', '\0'])
        .filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_keys_come_back_in_the_order_of_their_names() {
        let nic = Nic::parse("e1000=BC:24:11:00:00:01,bridge=vmbr0,tag=5,firewall=1");
        assert_eq!(
            nic.expect("a model is named").render(),
            "e1000=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=5"
        );
    }

    #[test]
    fn a_size_with_a_unit_is_a_volume_name() {
        assert_eq!(Drive::parse("local:1G").wanted(), None);
        assert_eq!(
            Drive::parse("local:0.1,format=qcow2").wanted(),
            Some(("local", 0.1))
        );
    }

    #[test]
    fn tags_are_lowered_deduplicated_and_sorted() {
        assert_eq!(unique_tags("b;a;B"), "a;b");
        assert_eq!(unique_tags("A B"), "a;b");
        assert_eq!(unique_tags(""), " ");
    }
}
