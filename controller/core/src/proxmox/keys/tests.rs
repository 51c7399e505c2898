//! Shows which keys are written for a guest, and that what was written is not written again.

use bb_crds::ids::VlanId;

use super::*;
use crate::proxmox::model::Fate;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPXd+/0y op@x";

fn nic(last: u8, vlan: u32) -> DesiredNic {
    DesiredNic {
        bridge: "vmbr0".into(),
        vlan: VlanId::try_from(vlan).unwrap(),
        mac: format!("bc:24:11:00:00:{last:02x}"),
        address: [10, 0, 0, last].into(),
        prefix_len: 24,
        gateway: (last == 5).then(|| [10, 0, 0, 1].into()),
        mtu: None,
    }
}

fn guest() -> DesiredGuest {
    DesiredGuest {
        uid: "u-1".into(),
        namespace: "acme".into(),
        name: "web".into(),
        vmid: Vmid::try_from(5001).unwrap(),
        source: Source::Template {
            vmid: Vmid::try_from(9000).unwrap(),
            full: false,
            storage: None,
        },
        cores: 2,
        memory_mib: 2048,
        disk_gib: Some(10),
        nics: vec![nic(5, 10), nic(6, 11)],
        dns_servers: vec!["10.0.0.1".into(), "10.0.0.2".into()],
        dns_domain: Some("acme.example".into()),
        ssh_keys: vec![KEY.into()],
        volumes: Vec::new(),
        power: Power::Running,
        fate: Fate::Keep,
        settled: None,
        observe: false,
        adopt: None,
    }
}

fn container() -> DesiredGuest {
    let source = Source::Archive {
        volid: "local:vztmpl/a.tar.zst".into(),
        storage: "local".into(),
        disk_gib: 4,
    };
    DesiredGuest { source, ..guest() }
}

fn config(pairs: &[(&str, &str)]) -> GuestConfig {
    let current = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    GuestConfig {
        current,
        ..GuestConfig::default()
    }
}

fn template() -> GuestConfig {
    config(&[
        ("boot", "order=scsi0;ide2;net0"),
        ("memory", "64"),
        ("name", "web"),
        ("net0", "virtio=BC:24:11:15:44:A4,bridge=vmbr0,firewall=1"),
        ("net1", "virtio=BC:24:11:15:44:A5,bridge=vmbr9"),
        ("net2", "virtio=BC:24:11:15:44:A6,bridge=vmbr9"),
        (
            "scsi0",
            "local:9000/base-9000-disk-0.qcow2/5001/vm-5001-disk-0.qcow2,size=1G",
        ),
        (
            "ide2",
            "local:5001/vm-5001-cloudinit.qcow2,media=cdrom,size=4M",
        ),
        ("tags", "tmpl"),
        ("sockets", "2"),
    ])
}

fn written(guest: &DesiredGuest, config: &GuestConfig) -> GuestConfig {
    let diff = diff("c1", None, guest, &Disks::new(), config);
    let mut next = config.clone();
    next.current.extend(diff.set);
    next.current.retain(|key, _| !diff.delete.contains(key));
    next
}

#[test]
fn a_fresh_clone_gets_everything_in_one_write() {
    let diff = diff("c1", None, &guest(), &Disks::new(), &template());
    let lines: Vec<String> = diff.set.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    cores: 2
    ipconfig0: ip=10.0.0.5/24,gw=10.0.0.1
    ipconfig1: ip=10.0.0.6/24
    memory: 2048
    nameserver: 10.0.0.1 10.0.0.2
    net0: virtio=BC:24:11:00:00:05,bridge=vmbr0,tag=10
    net1: virtio=BC:24:11:00:00:06,bridge=vmbr0,tag=11
    onboot: 1
    searchdomain: acme.example
    sockets: 1
    sshkeys: ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIPXd%2B%2F0y%20op%40x
    tags: bb-d0f631ca-a24a7f55f278;tmpl
    ");
    assert_eq!(diff.delete, BTreeSet::from(["net2".to_owned()]));
}

