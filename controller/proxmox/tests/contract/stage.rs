//! Sets up a stand-in, a driver on it, and the part of the shell that records statuses.

use std::time::{Duration, Instant};

use bb_core::proxmox::mark;
use bb_core::proxmox::model::{
    Attachment, ClusterSettings, Desired, DesiredGuest, DesiredNic, DesiredVolume, Fate,
    GuestState, More, PassReport, Power, Source, VolumeState,
};
use bb_crds::ids::{VlanId, Vmid};
use bb_lab_kit::journal::Entry;
use bb_lab_proxmox::{Config, ProxmoxLab, Running};
use bb_proxmox::{Cluster, Credentials, Driver, Endpoint, PassError, Secret, Trust};

/// How long anything may take here.
const BOUND: Duration = Duration::from_secs(60);

/// The first pause after a failure: short, so that what is tried again is tried again soon.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

pub(crate) const HOLDER: u32 = 900;
pub(crate) const TEMPLATE: u32 = 9000;

pub(crate) fn vmid(raw: u32) -> Vmid {
    Vmid::try_from(raw).unwrap()
}

/// A stand-in and a driver on it.
pub(crate) struct Stage {
    pub(crate) lab: Running,
    pub(crate) driver: Driver,
    pub(crate) desired: Desired,
    pub(crate) last: PassReport,
}

pub(crate) fn endpoint(lab: &Running) -> Endpoint {
    let header = lab.tokens.values().next().unwrap();
    let token = header.strip_prefix("PVEAPIToken=").unwrap();
    let credentials = Credentials::Token(Secret::new(token));
    Endpoint::new(
        vec![lab.api.clone()],
        credentials,
        Trust::Ca(lab.ca_pem.clone()),
    )
}

