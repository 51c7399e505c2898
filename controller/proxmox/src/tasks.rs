//! Turns task lists into what became of the tasks we began.

use std::collections::{BTreeMap, BTreeSet};

use bb_core::proxmox::observed::Build;
use bb_crds::ids::Vmid;
use serde_json::Value;

use crate::cluster::{Cluster, part};
use crate::error::ClusterError;
use crate::json::{number_at, rows, text_at};
use crate::transport::Call;

/// How many tasks of a node are looked at; a node lists its newest first.
const LIMIT: &str = "500";
/// How many logs are read to learn which VMID a clone makes: only its log says.
const LOGS: usize = 40;

/// The identity of a task: `UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Upid {
    pub(crate) text: String,
    pub(crate) node: String,
    /// When it began, in seconds of the node's clock.
    pub(crate) began: u64,
}

impl Upid {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let (Some(&"UPID"), Some(node), Some(began)) =
            (fields.first(), fields.get(1), fields.get(4))
        else {
            return None;
        };
        let began = u64::from_str_radix(began, 16).ok()?;
        Some(Self {
            text: text.to_owned(),
            node: (*node).to_owned(),
            began,
        })
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// `OK`, or `WARNINGS: n`.
    Well,
    /// Its worker was killed: nobody knows how far it came.
    Killed,
    /// It failed, in the cluster's words.
    Failed(String),
}

impl Ended {
    pub(crate) fn parse(status: &str) -> Self {
        let warned = status
            .strip_prefix("WARNINGS: ")
            .is_some_and(|count| !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()));
        match status {
            "OK" => Self::Well,
            "unexpected status" => Self::Killed,
            _ if warned => Self::Well,
            other => Self::Failed(other.to_owned()),
        }
    }
}

/// The tasks of one node by UPID: `None` while they run.
pub(crate) type TaskList = BTreeMap<String, Option<Ended>>;

pub(crate) fn parse_list(answer: &Value) -> TaskList {
    let ended = |row: &Value| match text_at(row, "status").as_deref() {
        // Running ones say "RUNNING" here, and say nothing in older versions.
        None | Some("RUNNING" | "running") => None,
        Some(status) => Some(Ended::parse(status)),
    };
    rows(answer)
        .iter()
        .filter_map(|row| Some((text_at(row, "upid")?, ended(row))))
        .collect()
}

impl Cluster {
    /// The tasks of a node that began at or after `since`, running and ended.
    pub(crate) async fn tasks(&self, node: &str, since: u64) -> Result<TaskList, ClusterError> {
        let call = Call::new("GET /nodes/N/tasks", format!("/nodes/{}/tasks", part(node)))
            .with("source", "all")
            .with("limit", LIMIT)
            .with("since", since.saturating_sub(1).to_string());
        Ok(parse_list(&self.call(&call).await?))
    }

    /// The builds of guests that we began on a node, by the VMID that they make, the newest
    /// of each. `known` keeps what logs have said before.
    pub(crate) async fn builds(
        &self,
        node: &str,
        known: &mut BTreeMap<String, Option<Vmid>>,
    ) -> Result<BTreeMap<Vmid, (u64, Build)>, ClusterError> {
        let call = Call::new("GET /nodes/N/tasks", format!("/nodes/{}/tasks", part(node)))
            .with("source", "all")
            .with("limit", LIMIT);
        let answer = self.call(&call).await?;
        let ours = self.identity();
        let mut found: BTreeMap<Vmid, (u64, Build)> = BTreeMap::new();
        let mut logs = 0;
        for row in rows(&answer) {
            let kind = text_at(row, "type").unwrap_or_default();
            let Some(upid) = text_at(row, "upid").and_then(|text| Upid::parse(&text)) else {
                continue;
            };
            if !is_ours(row, &ours) || !matches!(kind.as_str(), "qmclone" | "vzcreate") {
                continue;
            }
            let vmid = match known.get(&upid.text) {
                Some(vmid) => *vmid,
                None if kind == "vzcreate" => vmid_of(number_at(row, "id")),
                None if logs < LOGS => {
                    logs += 1;
                    let target = self.clone_target(&upid).await?;
                    known.insert(upid.text.clone(), target);
                    target
                }
                None => None,
            };
            let Some(vmid) = vmid else { continue };
            let build = match parse_list(&Value::Array(vec![row.clone()])).remove(&upid.text) {
                Some(None) | None => Build::Running,
                Some(Some(Ended::Well)) => Build::Done,
                Some(Some(Ended::Killed)) => Build::Failed("its worker was killed".to_owned()),
                Some(Some(Ended::Failed(words))) => Build::Failed(words),
            };
            if found
                .get(&vmid)
                .is_none_or(|(began, _)| *began <= upid.began)
            {
                found.insert(vmid, (upid.began, build));
            }
        }
        Ok(found)
    }

