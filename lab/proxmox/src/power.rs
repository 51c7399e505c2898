//! Turns start, stop, shutdown and their like into the state of a guest's process.

use serde_json::{Value, json};

use crate::call::Call;
use crate::clone::bridge_of;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Cluster, GuestKind, Power};
use crate::property::{Drive, Property};
use crate::refusal::{Answer, Refusal};
use crate::update::check_lock;

/// Seconds a shutdown waits for the guest when nobody says.
const SHUTDOWN_TIMEOUT: f64 = 60.0;
/// MTU of every bridge.
const BRIDGE_MTU: u32 = 1500;
/// Seconds a guest that answers takes to shut down.
const ANSWERED: f64 = 2.0;

/// What a power call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Shutdown,
    Reboot,
    Reset,
    Suspend,
    Resume,
}

impl Verb {
    fn task(self, kind: GuestKind) -> String {
        let word = match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Shutdown => "shutdown",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Suspend if kind == GuestKind::Qemu => "pause",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        };
        format!(
            "{}{word}",
            if kind == GuestKind::Qemu { "qm" } else { "vz" }
        )
    }
}

impl Cluster {
    /// `POST /nodes/N/{qemu,lxc}/ID/status/VERB`.
    pub(crate) fn power(&mut self, call: &Call<'_>, kind: GuestKind, verb: Verb) -> Answer<Value> {
        let skip = call.check_skiplock()?;
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        self.check_power_now(kind, verb, &node, vmid)?;
        if call.p.flag("overrule-shutdown") {
            self.overrule_shutdown(kind, vmid);
        }
        let work: Box<dyn Work> = match verb {
            Verb::Start => {
                let mut work = StartWork::new(kind, &node, vmid, skip);
                work.machine = call.p.get("machine").map(str::to_owned);
                Box::new(work)
            }
            Verb::Shutdown | Verb::Reboot => Box::new(ShutdownWork {
                kind,
                node: node.clone(),
                vmid,
                timeout: call.p.int("timeout").map_or(SHUTDOWN_TIMEOUT, |t| t as f64),
                force: call.p.flag("forceStop"),
                again: verb == Verb::Reboot,
                skip,
            }),
            _ => Box::new(SimpleWork {
                kind,
                node: node.clone(),
                vmid,
                verb,
                skip,
            }),
        };
        Ok(json!(self.fork(
            &node,
            &verb.task(kind),
            &vmid.to_string(),
            call.who,
            work
        )))
    }

    /// What is refused before a task is made: containers judge their state at once, VMs only
    /// for the verbs that need a process.
    fn check_power_now(&self, kind: GuestKind, verb: Verb, node: &str, vmid: u32) -> Answer<()> {
        let running = self
            .guests
            .get(&vmid)
            .is_some_and(crate::model::Guest::is_running);
        let noun = kind.noun();
        match (kind, verb) {
            (GuestKind::Lxc, Verb::Start) if running => {
                Err(Refusal::fail(format!("{noun} {vmid} already running")))
            }
            (GuestKind::Lxc, Verb::Stop | Verb::Shutdown | Verb::Reboot)
            | (_, Verb::Reset | Verb::Suspend | Verb::Resume | Verb::Reboot) => {
                self.require(kind, node, vmid)?;
                if running {
                    return Ok(());
                }
                Err(Refusal::fail(format!("{noun} {vmid} not running")))
            }
            _ => Ok(()),
        }
    }

    fn overrule_shutdown(&mut self, kind: GuestKind, vmid: u32) {
        let word = Verb::Shutdown.task(kind);
        let id = vmid.to_string();
        let running = self.tasks.all.iter();
        let hit: Vec<u64> = running
            .filter(|(_, t)| t.is_running() && t.kind == word && t.id == id)
            .map(|(n, _)| *n)
            .collect();
        for number in hit {
            self.interrupt_task(number);
        }
    }

