//! Turns work under way and work done into UPIDs, task status, logs and lists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::Caller;
use crate::engine::{FileLock, Job};

/// Process ids of workers begin after this.
const FIRST_PID: u32 = 4096;

/// One worker, running or ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub upid: String,
    pub node: String,
    pub kind: String,
    /// What it works on; for a clone the source, not the target.
    pub id: String,
    pub caller: Caller,
    /// Unix seconds.
    pub start: i64,
    pub pid: u32,
    pub pstart: u32,
    pub log: Vec<String>,
    /// Unix seconds and exit text, once it ended.
    pub end: Option<(i64, String)>,
}

/// Every task, by the order it was started in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tasks {
    pub all: BTreeMap<u64, Task>,
    next: u64,
    /// What runs. A restart loses it, as it loses the workers.
    #[serde(skip)]
    pub(crate) jobs: BTreeMap<u64, Job>,
    /// File locks of guests.
    #[serde(skip)]
    pub(crate) locks: BTreeMap<u32, FileLock>,
}

impl Clone for Tasks {
    /// A copy has the records, not the workers.
    fn clone(&self) -> Self {
        Self {
            all: self.all.clone(),
            next: self.next,
            jobs: BTreeMap::new(),
            locks: BTreeMap::new(),
        }
    }
}

impl Task {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it ended well: `OK` or `WARNINGS: n`.
    pub fn is_good(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|(_, t)| t == "OK" || t.starts_with("WARNINGS: "))
    }

    /// `GET /nodes/N/tasks/UPID/status`.
    pub(crate) fn status(&self) -> Value {
        let mut out = self.head(false);
        match &self.end {
            None => out["status"] = json!("running"),
            Some((_, exit)) => {
                out["status"] = json!("stopped");
                out["exitstatus"] = json!(exit);
            }
        }
        out
    }

    /// A row of `/nodes/N/tasks`: a running one says RUNNING and has no end.
    pub(crate) fn node_row(&self) -> Value {
        let mut out = self.head(self.is_running());
        match &self.end {
            None => {
                out["status"] = json!("RUNNING");
                out["saved"] = json!("0");
            }
            Some((end, exit)) => {
                out["status"] = json!(exit);
                out["endtime"] = json!(end);
            }
        }
        out
    }

    /// A row of `/cluster/tasks`: no status at all while it runs.
    pub(crate) fn cluster_row(&self) -> Value {
        let mut out = json!({
            "upid": self.upid, "node": self.node, "type": self.kind, "id": self.id,
            "user": self.caller.full(), "starttime": self.start,
        });
        match &self.end {
            None => {
                out["pid"] = json!(self.pid);
                out["saved"] = json!("0");
            }
            Some((end, exit)) => {
                out["endtime"] = json!(end);
                out["status"] = json!(exit);
                out["saved"] = json!("1");
            }
        }
        out
    }

    /// The part all forms share. The list of running ones writes the token into the user.
    fn head(&self, whole_user: bool) -> Value {
        let mut out = json!({
            "upid": self.upid, "node": self.node, "type": self.kind, "id": self.id,
            "pid": self.pid, "pstart": self.pstart, "starttime": self.start,
        });
        if whole_user {
            out["user"] = json!(self.caller.full());
        } else {
            out["user"] = json!(self.caller.user);
            if let Some(token) = &self.caller.token {
                out["tokenid"] = json!(token);
            }
        }
        out
    }
}

impl Tasks {
    /// Records a new task and gives it a number.
    pub(crate) fn add(&mut self, mut task: Task) -> u64 {
        self.next += 1;
        task.pid = FIRST_PID + self.next as u32;
        task.upid = format!(
            "UPID:{}:{:08X}:{:08X}:{:08X}:{}:{}:{}:",
            task.node,
            task.pid,
            task.pstart,
            task.start,
            task.kind,
            task.id,
            task.caller.full()
        );
        self.all.insert(self.next, task);
        self.next
    }

    /// A task by its UPID, found by the process id in it.
    pub fn find(&self, upid: &str) -> Option<(u64, &Task)> {
        let pid = u32::from_str_radix(upid.split(':').nth(2)?, 16).ok()?;
        let number = u64::from(pid.checked_sub(FIRST_PID)?);
        let task = self.all.get(&number).filter(|t| t.upid == upid)?;
        Some((number, task))
    }

    /// What a restart leaves of running tasks.
    pub(crate) fn lose_workers(&mut self, now: i64) {
        for task in self.all.values_mut().filter(|t| t.is_running()) {
            task.end = Some((now, "unexpected status".to_owned()));
        }
    }
}

/// Whether a text has the form of a UPID.
pub(crate) fn is_upid(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 9
        && parts[0] == "UPID"
        && parts[2..5]
            .iter()
            .all(|p| p.len() >= 8 && u64::from_str_radix(p, 16).is_ok())
}