/// A driver that looks at tasks whenever it is asked for a pass.
fn quick(cluster: Cluster) -> Driver {
    Driver::new(cluster)
        .pausing(PAUSE)
        .looking_within(Duration::from_millis(1))
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::reached(config, endpoint).await
    }

    /// A stand-in, and a driver on it that reaches it in a way of its own.
    pub(crate) async fn reached(config: Config, how: fn(&Running) -> Endpoint) -> Self {
        let lab = ProxmoxLab::start(config).await.unwrap();
        let cluster = Cluster::connect(how(&lab)).await.unwrap();
        let desired = Desired {
            cluster: settings(),
            guests: Vec::new(),
            volumes: Vec::new(),
        };
        Self {
            lab,
            driver: quick(cluster),
            desired,
            last: PassReport::default(),
        }
    }

    /// A driver that knows nothing, as after a restart.
    pub(crate) async fn restart(&mut self) {
        let cluster = Cluster::connect(endpoint(&self.lab)).await.unwrap();
        self.driver = quick(cluster);
    }

    /// One pass, and its outcome recorded as the shell does.
    pub(crate) async fn pass(&mut self) -> &PassReport {
        self.attempt().await.unwrap();
        &self.last
    }

    /// The same, where the cluster may not answer at all.
    pub(crate) async fn attempt(&mut self) -> Result<(), PassError> {
        self.last = self.driver.pass(&self.desired).await?;
        for guest in &mut self.desired.guests {
            if let GuestState::Settled { fingerprint } = &self.last.guests[&guest.uid].state {
                guest.settled = Some(fingerprint.clone());
            }
        }
        for volume in &mut self.desired.volumes {
            if matches!(
                self.last.volumes[&volume.uid].state,
                VolumeState::Settled { .. }
            ) {
                volume.settled = true;
            }
        }
        Ok(())
    }

    /// Passes until one leaves things as `wanted` says.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&PassReport) -> bool) {
        let begun = Instant::now();
        loop {
            self.pass().await;
            if wanted(&self.last) {
                return;
            }
            assert!(begun.elapsed() < BOUND, "never {what}: {:#?}", self.last);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Passes until the stand-in is as `wanted` says.
    pub(crate) async fn until_lab(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !wanted(self) {
            assert!(begun.elapsed() < BOUND, "never {what}: {:#?}", self.last);
            self.pass().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Passes until everything is settled and idle.
    pub(crate) async fn settle(&mut self) {
        self.until("settled", |report| {
            report.more == More::Idle
                && report
                    .guests
                    .values()
                    .all(|g| matches!(g.state, GuestState::Settled { .. }))
                && report
                    .volumes
                    .values()
                    .all(|v| matches!(v.state, VolumeState::Settled { .. }))
        })
        .await;
    }

    /// Asks for everything to go, and passes until it is gone.
    pub(crate) async fn clear(&mut self) {
        self.desired
            .guests
            .iter_mut()
            .for_each(|guest| guest.fate = Fate::Destroy);
        self.desired
            .volumes
            .iter_mut()
            .for_each(|volume| volume.fate = Fate::Destroy);
        self.until("gone", |report| {
            report
                .guests
                .values()
                .all(|guest| guest.state == GuestState::Gone)
                && report
                    .volumes
                    .values()
                    .all(|volume| volume.state == VolumeState::Gone)
        })
        .await;
    }

    pub(crate) fn state(&self, uid: &str) -> &GuestState {
        &self.last.guests[uid].state
    }

    /// The configuration of a guest, as a person sees it on a node.
    pub(crate) fn config(&self, id: u32, key: &str) -> Option<String> {
        self.lab
            .with(|cluster| cluster.guests.get(&id)?.config.get(key).cloned())
    }

    pub(crate) fn runs(&self, id: u32) -> Option<bool> {
        self.lab
            .with(|cluster| Some(cluster.guests.get(&id)?.is_running()))
    }

    /// Has a person change a guest behind our back.
    pub(crate) fn edit(&self, id: u32, key: &str, value: &str) {
        self.lab.with(|cluster| {
            let guest = cluster.guests.get_mut(&id).unwrap();
            guest.config.insert(key.to_owned(), value.to_owned());
        });
    }

    /// The calls since the journal had `from` entries, as `METHOD PATH`.
    pub(crate) fn calls(&self, from: usize) -> Vec<String> {
        let line = |entry: &Entry| format!("{} {}", entry.method, entry.path);
        self.lab.journal().iter().skip(from).map(line).collect()
    }
}

pub(crate) fn settings() -> ClusterSettings {
    ClusterSettings {
        installation: "c1".into(),
        pool: "bitbuilder".into(),
        holder: Some(vmid(HOLDER)),
        vmids: (5000, 5999),
        clones: 4,
        tasks: 16,
        observe_only: false,
    }
}

pub(crate) fn vm(id: u32, volumes: &[&str]) -> DesiredGuest {
    DesiredGuest {
        uid: format!("guest-{id}"),
        namespace: "acme".into(),
        name: format!("web{id}"),
        vmid: vmid(id),
        source: Source::Template {
            vmid: vmid(TEMPLATE),
            full: false,
            storage: None,
        },
        cores: 2,
        memory_mib: 1024,
        disk_gib: Some(8),
        nics: vec![DesiredNic {
            bridge: "vmbr0".into(),
            vlan: VlanId::try_from(100).unwrap(),
            mac: format!("BC:24:11:00:{:02X}:{:02X}", id >> 8 & 0xff, id & 0xff),
            address: [10, 0, 0, 9].into(),
            prefix_len: 24,
            gateway: Some([10, 0, 0, 1].into()),
            mtu: None,
        }],
        dns_servers: vec!["10.0.0.1".into()],
        dns_domain: Some("acme.example".into()),
        ssh_keys: vec![
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPXd1d0y0bq3wq8mQ0mS4m5J0p8y2m9b1yqG6Vx1k0aa op@x"
                .into(),
        ],
        volumes: volumes.iter().map(|uid| attachment(uid)).collect(),
        power: Power::Running,
        fate: Fate::Keep,
        settled: None,
        observe: false,
        adopt: None,
    }
}

pub(crate) fn container(id: u32) -> DesiredGuest {
    let source = Source::Archive {
        volid: "local:vztmpl/alpine-3.20.tar.zst".into(),
        storage: "ssd".into(),
        disk_gib: 4,
    };
    DesiredGuest {
        source,
        disk_gib: None,
        ..vm(id, &[])
    }
}

pub(crate) fn attachment(uid: &str) -> Attachment {
    Attachment {
        volume_uid: uid.to_owned(),
        volid_name: mark::volume_name(vmid(HOLDER), uid),
        serial: mark::serial(uid),
    }
}

pub(crate) fn volume(uid: &str, attached_to: Option<&str>) -> DesiredVolume {
    DesiredVolume {
        uid: uid.to_owned(),
        namespace: "acme".into(),
        name: format!("data-{uid}"),
        storage: "ssd".into(),
        size_gib: 10,
        fate: Fate::Keep,
        attached_to: attached_to.map(str::to_owned),
        settled: false,
        observe: false,
        placed: true,
    }
}