    /// Starts a guest's process.
    pub fn switch_on(&mut self, vmid: u32) {
        self.drawn += 1;
        let pid = 100_000 + self.drawn as u32 % 900_000;
        let since = self.now;
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.power = Power::Running {
                since,
                pid,
                paused: false,
            };
        }
    }

    /// Ends a guest's process; what waited for that takes effect.
    pub fn switch_off(&mut self, vmid: u32) {
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.power = Power::Stopped;
        }
        self.apply_pending(vmid);
    }

    /// Judges a start: what has to be there, and what QEMU warns of.
    fn check_start(&self, vmid: u32, node: &str, kind: GuestKind, skip: bool) -> Answer<u32> {
        let guest = self.guest_on(kind, node, vmid)?;
        if guest.is_template() {
            let what = if kind == GuestKind::Qemu {
                "vm"
            } else {
                "container"
            };
            let text = format!("you can't start a {what} if it's a template");
            return Err(Refusal::fail(text));
        }
        if !skip {
            check_lock(guest)?;
        }
        if guest.is_running() {
            return Err(Refusal::fail(format!(
                "{} {vmid} already running",
                kind.noun()
            )));
        }
        if kind == GuestKind::Qemu && !self.world.kvm && guest.get("kvm") != Some("0") {
            return Err(Refusal::fail(
                "KVM virtualisation configured, but not available. Either disable in VM \
                 configuration or enable in BIOS.",
            ));
        }
        let mut warnings = 0;
        for (key, line) in &guest.config {
            let volume = keys::is_drive(key) || keys::is_mount(key);
            let drive = Drive::parse(line);
            if volume && drive.file().contains(':') && !drive.file().contains(":iso/") {
                self.known_volume(node, drive.file())?;
            }
            let single = guest.get("scsihw") == Some("virtio-scsi-single");
            let threads = drive.0.get("iothread") == Some("1");
            if keys::is_drive(key) && threads && !single && !key.starts_with("virtio") {
                warnings += 1;
            }
            if keys::is_net(key) {
                self.check_bridge_is_up(node, kind, key, line)?;
            }
        }
        if let Some(custom) = guest.get("cicustom") {
            for (_, volid) in Property::parse(custom, "").options {
                self.known_volume(node, &volid)?;
            }
        }
        Ok(warnings)
    }

    fn check_bridge_is_up(&self, node: &str, kind: GuestKind, key: &str, line: &str) -> Answer<()> {
        let (Some(bridge), _) = bridge_of(kind, line) else {
            return Ok(());
        };
        let local = self
            .nodes
            .get(node)
            .is_some_and(|n| n.bridges.contains(&bridge));
        if !local && !self.sdn.runs_vnet(&bridge) {
            return Err(Refusal::fail(format!("bridge '{bridge}' does not exist")));
        }
        if !local && self.sdn.zone_of(&bridge).is_none() {
            // The vnet is about to go: its bridge is up, its definition is not there.
            return Err(Refusal::fail("start failed: QEMU exited with code 1"));
        }
        let nic = Property::parse(line, "");
        let mtu = nic
            .get("mtu")
            .and_then(|m| m.parse::<u32>().ok())
            .unwrap_or(0);
        if kind == GuestKind::Qemu && mtu > BRIDGE_MTU {
            return Err(Refusal::fail(format!(
                "netdev {key}: MTU '{mtu}' is bigger than the bridge MTU '{BRIDGE_MTU}' - adjust \
                 the MTU for the network device in the VM configuration, while ensuring that the \
                 bridge is configured as desired."
            )));
        }
        Ok(())
    }
}

/// A start under way.
#[derive(Debug)]
pub(crate) struct StartWork {
    kind: GuestKind,
    node: String,
    vmid: u32,
    skip: bool,
    /// The machine type asked for in place of the config's.
    machine: Option<String>,
    warnings: u32,
}

/// Whether a machine type is older than any QEMU still knows.
fn is_forgotten(machine: &str) -> bool {
    let version = machine.rsplit('-').next().unwrap_or_default();
    let major = version.split('.').next().unwrap_or_default();
    machine.starts_with("pc-") && major.parse::<u32>().is_ok_and(|n| n < 2)
}

impl StartWork {
    pub(crate) fn new(kind: GuestKind, node: &str, vmid: u32, skip: bool) -> Self {
        Self {
            kind,
            node: node.to_owned(),
            vmid,
            skip,
            machine: None,
            warnings: 0,
        }
    }
}