    /// The disks that a destroy left where they are: it ends with `OK` all the same.
    pub(crate) async fn left_behind(&self, upid: &Upid) -> Result<Vec<String>, ClusterError> {
        let path = format!("/nodes/{}/tasks/{}/log", part(&upid.node), part(&upid.text));
        let call = Call::new("GET /nodes/N/tasks/UPID/log", path).with("limit", LIMIT);
        let answer = self.call(&call).await?;
        let volid = |row: &Value| {
            let line = text_at(row, "t")?;
            let (volid, _) = line
                .strip_prefix("Could not remove disk '")?
                .split_once('\'')?;
            Some(volid.to_owned())
        };
        Ok(rows(&answer).iter().filter_map(volid).collect())
    }

    /// Which VMID a clone makes: `creating a clone of VM 2700 with ID 2744`.
    async fn clone_target(&self, upid: &Upid) -> Result<Option<Vmid>, ClusterError> {
        let path = format!("/nodes/{}/tasks/{}/log", part(&upid.node), part(&upid.text));
        let call = Call::new("GET /nodes/N/tasks/UPID/log", path).with("limit", "5");
        let answer = self.call(&call).await?;
        Ok(rows(&answer).iter().find_map(|row| {
            let line = text_at(row, "t")?;
            let id = line
                .strip_prefix("creating a clone of ")?
                .split(" with ID ")
                .nth(1)?;
            vmid_of(id.trim().parse().ok())
        }))
    }
}

fn vmid_of(number: Option<u64>) -> Option<Vmid> {
    Vmid::try_from(u32::try_from(number?).ok()?).ok()
}

/// A token's task is listed under `USER!TOKEN`, or under `USER` with the token beside it.
fn is_ours(row: &Value, ours: &str) -> bool {
    let user = text_at(row, "user").unwrap_or_default();
    let whole = match text_at(row, "tokenid") {
        Some(token) if !user.contains('!') => format!("{user}!{token}"),
        _ => user,
    };
    whole == ours
}

/// The nodes that tasks run on, each with when the oldest of them began.
pub(crate) fn oldest<'a>(tasks: impl Iterator<Item = &'a Upid>) -> BTreeMap<String, u64> {
    let mut nodes = BTreeMap::new();
    for upid in tasks {
        let began = nodes.entry(upid.node.clone()).or_insert(upid.began);
        *began = (*began).min(upid.began);
    }
    nodes
}

/// Nodes that are online.
pub(crate) fn online(nodes: &BTreeMap<String, bool>) -> BTreeSet<String> {
    nodes
        .iter()
        .filter(|(_, online)| **online)
        .map(|(node, _)| node.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_upid_names_its_node_and_when_it_began() {
        let text = "UPID:pve1:00000277:000CEFFE:6B03EB34:qmclone:2700:op@pve!k8s:";
        let upid = Upid::parse(text).unwrap();
        assert_eq!((upid.node.as_str(), upid.began), ("pve1", 0x6B03_EB34));
        for wrong in ["", "UPID:x", "OK", "UPID:n:1:2:zz:a:b:c:"] {
            assert_eq!(Upid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn warnings_are_a_success_and_a_killed_worker_is_neither() {
        assert_eq!(Ended::parse("OK"), Ended::Well);
        assert_eq!(Ended::parse("WARNINGS: 2"), Ended::Well);
        assert_eq!(Ended::parse("unexpected status"), Ended::Killed);
        assert!(matches!(Ended::parse("WARNINGS: x"), Ended::Failed(_)));
        assert!(matches!(
            Ended::parse("clone failed: no space"),
            Ended::Failed(_)
        ));
    }

    #[test]
    fn a_list_of_tasks_is_read_in_both_forms_of_running() {
        let list = parse_list(&json!([
            {"upid": "a", "status": "RUNNING"},
            {"upid": "b"},
            {"upid": "c", "status": "OK"},
        ]));
        assert_eq!(list["a"], None);
        assert_eq!(list["b"], None);
        assert_eq!(list["c"], Some(Ended::Well));
    }

    #[test]
    fn only_our_own_tasks_count() {
        for (row, ours) in [
            (json!({"user": "op@pve!k8s"}), true),
            (json!({"user": "op@pve", "tokenid": "k8s"}), true),
            (json!({"user": "op@pve"}), false),
            (json!({"user": "root@pam"}), false),
        ] {
            assert_eq!(is_ours(&row, "op@pve!k8s"), ours, "{row}");
        }
    }
}
