//! Turns calls on the control port into what happens to a cluster behind the API's back.

use bb_lab_kit::http::{Reply, Request};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::model::{Cluster, OddEnd, World};

/// What the stand-in says of itself.
pub(crate) fn state(lab: &Lab) -> Value {
    let cluster = lab.cluster();
    let running: Vec<&str> = cluster
        .tasks
        .all
        .values()
        .filter(|t| t.is_running())
        .map(|t| t.upid.as_str())
        .collect();
    json!({
        "name": cluster.name, "now": cluster.now, "scale": cluster.scale,
        "guests": cluster.guests.len(), "tasks": cluster.tasks.all.len(), "running": running,
        "world": cluster.world,
    })
}

/// Answers a route of the stand-in's own; `None` for one of another's.
///
/// | call | body | what happens |
/// |---|---|---|
/// | `GET /snapshot` | | the whole state in a stable order |
/// | `GET /tokens` | | token to `Authorization` value |
/// | `POST /kill-task` | `{upid}` | a worker dies; a `lock` it set stays |
/// | `POST /restart-daemon` | | every worker is ended, and cleans up |
/// | `POST /guest/ID/lock` | `{lock: TEXT or null}` | the config's `lock` |
/// | `POST /guest/ID/edit` | `{set: {}, delete: []}` | a person edits the config file |
/// | `POST /guest/ID/{start,stop,destroy}` | | a person does that |
/// | `POST /guest/ID/hold` | `{held}` | somebody holds the file lock |
/// | `POST /guest/ID/hang` | `{hung}` | QEMU does not answer a hot-plug |
/// | `POST /node/NAME` | `{online, busy}` | the node is up or down; its API workers are taken |
/// | `POST /odd-end` | `{kind, exit, works}` | the next task of a kind ends with these words |
/// | `POST /forget-tasks` | | the node's records of ended tasks are gone |
/// | `POST /expire-tickets` | | every ticket given so far is bad |
/// | `POST /certificate` | | another certificate is shown from now on |
/// | `POST /storage/NAME` | `{full, preallocate, enabled, keeps}` | room and use of a storage |
/// | `POST /world` | any of its fields | how guests and daemons behave |
/// | `POST /statd` | | a round of the status daemon, now |
/// | `POST /advance` | `{seconds}` | moves a manual clock |
pub(crate) fn answer(lab: &Lab, request: &Request) -> Option<Reply> {
    let path: Vec<&str> = request.path.split('/').filter(|p| !p.is_empty()).collect();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let verdict = match (request.method.as_str(), path.as_slice()) {
        ("GET", ["snapshot"]) => return Some(Reply::json(200, &lab.cluster().snapshot())),
        ("GET", ["tokens"]) => return Some(Reply::json(200, &crate::lab::tokens(&lab.cluster()))),
        ("POST", ["kill-task"]) => {
            let upid = body["upid"].as_str().unwrap_or_default();
            let killed = lab.cluster().kill_task(upid);
            killed.then_some(()).ok_or("no such task runs")
        }
        ("POST", ["restart-daemon"]) => {
            lab.cluster().restart_daemon();
            Ok(())
        }
        ("POST", ["guest", vmid, deed]) => {
            let vmid = vmid.parse().unwrap_or_default();
            on_guest(&mut lab.cluster(), vmid, deed, &body)
        }
        ("POST", ["odd-end"]) => match serde_json::from_value::<OddEnd>(body) {
            Ok(odd) => {
                lab.cluster().odd_ends.push(odd);
                Ok(())
            }
            Err(_) => Err("kind, exit or works is missing"),
        },
        ("POST", ["forget-tasks"]) => {
            lab.cluster().forget_tasks();
            Ok(())
        }
        ("POST", ["expire-tickets"]) => {
            lab.cluster().ticket_key += 1;
            Ok(())
        }
        ("POST", ["certificate"]) => {
            return Some(match lab.exchange_certificate() {
                Ok(other) => Reply::json(
                    200,
                    &json!({ "sha256": other.sha256, "pem": other.cert_pem }),
                ),
                Err(error) => Reply::text(500, &format!("{error:#}\n")),
            });
        }
        ("POST", ["node", name]) => on_node(lab, name, &body),
        ("POST", ["storage", name]) => on_storage(&mut lab.cluster(), name, &body),
        ("POST", ["world"]) => on_world(&mut lab.cluster(), &body),
        ("POST", ["statd"]) => {
            lab.cluster().statd_round();
            Ok(())
        }
        ("POST", ["advance"]) => {
            lab.clock
                .advance(body["seconds"].as_f64().unwrap_or_default());
            lab.tick();
            Ok(())
        }
        _ => return None,
    };
    lab.save_quietly();
    Some(match verdict {
        Ok(()) => Reply::json(200, &json!({ "ok": true })),
        Err(text) => Reply::json(400, &json!({ "error": text })),
    })
}

