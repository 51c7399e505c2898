//! Turns each call of a plan into a request, and its answer into done, a task, or an error.

use std::time::Instant;

use bb_core::drift::is_secret;
use bb_core::proxmox::model::Kind;
use bb_core::proxmox::plan::{Chain, Guest, Op};
use futures::StreamExt;
use futures::stream;
use tracing::info;

use super::CALLS_AT_ONCE;
use super::guard::{self, InFront};
use crate::calls::{content_path, guest_path};
use crate::cluster::{Cluster, part};
use crate::error::ClusterError;
use crate::json;
use crate::tasks::Upid;
use crate::transport::Call;

/// How long a configuration write waits for its own task before it answers with it.
const INLINE_SECONDS: &str = "5";

/// What a call came to.
#[derive(Debug)]
pub(crate) enum Carried {
    /// It took effect, as far as the answer says.
    Done,
    /// A task was begun.
    Begun(Upid),
    /// It did not, or nobody knows.
    Failed(ClusterError),
}

/// Makes one call.
async fn carry(cluster: &Cluster, op: &Op, shutdown_seconds: u64) -> Carried {
    match cluster.call(&render(op, shutdown_seconds)).await {
        Ok(answer) => match json::text(&answer).as_deref().and_then(Upid::parse) {
            Some(upid) => Carried::Begun(upid),
            None => Carried::Done,
        },
        // An image of that name is there: the next listing tells its size.
        Err(ClusterError::Exists(_)) if matches!(op, Op::Allocate { .. }) => Carried::Done,
        Err(error) if error.is_moot() => Carried::Done,
        Err(error) => Carried::Failed(error),
    }
}

