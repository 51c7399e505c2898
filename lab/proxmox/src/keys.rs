//! Turns the name of a config key into what it may hold, who may set it and when it takes effect.

use crate::format;
use crate::schema::{Kind, TEXT};

/// Splits `scsi7` into `scsi` and 7.
pub(crate) fn numbered(key: &str) -> Option<(&str, u32)> {
    let at = key.find(|c: char| c.is_ascii_digit())?;
    let (name, digits) = key.split_at(at);
    let plain = digits == "0" || !digits.starts_with('0');
    (plain && !name.is_empty()).then(|| Some((name, digits.parse().ok()?)))?
}

/// Whether a key of a QEMU guest names a disk slot.
pub(crate) fn is_drive(key: &str) -> bool {
    match numbered(key) {
        Some(("ide", n)) => n < 4,
        Some(("sata", n)) => n < 6,
        Some(("scsi", n)) => n < 31,
        Some(("virtio", n)) => n < 16,
        Some(("efidisk" | "tpmstate", 0)) => true,
        _ => false,
    }
}

pub(crate) fn is_unused(key: &str) -> bool {
    matches!(numbered(key), Some(("unused", n)) if n < 256)
}

pub(crate) fn is_net(key: &str) -> bool {
    matches!(numbered(key), Some(("net", n)) if n < 32)
}

/// Where a volume's key comes in the order the product goes through them: root file system and
/// mount points, then buses, each by number.
pub(crate) fn volume_order(key: &str) -> (usize, u32) {
    const BUSES: &[&str] = &["mp", "ide", "scsi", "virtio", "sata", "efidisk", "tpmstate"];
    match numbered(key) {
        Some((bus, n)) => {
            let at = BUSES.iter().position(|b| *b == bus);
            (at.map_or(BUSES.len() + 1, |i| i + 1), n)
        }
        None if key == "rootfs" => (0, 0),
        None => (BUSES.len() + 1, 0),
    }
}

/// The slots `disk=` of resize and move may name, in the product's order.
pub(crate) fn drive_names() -> Vec<String> {
    let mut out = Vec::new();
    for (bus, count) in [("ide", 4), ("scsi", 31), ("virtio", 16), ("sata", 6)] {
        out.extend((0..count).map(|n| format!("{bus}{n}")));
    }
    out.extend(["efidisk0".to_owned(), "tpmstate0".to_owned()]);
    out
}

const OSTYPES: &[&str] = &[
    "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24",
    "l26", "solaris",
];
const SCSIHW: &[&str] = &[
    "lsi",
    "lsi53c810",
    "virtio-scsi-pci",
    "virtio-scsi-single",
    "megasas",
    "pvscsi",
];
const LOCKS: &[&str] = &[
    "backup",
    "clone",
    "create",
    "migrate",
    "rollback",
    "snapshot",
    "snapshot-delete",
    "suspending",
    "suspended",
];
const LXC_LOCKS: &[&str] = &[
    "backup",
    "create",
    "destroyed",
    "disk",
    "fstrim",
    "migrate",
    "mounted",
    "rollback",
    "snapshot",
    "snapshot-delete",
];

