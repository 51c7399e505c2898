//! Turns task calls into status, logs, lists and the stopping of workers.

use serde_json::{Value, json};

use crate::call::Call;
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};
use crate::task::{Task, is_upid};

/// Rows `/cluster/tasks` has at most.
const CLUSTER_ROWS: usize = 25;
/// Rows `/nodes/N/tasks` has unless asked for more.
const NODE_ROWS: i64 = 50;

impl Cluster {
    fn task_of(&self, call: &Call<'_>) -> Answer<(u64, &Task)> {
        let upid = call.p.text("upid");
        if !is_upid(upid) {
            return Err(Refusal::param("upid", "unable to parse worker upid"));
        }
        let found = self.tasks.find(upid).filter(|(_, t)| t.node == call.node());
        found.ok_or_else(|| Refusal::param("upid", "no such task"))
    }

    /// Whether the caller started a task; a token's tasks are its own only.
    fn owns(call: &Call<'_>, task: &Task) -> bool {
        call.who == &task.caller || (call.who.token.is_none() && call.who.user == task.caller.user)
    }

    fn check_task(&self, call: &Call<'_>, task: &Task, right: &str) -> Answer<()> {
        if Self::owns(call, task) {
            return Ok(());
        }
        self.check(call.who, &format!("/nodes/{}", task.node), &[right])
    }

    /// `GET /nodes/N/tasks/UPID/status`.
    pub(crate) fn task_status(&self, call: &Call<'_>) -> Answer<Value> {
        let (_, task) = self.task_of(call)?;
        self.check_task(call, task, "Sys.Audit")?;
        Ok(task.status())
    }

    /// The lines of a task's log; no lines and no such task read alike.
    pub(crate) fn task_log(&self, call: &Call<'_>) -> Answer<Vec<String>> {
        let upid = call.p.text("upid");
        if !is_upid(upid) {
            return Err(Refusal::param("upid", "unable to parse worker upid"));
        }
        let Some((_, task)) = self.tasks.find(upid) else {
            return Ok(vec![
                "unable to open file - No such file or directory".to_owned(),
            ]);
        };
        self.check_task(call, task, "Sys.Audit")?;
        if task.log.is_empty() {
            return Ok(vec!["no content".to_owned()]);
        }
        let start = call.p.int("start").unwrap_or(0).max(0) as usize;
        let limit = call.p.int("limit").filter(|n| *n > 0).unwrap_or(50) as usize;
        Ok(task.log.iter().skip(start).take(limit).cloned().collect())
    }

    /// `DELETE /nodes/N/tasks/UPID`: fine when it ended long ago.
    pub(crate) fn task_stop(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (number, task) = self.task_of(call)?;
        self.check_task(call, task, "Sys.Modify")?;
        self.interrupt_task(number);
        Ok(Value::Null)
    }

    /// `GET /nodes/N/tasks`: rows and how many there are in all.
    pub(crate) fn node_tasks(&self, call: &Call<'_>) -> (Vec<Value>, usize) {
        let source = call.p.get("source").unwrap_or("archive");
        let all = self.may(call.who, &format!("/nodes/{}", call.node()), "Sys.Audit");
        let fits = |task: &Task| {
            let kind = match source {
                "active" => task.is_running(),
                "archive" => !task.is_running(),
                _ => true,
            };
            kind && (all || Self::owns(call, task))
                && task.node == call.node()
                && filters(call, task)
        };
        let mut rows: Vec<&Task> = self.tasks.all.values().rev().filter(|t| fits(t)).collect();
        // Running ones come first, whatever started when.
        rows.sort_by_key(|t| !t.is_running());
        let total = rows.len();
        let start = call.p.int("start").unwrap_or(0).max(0) as usize;
        let limit = call.p.int("limit").unwrap_or(NODE_ROWS).max(0) as usize;
        (
            rows.into_iter()
                .skip(start)
                .take(limit)
                .map(Task::node_row)
                .collect(),
            total,
        )
    }

    /// `GET /cluster/tasks`: at most 25, and none for a token without Sys.Audit on `/`.
    pub(crate) fn cluster_tasks(&self, call: &Call<'_>) -> Value {
        let all = self.may(call.who, "/", "Sys.Audit");
        let mine = |t: &&Task| all || (call.who.token.is_none() && t.caller == *call.who);
        let rows = self
            .tasks
            .all
            .values()
            .rev()
            .filter(mine)
            .take(CLUSTER_ROWS);
        json!(rows.map(Task::cluster_row).collect::<Vec<_>>())
    }
}

/// The filters of a node's list.
fn filters(call: &Call<'_>, task: &Task) -> bool {
    let p = &call.p;
    let exit = task.end.as_ref().map(|(_, exit)| exit.as_str());
    let bad = exit.is_some_and(|e| e != "OK");
    let class = match exit {
        None => "unknown",
        Some("OK") => "ok",
        Some(e) if e.starts_with("WARNINGS") => "warning",
        Some("unexpected status") => "unknown",
        Some(_) => "error",
    };
    p.get("vmid").is_none_or(|v| task.id == v)
        && p.get("typefilter").is_none_or(|t| task.kind == t)
        && p.get("userfilter")
            .is_none_or(|u| task.caller.full().contains(u))
        && p.int("since").is_none_or(|s| task.start >= s)
        && p.int("until").is_none_or(|u| task.start <= u)
        && (!p.flag("errors") || bad)
        && p.get("statusfilter")
            .is_none_or(|f| f.split(',').any(|w| w == class))
}