fn on_guest(name: [&'static str; 2], guest: &Guest, below: &str) -> Call {
    let name = match guest.kind {
        Kind::Vm => name[0],
        Kind::Container => name[1],
    };
    Call::new(name, guest_path(guest.kind, &guest.node, guest.vmid, below))
}

/// The call, to be refused where the configuration is no longer of that version.
fn if_still(call: Call, digest: Option<&String>) -> Call {
    digest
        .iter()
        .fold(call, |call, digest| call.with("digest", *digest))
}

#[allow(clippy::too_many_lines, reason = "one short arm for each call")]
fn render(op: &Op, shutdown_seconds: u64) -> Call {
    match op {
        Op::Clone {
            template,
            vmid,
            name,
            pool,
            description,
            full,
            storage,
        } => {
            let path = guest_path(Kind::Vm, &template.node, template.vmid, "/clone");
            let mut call = Call::new("POST /nodes/N/qemu/ID/clone", path)
                .with("newid", vmid.to_string())
                .with("name", name)
                .with("pool", pool)
                .with("description", description);
            if *full {
                call = call.with("full", "1");
            }
            storage
                .iter()
                .fold(call, |call, storage| call.with("storage", storage))
        }
        Op::Build { guest, parameters } => {
            let path = format!("/nodes/{}/lxc", part(&guest.node));
            let mut call = Call::new("POST /nodes/N/lxc", path);
            call.parameters.clone_from(parameters);
            call
        }
        Op::Configure {
            guest,
            set,
            delete,
            digest,
        } => {
            // Containers have no asynchronous form.
            let names = ["POST /nodes/N/qemu/ID/config", "PUT /nodes/N/lxc/ID/config"];
            let mut call = on_guest(names, guest, "/config");
            call.parameters.clone_from(set);
            if guest.kind == Kind::Vm {
                call = call.with("background_delay", INLINE_SECONDS);
            }
            if !delete.is_empty() {
                let keys: Vec<&str> = delete.iter().map(String::as_str).collect();
                call = call.with("delete", keys.join(","));
            }
            if_still(call, digest.as_ref())
        }
        Op::Resize {
            guest,
            disk,
            size_gib,
            digest,
        } => {
            let names = ["PUT /nodes/N/qemu/ID/resize", "PUT /nodes/N/lxc/ID/resize"];
            let call = on_guest(names, guest, "/resize")
                .with("disk", disk)
                .with("size", format!("{size_gib}G"));
            if_still(call, digest.as_ref())
        }
        Op::Start(guest) => {
            let names = [
                "POST /nodes/N/qemu/ID/status/start",
                "POST /nodes/N/lxc/ID/status/start",
            ];
            on_guest(names, guest, "/status/start")
        }
        Op::Shutdown(guest) => {
            let names = [
                "POST /nodes/N/qemu/ID/status/shutdown",
                "POST /nodes/N/lxc/ID/status/shutdown",
            ];
            on_guest(names, guest, "/status/shutdown")
                .with("timeout", shutdown_seconds.to_string())
                .with("forceStop", "1")
        }
        Op::Destroy(guest) => {
            let names = ["DELETE /nodes/N/qemu/ID", "DELETE /nodes/N/lxc/ID"];
            // Never with destroy-unreferenced-disks: it would look for disks by name.
            on_guest(names, guest, "").with("purge", "1")
        }
        Op::Allocate {
            place,
            holder,
            file,
            format,
            size_gib,
        } => {
            let call = Call::new("POST /nodes/N/storage/S/content", content_path(place, None))
                .with("vmid", holder.to_string())
                .with("filename", file)
                .with("size", format!("{size_gib}G"));
            format
                .iter()
                .fold(call, |call, format| call.with("format", *format))
        }
        Op::Park {
            holder,
            slot,
            volid,
            digest,
        } => {
            let call = on_guest(["PUT /nodes/N/qemu/ID/config"; 2], holder, "/config");
            if_still(call.with(slot, volid), digest.as_ref())
        }
        Op::Drop {
            holder,
            slot,
            digest,
            ..
        } => {
            let call = on_guest(["PUT /nodes/N/qemu/ID/config"; 2], holder, "/config");
            if_still(call.with("delete", slot), digest.as_ref())
        }
        Op::DeleteImage { place, volid } => {
            let path = content_path(place, Some(volid));
            Call::new("DELETE /nodes/N/storage/S/content/V", path)
        }
    }
}

/// The seconds that a guest is given to shut down, unless a driver is told otherwise.
pub(super) const SHUTDOWN_SECONDS: u64 = 30;

/// A call as a person reads it: method, path below `/api2/json`, and parameters in the order of
/// their names. What is secret is masked; the version of a configuration is a word, since only
/// the cluster knows it.
#[must_use]
pub fn words(op: &Op) -> String {
    let call = render(op, SHUTDOWN_SECONDS);
    let mut text = format!("{} {}", call.method, call.path);
    for (key, value) in &call.parameters {
        let public = key == "sshkeys" || key == "ssh-public-keys";
        let shown = match key.as_str() {
            "digest" => "<digest>".to_owned(),
            _ if is_secret(key) && !public => "********".to_owned(),
            _ => value.replace('\n', "\\n"),
        };
        text.push(' ');
        if shown.contains(' ') {
            text.push_str(&format!("{key}='{shown}'"));
        } else {
            text.push_str(&format!("{key}={shown}"));
        }
    }
    text
}

/// What became of a call.
pub(super) struct Outcome {
    pub(super) op: Op,
    pub(super) carried: Carried,
    /// When its answer came: by then its task had begun, while others may wait for theirs.
    pub(super) at: Instant,
}

/// Makes the calls of all chains side by side; those of one chain in their order, up to the
/// first that begins a task or fails.
pub(super) async fn carry_all(
    cluster: &Cluster,
    installation: &str,
    chains: Vec<Chain>,
    before: InFront,
    seconds: u64,
) -> Vec<(Chain, Vec<Outcome>)> {
    stream::iter(chains)
        .map(|chain| async move {
            let mut outcomes = Vec::new();
            for op in &chain.ops {
                info!(owner = %chain.owner, %op, "begins");
                let carried = match guard::check(cluster, installation, &chain, op, before).await {
                    Ok(()) => carry(cluster, op, seconds).await,
                    Err(error) => Carried::Failed(error),
                };
                let goes_on = matches!(carried, Carried::Done);
                let (op, at) = (op.clone(), Instant::now());
                outcomes.push(Outcome { op, carried, at });
                if !goes_on {
                    break;
                }
            }
            (chain, outcomes)
        })
        .buffer_unordered(CALLS_AT_ONCE)
        .collect()
        .await
}

/// The request line and the parameters of a call.
#[cfg(test)]
fn parameters(op: &Op) -> Vec<String> {
    let call = render(op, 30);
    let parameters = call
        .parameters
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let line = format!("{} {}", call.method, call.path);
    std::iter::once(line).chain(parameters).collect()
}

#[cfg(test)]
mod tests {
    use bb_core::proxmox::observed::Place;
    use bb_crds::ids::Vmid;

    use super::*;

    fn vmid(raw: u32) -> Vmid {
        Vmid::try_from(raw).unwrap()
    }

    fn guest(kind: Kind) -> Guest {
        Guest {
            kind,
            node: "pve1".into(),
            vmid: vmid(5001),
        }
    }

    #[test]
    fn each_call_has_the_form_that_the_cluster_takes() {
        let clone = Op::Clone {
            template: Guest {
                kind: Kind::Vm,
                node: "pve1".into(),
                vmid: vmid(9000),
            },
            vmid: vmid(5001),
            name: "web".into(),
            pool: "tenants".into(),
            description: "bitbuilder c1/u acme/web".into(),
            full: false,
            storage: None,
        };
        let want = [
            "POST /nodes/pve1/qemu/9000/clone",
            "description=bitbuilder c1/u acme/web",
            "name=web",
            "newid=5001",
            "pool=tenants",
        ];
        assert_eq!(parameters(&clone), want);
        let configure = |kind| Op::Configure {
            guest: guest(kind),
            set: [("cores".to_owned(), "2".to_owned())].into(),
            delete: ["net1", "net2"].map(String::from).into(),
            digest: Some("abc".into()),
        };
        let want = [
            "POST /nodes/pve1/qemu/5001/config",
            "background_delay=5",
            "cores=2",
            "delete=net1,net2",
            "digest=abc",
        ];
        assert_eq!(parameters(&configure(Kind::Vm)), want);
        let want = [
            "PUT /nodes/pve1/lxc/5001/config",
            "cores=2",
            "delete=net1,net2",
            "digest=abc",
        ];
        assert_eq!(parameters(&configure(Kind::Container)), want);
        let want = ["DELETE /nodes/pve1/lxc/5001", "purge=1"];
        assert_eq!(parameters(&Op::Destroy(guest(Kind::Container))), want);
    }

    #[test]
    fn a_volume_id_in_a_path_is_encoded() {
        let place = Place {
            node: "pve1".into(),
            storage: "local".into(),
        };
        let op = Op::DeleteImage {
            place,
            volid: "local:900/vm-900-pvc-a.qcow2".into(),
        };
        let want = "DELETE /nodes/pve1/storage/local/content/local%3A900%2Fvm-900-pvc-a.qcow2";
        assert_eq!(parameters(&op), [want]);
    }
}