#[test]
fn what_was_written_is_not_written_again() {
    let first = written(&guest(), &template());
    assert!(diff("c1", None, &guest(), &Disks::new(), &first).is_empty());
    let first = written(&container(), &GuestConfig::default());
    assert!(diff("c1", None, &container(), &Disks::new(), &first).is_empty());
}

#[test]
fn values_are_compared_by_meaning_as_proxmox_gives_them_back() {
    let mut seen = written(&guest(), &template());
    for (key, value) in [
        (
            "net0",
            "virtio=BC:24:11:00:00:05,bridge=vmbr0,firewall=1,tag=10",
        ),
        ("memory", "current=2048"),
        ("ipconfig0", "gw=10.0.0.1,ip=10.0.0.5/24"),
        ("nameserver", "10.0.0.1,10.0.0.2"),
        (
            "sshkeys",
            "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIPXd%2b%2F0y%20op%40x%0A",
        ),
    ] {
        seen.current.insert(key.into(), value.into());
    }
    assert_eq!(
        diff("c1", None, &guest(), &Disks::new(), &seen),
        KeyDiff::default()
    );
}

#[test]
fn what_people_set_on_a_card_of_ours_survives_a_rewrite() {
    let mut seen = written(&guest(), &template());
    let rated = "virtio=BC:24:11:00:00:05,bridge=vmbr0,firewall=1,rate=10,tag=99";
    seen.current.insert("net0".into(), rated.into());
    let diff = diff("c1", None, &guest(), &Disks::new(), &seen);
    let kept = "virtio=BC:24:11:00:00:05,bridge=vmbr0,firewall=1,rate=10,tag=10";
    assert_eq!(
        diff.set,
        BTreeMap::from([("net0".to_owned(), kept.to_owned())])
    );
}

#[test]
fn a_card_keeps_its_slot_when_the_one_before_it_goes() {
    let seen = written(&guest(), &template());
    let one = DesiredGuest {
        nics: vec![nic(6, 11)],
        ..guest()
    };
    let diff = diff("c1", None, &one, &Disks::new(), &seen);
    assert_eq!(diff.set, BTreeMap::new());
    assert_eq!(diff.delete, ["ipconfig0", "net0"].map(String::from).into());
}

#[test]
fn a_pending_value_counts_as_written_and_is_named() {
    let mut seen = written(&guest(), &template());
    seen.current.insert("memory".into(), "64".into());
    seen.pending.insert("memory".into(), Some("2048".into()));
    assert!(diff("c1", None, &guest(), &Disks::new(), &seen).is_empty());
    assert_eq!(seen.waiting(), ["memory"]);
}

fn attachment(uid: &str) -> Attachment {
    let holder = Vmid::try_from(900).unwrap();
    Attachment {
        volume_uid: uid.into(),
        volid_name: mark::volume_name(holder, uid),
        serial: mark::serial(uid),
    }
}

#[test]
fn a_volume_stays_in_its_slot_and_one_that_is_not_wanted_leaves() {
    let holder = Vmid::try_from(900).ok();
    let wanted = DesiredGuest {
        volumes: vec![attachment("b"), attachment("c")],
        ..guest()
    };
    let disks: Disks = ["b", "c"]
        .map(|uid| {
            (
                uid.to_owned(),
                (format!("ceph:vm-900-pvc-{uid}"), attachment(uid)),
            )
        })
        .into();
    let mut seen = written(&guest(), &template());
    seen.current
        .insert("scsi1".into(), "ceph:vm-900-pvc-a,size=1G".into());
    let b = format!("ceph:vm-900-pvc-b,serial={},size=1G", mark::serial("b"));
    seen.current.insert("scsi2".into(), b);
    let diff = diff("c1", holder, &wanted, &disks, &seen);
    assert_eq!(diff.delete, ["scsi1".to_owned()].into());
    let c = format!("ceph:vm-900-pvc-c,serial={}", mark::serial("c"));
    assert_eq!(diff.set, [("scsi3".to_owned(), c)].into());
}