/// What a config key of a QEMU guest may hold; `None` for no such key.
pub(crate) fn qemu(key: &str) -> Option<Kind> {
    Some(match key {
        "acpi" | "autostart" | "ciupgrade" | "freeze" | "kvm" | "localtime" | "numa" | "onboot"
        | "protection" | "reboot" | "tablet" | "tdf" | "template" => Kind::Bool,
        "cores" | "sockets" | "vcpus" => Kind::Int(1, 8192),
        "balloon" | "shares" | "cpuunits" => Kind::Int(0, 1 << 32),
        "cpulimit" | "migrate_downtime" | "migrate_speed" => Kind::Num,
        "memory" => Kind::Format(format::memory),
        "name" => format::DNS_NAME,
        "description" => Kind::Text(8192),
        "tags" => format::TAGS,
        "ostype" => Kind::Enum(OSTYPES),
        "scsihw" => Kind::Enum(SCSIHW),
        "bios" => Kind::Enum(&["seabios", "ovmf"]),
        "lock" => Kind::Enum(LOCKS),
        "citype" => Kind::Enum(&["configdrive2", "nocloud", "opennebula"]),
        "sshkeys" => format::URL_ENCODED,
        "agent"
        | "arch"
        | "args"
        | "affinity"
        | "audio0"
        | "boot"
        | "bootdisk"
        | "cdrom"
        | "cicustom"
        | "cipassword"
        | "ciuser"
        | "cpu"
        | "hookscript"
        | "hotplug"
        | "hugepages"
        | "ivshmem"
        | "keyboard"
        | "machine"
        | "nameserver"
        | "rng0"
        | "searchdomain"
        | "smbios1"
        | "spice_enhancements"
        | "startdate"
        | "startup"
        | "vga"
        | "vmgenid"
        | "vmstatestorage"
        | "watchdog"
        | "allow-ksm"
        | "running-nets-host-mtu" => TEXT,
        _ if is_drive(key) => Kind::Format(format::disk),
        _ if is_unused(key) => TEXT,
        _ if is_net(key) => Kind::Format(format::net),
        _ => match numbered(key)? {
            ("ipconfig", n) if n < 32 => Kind::Format(format::ip_config),
            ("serial" | "parallel", n) if n < 4 => TEXT,
            ("usb", n) if n < 14 => TEXT,
            ("hostpci", n) if n < 16 => TEXT,
            ("numa", n) if n < 8 => TEXT,
            _ => return None,
        },
    })
}

/// What a config key of a container may hold; `None` for no such key.
pub(crate) fn lxc(key: &str) -> Option<Kind> {
    Some(match key {
        "console" | "debug" | "onboot" | "protection" | "template" | "unprivileged" => Kind::Bool,
        "cores" => Kind::Int(1, 8192),
        "memory" => Kind::Int(16, 1 << 32),
        "swap" | "cpuunits" => Kind::Int(0, 1 << 32),
        "tty" => Kind::Int(0, 6),
        "cpulimit" => Kind::Num,
        "hostname" => format::DNS_NAME,
        "description" => Kind::Text(8192),
        "tags" => format::TAGS,
        "lock" => Kind::Enum(LXC_LOCKS),
        "arch" => Kind::Enum(&["amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"]),
        "cmode" => Kind::Enum(&["shell", "console", "tty"]),
        "features" | "hookscript" | "nameserver" | "searchdomain" | "startup" | "timezone"
        | "ostype" | "entrypoint" | "env" => TEXT,
        "rootfs" => Kind::Format(format::mount_point),
        _ if is_unused(key) => TEXT,
        _ if is_net(key) => Kind::Format(format::lxc_net),
        _ => match numbered(key)? {
            ("mp", n) if n < 256 => Kind::Format(format::mount_point),
            ("dev", n) if n < 256 => TEXT,
            _ => return None,
        },
    })
}

/// Whether a container's key names a volume.
pub(crate) fn is_mount(key: &str) -> bool {
    key == "rootfs" || matches!(numbered(key), Some(("mp", n)) if n < 256)
}

/// Whether a key reads back as a number. QEMU's `memory` is text, a container's is not.
pub(crate) fn is_number(kind: crate::model::GuestKind, key: &str) -> bool {
    let known = match kind {
        crate::model::GuestKind::Qemu => qemu(key),
        crate::model::GuestKind::Lxc => lxc(key),
    };
    matches!(known, Some(Kind::Bool | Kind::Int(..) | Kind::Num))
}

