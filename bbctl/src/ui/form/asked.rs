//! Turns kinds into what a form asks for to make one.

/// What a form asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What it is called.
    pub title: &'static str,
    /// Where it stands in the object.
    pub way: &'static str,
    /// Whether it has to be said.
    pub must: bool,
    /// Whether several may be said, with commas between.
    pub many: bool,
}

pub(super) const fn must(title: &'static str, way: &'static str) -> Asked {
    Asked {
        title,
        way,
        must: true,
        many: false,
    }
}

pub(super) const fn may(title: &'static str, way: &'static str) -> Asked {
    Asked {
        title,
        way,
        must: false,
        many: false,
    }
}

const fn many(title: &'static str, way: &'static str) -> Asked {
    Asked {
        title,
        way,
        must: false,
        many: true,
    }
}

/// What is asked for, by kind.
#[rustfmt::skip]
pub static FIELDS: &[(&str, &[Asked])] = &[
    ("tenant", &[
        must("name", "metadata"),
        many("admins", "spec/members/-/name"),
        many("editors", "spec/members/-/name"),
        many("regions", "spec/regions/-"),
    ]),
    ("network", &[
        must("name", "metadata"),
        must("namespace", "metadata"),
        must("prefix", "spec/ipv4/prefix"),
        may("gateway", "spec/ipv4/gateway"),
        many("zones", "spec/zones/-"),
        may("dhcp from", "spec/ipv4/dhcp/from"),
        may("dhcp to", "spec/ipv4/dhcp/to"),
        many("resolvers", "spec/dns/servers/-"),
    ]),
    ("instance", &[
        must("name", "metadata"),
        must("namespace", "metadata"),
        must("type", "spec/type"),
        must("image", "spec/image"),
        must("cpu", "spec/cpu"),
        must("memory", "spec/memory"),
        may("disk", "spec/disk"),
        must("network", "spec/networks/-/network"),
        may("address", "spec/networks/-/address"),
        many("volumes", "spec/volumes/-/volume"),
        may("ssh key", "spec/sshKeys/-"),
        may("zone", "spec/placement/zone"),
    ]),
    ("volume", &[
        must("name", "metadata"),
        must("namespace", "metadata"),
        must("size", "spec/size"),
        may("class", "spec/class"),
        may("zone", "spec/zone"),
        must("on delete", "spec/reclaimPolicy"),
    ]),
];
