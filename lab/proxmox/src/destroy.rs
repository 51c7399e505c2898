//! Turns a destroy into what goes with a guest: config, own volumes, membership, rights.

use serde_json::{Value, json};

use crate::call::Call;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::model::{Cluster, GuestKind};
use crate::refusal::{Answer, Refusal};
use crate::update::check_lock;

impl Cluster {
    /// `DELETE /nodes/N/{qemu,lxc}/ID`.
    pub(crate) fn destroy(&mut self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        let skip = call.check_skiplock()?;
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        let guest = self.guest_on(kind, &node, vmid)?;
        let noun = kind.noun();
        let force = call.p.flag("force");
        if guest.flag("protection") {
            let text = format!("can't remove {noun} {vmid} - protection mode enabled");
            return Err(Refusal::fail(text));
        }
        if kind == GuestKind::Lxc {
            check_lock(guest)?;
        }
        if guest.is_running() && !force {
            return Err(Refusal::fail(running_text(kind, vmid)));
        }
        let work = DestroyWork {
            kind,
            node: node.clone(),
            vmid,
            skip,
            force,
            purge: call.p.flag("purge"),
            unreferenced: call.p.flag("destroy-unreferenced-disks"),
        };
        let word = if kind == GuestKind::Qemu {
            "qmdestroy"
        } else {
            "vzdestroy"
        };
        Ok(json!(self.fork(
            &node,
            word,
            &vmid.to_string(),
            call.who,
            Box::new(work)
        )))
    }
}

fn running_text(kind: GuestKind, vmid: u32) -> String {
    match kind {
        GuestKind::Qemu => format!("VM {vmid} is running - destroy failed"),
        GuestKind::Lxc => format!("unable to destroy CT {vmid} - container is running"),
    }
}

/// A destroy under way.
#[derive(Debug)]
struct DestroyWork {
    kind: GuestKind,
    node: String,
    vmid: u32,
    skip: bool,
    force: bool,
    purge: bool,
    unreferenced: bool,
}

impl DestroyWork {
    fn run(&self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<()> {
        let guest = cluster.guest_on(self.kind, &self.node, self.vmid)?;
        if !self.skip {
            check_lock(guest)?;
        }
        if guest.is_running() && !self.force {
            return Err(Refusal::fail(running_text(self.kind, self.vmid)));
        }
        let own: Vec<String> = guest
            .volumes()
            .into_iter()
            .filter(|v| v.contains(':'))
            .collect();
        for volid in &own {
            // Every storage has to be there before anything goes.
            cluster.volid(volid)?;
        }
        let own: Vec<String> = own
            .into_iter()
            .filter(|v| cluster.owner_of(v) == Some(self.vmid))
            .collect();
        for volid in &own {
            self.check_not_needed(cluster, volid)?;
        }
        for volid in own {
            // What cannot be removed is left, told in the log, and the task is OK all the same.
            if let Err(why) = cluster.free(&self.node, &volid) {
                let why = why.as_exit();
                log.push(format!(
                    "Could not remove disk '{volid}', check manually: {why}"
                ));
            }
        }
        if self.unreferenced {
            self.sweep(cluster);
        }
        if self.purge {
            let noun = self.kind.noun();
            log.push(format!(
                "purging {noun} {} from related configurations..",
                self.vmid
            ));
        }
        cluster.forget_guest(self.vmid);
        Ok(())
    }

    /// A base of linked clones keeps the whole guest, and nothing of it goes.
    fn check_not_needed(&self, cluster: &Cluster, volid: &str) -> Answer<()> {
        let id = cluster.volid(volid)?;
        let storage = cluster.storage(&id.storage)?;
        let clones = storage.on(&self.node).is_some_and(|all| {
            all.values()
                .any(|v| v.base.as_deref() == Some(id.name.as_str()))
        });
        if clones {
            let text = format!("base volume '{volid}' is still in use by linked cloned");
            return Err(Refusal::fail(text));
        }
        Ok(())
    }

    /// Frees every volume named after the guest, attached anywhere or not.
    fn sweep(&self, cluster: &mut Cluster) {
        let storages: Vec<String> = cluster.storages.keys().cloned().collect();
        for sid in storages {
            for (volid, volume) in cluster.volumes_on(&sid, &self.node) {
                if volume.owner == Some(self.vmid) {
                    let _ = cluster.free(&self.node, &volid);
                }
            }
        }
    }
}

impl Work for DestroyWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => match cluster.guest_on(self.kind, &self.node, self.vmid) {
                Err(refusal) => Next::Done(Err(refusal)),
                Ok(guest) => match check_lock(guest) {
                    Err(refusal) if !self.skip => Next::Done(Err(refusal)),
                    _ => Next::After(0.08),
                },
            },
            _ => Next::Done(self.run(cluster, log)),
        }
    }
}