/// Who may change a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// One privilege on the guest.
    Guest(&'static str),
    /// Either of two privileges on the guest.
    Either(&'static str, &'static str),
    /// A privilege on `/`.
    Root(&'static str),
    /// Judged by the value, elsewhere.
    ByValue,
    /// root@pam with a ticket.
    Superuser,
}

/// Who may change a key of a QEMU guest.
pub(crate) fn qemu_right(key: &str) -> Right {
    match key {
        "cores" | "sockets" | "vcpus" | "cpu" | "cpulimit" | "cpuunits" | "numa" => {
            Right::Guest("VM.Config.CPU")
        }
        "memory" | "balloon" | "shares" | "allow-ksm" | "hugepages" => {
            Right::Guest("VM.Config.Memory")
        }
        "acpi" | "hotplug" | "kvm" | "machine" | "scsihw" | "smbios1" | "tablet" | "vga"
        | "watchdog" | "audio0" | "rng0" | "arch" | "spice_enhancements" | "vmgenid" => {
            Right::Guest("VM.Config.HWType")
        }
        "agent" | "autostart" | "bios" | "description" | "keyboard" | "localtime"
        | "migrate_downtime" | "migrate_speed" | "name" | "onboot" | "ostype" | "protection"
        | "reboot" | "startdate" | "tdf" | "template" | "tags" | "affinity" => {
            Right::Guest("VM.Config.Options")
        }
        "boot" | "bootdisk" | "vmstatestorage" => Right::Guest("VM.Config.Disk"),
        "freeze" => Right::Guest("VM.PowerMgmt"),
        "startup" => Right::Root("Sys.Modify"),
        "ciuser" | "cipassword" | "citype" | "ciupgrade" | "sshkeys" | "nameserver"
        | "searchdomain" | "cicustom" => Right::Either("VM.Config.Cloudinit", "VM.Config.Network"),
        "cdrom" => Right::ByValue,
        _ if is_drive(key) => Right::ByValue,
        _ if is_unused(key) => Right::Guest("VM.Config.Disk"),
        _ if is_net(key) => Right::Guest("VM.Config.Network"),
        _ => match numbered(key) {
            Some(("ipconfig", _)) => Right::Either("VM.Config.Cloudinit", "VM.Config.Network"),
            Some(("numa", _)) => Right::Guest("VM.Config.CPU"),
            Some(("serial" | "usb" | "hostpci", _)) => Right::ByValue,
            _ => Right::Superuser,
        },
    }
}

/// Who may change a key of a container.
pub(crate) fn lxc_right(key: &str) -> Right {
    match key {
        "cores" | "cpulimit" | "cpuunits" => Right::Guest("VM.Config.CPU"),
        "memory" | "swap" => Right::Guest("VM.Config.Memory"),
        "hostname" | "nameserver" | "searchdomain" => Right::Guest("VM.Config.Network"),
        "features" | "unprivileged" => Right::Guest("VM.Allocate"),
        "lock" | "hookscript" | "entrypoint" | "env" => Right::Superuser,
        _ if is_mount(key) || is_unused(key) => Right::Guest("VM.Config.Disk"),
        _ if is_net(key) => Right::Guest("VM.Config.Network"),
        _ => match numbered(key) {
            Some(("dev", _)) => Right::Superuser,
            _ => Right::Guest("VM.Config.Options"),
        },
    }
}

/// Whether a change of a key reaches a running QEMU guest at once.
pub(crate) fn is_live(key: &str) -> bool {
    matches!(
        key,
        "autostart"
            | "description"
            | "hookscript"
            | "lock"
            | "migrate_downtime"
            | "migrate_speed"
            | "name"
            | "onboot"
            | "protection"
            | "shares"
            | "startup"
            | "tags"
            | "vmstatestorage"
            | "cpulimit"
            | "cpuunits"
            | "balloon"
            | "template"
            | "ciuser"
            | "cipassword"
            | "citype"
            | "ciupgrade"
            | "sshkeys"
            | "nameserver"
            | "searchdomain"
            | "cicustom"
    ) || is_net(key)
        || is_unused(key)
        || matches!(numbered(key), Some(("ipconfig" | "usb", _)))
}