type Verdict = Result<(), &'static str>;

fn on_guest(cluster: &mut Cluster, vmid: u32, deed: &str, body: &Value) -> Verdict {
    if deed == "hold" {
        cluster.hold_file_lock(vmid, body["held"].as_bool().unwrap_or(true));
        return Ok(());
    }
    if deed == "hang" {
        if body["hung"].as_bool().unwrap_or(true) {
            cluster.world.hung.insert(vmid);
        } else {
            cluster.world.hung.remove(&vmid);
        }
        return Ok(());
    }
    let guest = cluster.guests.get_mut(&vmid).ok_or("no such guest")?;
    match deed {
        "lock" => match body["lock"].as_str() {
            Some(lock) => {
                guest.config.insert("lock".to_owned(), lock.to_owned());
            }
            None => {
                guest.config.remove("lock");
            }
        },
        "edit" => {
            for (key, value) in body["set"].as_object().into_iter().flatten() {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                guest.config.insert(key.clone(), value);
            }
            for key in body["delete"].as_array().into_iter().flatten() {
                guest.config.remove(key.as_str().unwrap_or_default());
            }
        }
        "start" => cluster.switch_on(vmid),
        "stop" => cluster.switch_off(vmid),
        "destroy" => cluster.destroy_by_hand(vmid),
        _ => return Err("no such deed"),
    }
    Ok(())
}

fn on_node(lab: &Lab, name: &str, body: &Value) -> Verdict {
    let (online, busy) = (body["online"].as_bool(), body["busy"].as_bool());
    if online.is_none() && busy.is_none() {
        return Err("online and busy are missing");
    }
    if let Some(online) = online {
        let mut cluster = lab.cluster();
        cluster.nodes.get_mut(name).ok_or("no such node")?.online = online;
    }
    if let Some(busy) = busy {
        lab.keep_busy(name, busy);
    }
    Ok(())
}

fn on_storage(cluster: &mut Cluster, name: &str, body: &Value) -> Verdict {
    let storage = cluster.storages.get_mut(name).ok_or("no such storage")?;
    for (key, field) in [
        ("full", &mut storage.full),
        ("preallocate", &mut storage.preallocate),
        ("enabled", &mut storage.enabled),
        ("keeps", &mut storage.keeps),
    ] {
        if let Some(value) = body[key].as_bool() {
            *field = value;
        }
    }
    Ok(())
}

fn on_world(cluster: &mut Cluster, body: &Value) -> Verdict {
    let mut world =
        serde_json::to_value(&cluster.world).map_err(|_| "the world does not render")?;
    for (key, value) in body.as_object().into_iter().flatten() {
        world[key.as_str()] = value.clone();
    }
    cluster.world =
        serde_json::from_value::<World>(world).map_err(|_| "not a field of the world")?;
    Ok(())
}

impl Cluster {
    /// Loses the records of tasks that ended, as a node does whose disk was exchanged.
    pub fn forget_tasks(&mut self) {
        self.tasks.all.retain(|_, task| task.is_running());
    }

    /// Destroys a guest as a person on the node does: process, own volumes, config.
    pub fn destroy_by_hand(&mut self, vmid: u32) {
        let Some(guest) = self.guests.get(&vmid) else {
            return;
        };
        let (node, volumes) = (guest.node.clone(), guest.volumes());
        for volid in volumes {
            if self.owner_of(&volid) == Some(vmid) {
                // A volume others still need stays, as it does there.
                let _ = self.free(&node, &volid);
            }
        }
        self.forget_guest(vmid);
    }
}