impl Work for StartWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => {
                // Changes that waited take effect first.
                if cluster
                    .guests
                    .get(&self.vmid)
                    .is_some_and(|g| !g.is_running())
                {
                    cluster.apply_pending(self.vmid);
                }
                match cluster.check_start(self.vmid, &self.node, self.kind, self.skip) {
                    Err(refusal) => Next::Done(Err(refusal)),
                    Ok(warnings) => {
                        self.warnings = warnings;
                        Next::After(cluster.world.takes.start.unwrap_or(0.3))
                    }
                }
            }
            _ => {
                let guest = cluster.guests.get(&self.vmid);
                let machine = self
                    .machine
                    .as_deref()
                    .or(guest.and_then(|g| g.get("machine")));
                if machine.is_some_and(is_forgotten) {
                    return Next::Done(Err(Refusal::fail("start failed: QEMU exited with code 1")));
                }
                if guest.is_some_and(|g| g.drives().any(|(_, d)| d.is_cloudinit())) {
                    log.push("generating cloud-init ISO".to_owned());
                }
                cluster.switch_on(self.vmid);
                if self.warnings == 0 {
                    return Next::Done(Ok(()));
                }
                for _ in 0..self.warnings {
                    log.push(
                        "WARN: iothread is only valid with virtio disk or virtio-scsi-single \
                         controller, ignoring"
                            .to_owned(),
                    );
                }
                Next::Warned(self.warnings)
            }
        }
    }
}

/// A shutdown or reboot under way: it holds the file lock for all the time it waits.
#[derive(Debug)]
struct ShutdownWork {
    kind: GuestKind,
    node: String,
    vmid: u32,
    timeout: f64,
    force: bool,
    again: bool,
    skip: bool,
}

impl Work for ShutdownWork {
    fn step(&mut self, cluster: &mut Cluster, _log: &mut Vec<String>, phase: u32) -> Next {
        let answers = cluster.world.answers_shutdown;
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => match cluster.guest_on(self.kind, &self.node, self.vmid) {
                Err(refusal) => Next::Done(Err(refusal)),
                Ok(guest) if !guest.is_running() => Next::Done(Ok(())),
                Ok(guest) => match check_lock(guest) {
                    Err(refusal) if !self.skip => Next::Done(Err(refusal)),
                    _ if answers => Next::After(ANSWERED.min(self.timeout)),
                    _ => Next::After(self.timeout),
                },
            },
            _ if !answers && !self.force => {
                let noun = self.kind.noun();
                let text = match self.kind {
                    GuestKind::Qemu => format!("{noun} quit/powerdown failed - got timeout"),
                    GuestKind::Lxc => "container did not stop".to_owned(),
                };
                Next::Done(Err(Refusal::fail(text)))
            }
            _ => {
                cluster.switch_off(self.vmid);
                if self.again {
                    cluster.switch_on(self.vmid);
                }
                Next::Done(Ok(()))
            }
        }
    }
}

/// A stop, reset, suspend or resume under way.
#[derive(Debug)]
struct SimpleWork {
    kind: GuestKind,
    node: String,
    vmid: u32,
    verb: Verb,
    skip: bool,
}

impl Work for SimpleWork {
    fn step(&mut self, cluster: &mut Cluster, _log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => {
                let guest = match cluster.guest_on(self.kind, &self.node, self.vmid) {
                    Ok(guest) => guest,
                    Err(refusal) => return Next::Done(Err(refusal)),
                };
                let running = guest.is_running();
                // A stopped guest may be stopped again whatever its `lock` says.
                if running
                    && !self.skip
                    && let Err(refusal) = check_lock(guest)
                {
                    return Next::Done(Err(refusal));
                }
                if !running {
                    return Next::Done(Ok(()));
                }
                Next::After(if self.verb == Verb::Stop { 0.5 } else { 0.05 })
            }
            _ => {
                match self.verb {
                    Verb::Stop => cluster.switch_off(self.vmid),
                    Verb::Suspend | Verb::Resume => {
                        let pause = self.verb == Verb::Suspend;
                        if let Some(guest) = cluster.guests.get_mut(&self.vmid)
                            && let Power::Running { paused, .. } = &mut guest.power
                        {
                            *paused = pause;
                        }
                    }
                    _ => {}
                }
                Next::Done(Ok(()))
            }
        }
    }
}