#[test]
fn a_disk_that_the_guest_did_not_let_go_of_still_counts_as_attached() {
    let holder = Vmid::try_from(900).unwrap();
    let mut seen = template();
    seen.current
        .insert("scsi1".into(), "ceph:vm-900-pvc-a,size=2G".into());
    seen.pending.insert("scsi1".into(), None);
    let found = attached(holder, &seen);
    let bytes = Some(2 << 30);
    assert_eq!(
        found["a"],
        Attached {
            key: "scsi1".into(),
            bytes,
            leaving: true
        }
    );
}

#[test]
fn the_root_disk_is_the_first_disk_of_the_boot_order() {
    let root = root_disk(Kind::Vm, &template()).unwrap();
    assert_eq!(
        root,
        RootDisk {
            key: "scsi0".into(),
            bytes: Some(1 << 30)
        }
    );
    let other = config(&[
        ("boot", "order=ide2;virtio0"),
        ("ide2", "local:iso/x.iso,media=cdrom"),
        ("virtio0", "a:b,size=512M"),
        ("scsi0", "a:c,size=1G"),
    ]);
    assert_eq!(root_disk(Kind::Vm, &other).unwrap().key, "virtio0");
}

#[test]
fn a_cloud_init_drive_is_a_cdrom_of_that_name() {
    assert!(has_cloud_init(&template()));
    let bare = [
        ("ide2", "local:iso/x.iso,media=cdrom"),
        ("scsi1", "a:cloudinit,size=1G"),
    ];
    assert!(!has_cloud_init(&config(&bare)));
}

#[test]
fn the_fingerprint_moves_with_whatever_is_written_and_with_nothing_else() {
    let base = fingerprint(&guest());
    let same = DesiredGuest {
        settled: Some("x".into()),
        fate: Fate::Hold,
        ..guest()
    };
    assert_eq!(fingerprint(&same), base);
    let changed = [
        DesiredGuest {
            cores: 3,
            ..guest()
        },
        DesiredGuest {
            memory_mib: 1,
            ..guest()
        },
        DesiredGuest {
            disk_gib: None,
            ..guest()
        },
        DesiredGuest {
            nics: vec![nic(5, 10)],
            ..guest()
        },
        DesiredGuest {
            ssh_keys: Vec::new(),
            ..guest()
        },
        DesiredGuest {
            volumes: vec![attachment("a")],
            ..guest()
        },
        DesiredGuest {
            power: Power::Stopped,
            ..guest()
        },
        DesiredGuest {
            dns_domain: None,
            ..guest()
        },
    ];
    let all: BTreeSet<String> = changed.iter().map(fingerprint).collect();
    assert!(all.len() == changed.len() && !all.contains(&base));
}

#[test]
fn a_container_is_described_whole_in_one_call() {
    let all = container_parameters("c1", "tenants", &container());
    let lines: Vec<String> = all.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    cores: 2
    description: bitbuilder c1/u-1 acme/web
    features: nesting=1
    hostname: web
    memory: 2048
    nameserver: 10.0.0.1 10.0.0.2
    net0: name=eth0,bridge=vmbr0,ip=10.0.0.5/24,gw=10.0.0.1,hwaddr=BC:24:11:00:00:05,tag=10,type=veth
    net1: name=eth1,bridge=vmbr0,ip=10.0.0.6/24,hwaddr=BC:24:11:00:00:06,tag=11,type=veth
    onboot: 1
    ostemplate: local:vztmpl/a.tar.zst
    pool: tenants
    rootfs: local:10
    searchdomain: acme.example
    ssh-public-keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPXd+/0y op@x
    tags: bb-d0f631ca-a24a7f55f278
    unprivileged: 1
    vmid: 5001
    ");
}
