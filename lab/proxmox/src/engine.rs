//! Turns the passing of time into steps of workers: file locks, waiting, ends and what they leave.

use std::fmt::Debug;

use crate::access::Caller;
use crate::model::{Cluster, GuestKind, OddEnd};
use crate::refusal::{Answer, Refusal};
use crate::task::Task;

/// Seconds between two rounds of the status daemon.
pub(crate) const STATD_ROUND: f64 = 10.0;
/// Seconds most calls wait for a guest's file lock.
pub(crate) const LOCK_WAIT: f64 = 10.0;
/// Seconds a create waits for it.
pub(crate) const CREATE_LOCK_WAIT: f64 = 5.0;
/// Lab seconds any wait takes at least, so that a scale of 0 does not make it no wait at all.
const SHORTEST_WAIT: f64 = 0.1;
/// Lab seconds between two rounds at least: at a scale of 0 they would never end.
pub(crate) const SHORTEST_ROUND: f64 = 0.1;
/// Seconds from the fork of a worker to its first step.
const FORK: f64 = 0.02;

/// How a worker holds a guest's file lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// With others: the source of a clone.
    Shared,
    /// Alone.
    Alone,
}

/// Who holds the file lock of one guest; holders are task numbers, 0 is the outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileLock {
    alone: Option<u64>,
    shared: Vec<u64>,
}

impl FileLock {
    fn is_free_for(&self, who: u64, share: Share) -> bool {
        let others = self.shared.iter().any(|h| *h != who);
        let taken = self.alone.is_some_and(|h| h != who);
        !taken && (share == Share::Shared || !others)
    }
}

/// What a step leaves to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next step needs a guest's file lock and waits up to so many seconds for it.
    Lock {
        vmid: u32,
        share: Share,
        patience: f64,
    },
    /// The next step is so many seconds away.
    After(f64),
    /// The end: `OK`, or the words of a refusal.
    Done(Answer<()>),
    /// The end, with warnings.
    Warned(u32),
}

/// What a worker does, step by step.
pub(crate) trait Work: Debug + Send {
    /// Does step `phase` (from 0) and says how it goes on.
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next;

    /// Cleans up after an interrupt and says what the task ends with.
    fn interrupted(&mut self, _cluster: &mut Cluster) -> String {
        "received interrupt".to_owned()
    }
}

/// When a worker goes on.
#[derive(Debug)]
enum When {
    At(f64),
    Lock { vmid: u32, share: Share, until: f64 },
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Job {
    work: Box<dyn Work>,
    phase: u32,
    when: When,
}

impl Cluster {
    /// Lab seconds that `seconds` of the product take.
    pub(crate) fn lasting(&self, seconds: f64) -> f64 {
        seconds * self.scale
    }

    /// Lab seconds to wait for something held that the product waits `seconds` for.
    pub fn waiting(&self, seconds: f64) -> f64 {
        (seconds * self.scale).max(SHORTEST_WAIT)
    }

    /// Starts a worker and gives its UPID.
    pub(crate) fn fork(
        &mut self,
        node: &str,
        kind: &str,
        id: &str,
        caller: &Caller,
        work: Box<dyn Work>,
    ) -> String {
        let pstart = (self.epoch.rem_euclid(1_000_000) as f64 + self.now * 100.0) as u32;
        let task = Task {
            upid: String::new(),
            node: node.to_owned(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            caller: caller.clone(),
            start: self.unix(),
            pid: 0,
            pstart,
            log: Vec::new(),
            end: None,
        };
        let number = self.tasks.add(task);
        let when = When::At(self.now + self.lasting(FORK));
        self.tasks.jobs.insert(
            number,
            Job {
                work,
                phase: 0,
                when,
            },
        );
        self.tasks
            .all
            .get(&number)
            .map(|t| t.upid.clone())
            .unwrap_or_default()
    }

    /// Lets time pass until `target`: every step due is done, in the order of time.
    pub fn tick(&mut self, target: f64) {
        loop {
            if let Some(number) = self.unlocked_waiter() {
                self.run_step(number, true);
                continue;
            }
            let next_job = self
                .tasks
                .jobs
                .iter()
                .map(|(n, job)| match job.when {
                    When::At(at) | When::Lock { until: at, .. } => (at, *n),
                })
                .filter(|(at, _)| *at <= target)
                .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let statd = (self.statd_due <= target).then_some(self.statd_due);
            match (next_job, statd) {
                (Some((at, number)), statd) if statd.is_none_or(|s| at <= s) => {
                    self.now = self.now.max(at);
                    self.run_step(number, false);
                }
                (_, Some(at)) => {
                    self.now = self.now.max(at);
                    self.statd_round();
                    self.statd_due = self.now + self.lasting(STATD_ROUND).max(SHORTEST_ROUND);
                }
                _ => break,
            }
        }
        self.now = self.now.max(target);
    }

    /// The first worker whose lock has become free.
    fn unlocked_waiter(&self) -> Option<u64> {
        let free = |number: u64, vmid: u32, share: Share| {
            self.tasks
                .locks
                .get(&vmid)
                .is_none_or(|l| l.is_free_for(number, share))
        };
        self.tasks.jobs.iter().find_map(|(n, job)| match job.when {
            When::Lock { vmid, share, .. } if free(*n, vmid, share) => Some(*n),
            _ => None,
        })
    }

    /// Does one step of a worker. `got_lock` tells a lock obtained from one given up on.
    fn run_step(&mut self, number: u64, got_lock: bool) {
        let Some(mut job) = self.tasks.jobs.remove(&number) else {
            return;
        };
        if let When::Lock { vmid, share, .. } = job.when {
            if !got_lock {
                let text = self.lock_timeout_text(vmid);
                self.end_task(number, Err(Refusal::fail(text)), None);
                return;
            }
            self.take_lock(number, vmid, share);
        }
        if job.phase == 0
            && let Some(exit) = self.take_odd_end(number, false)
        {
            // What the call itself reserved goes again.
            job.work.interrupted(self);
            self.end_task(number, Err(Refusal::fail(exit)), None);
            return;
        }
        let mut log = self
            .tasks
            .all
            .get_mut(&number)
            .map(|t| std::mem::take(&mut t.log))
            .unwrap_or_default();
        let next = job.work.step(self, &mut log, job.phase);
        if let Some(task) = self.tasks.all.get_mut(&number) {
            task.log = log;
        }
        job.phase += 1;
        match next {
            Next::After(seconds) => job.when = When::At(self.now + self.lasting(seconds)),
            Next::Lock {
                vmid,
                share,
                patience,
            } => {
                job.when = When::Lock {
                    vmid,
                    share,
                    until: self.now + self.waiting(patience),
                };
            }
            Next::Done(verdict) => {
                self.end_task(number, verdict, None);
                return;
            }
            Next::Warned(n) => {
                self.end_task(number, Ok(()), Some(n));
                return;
            }
        }
        self.tasks.jobs.insert(number, job);
    }

    fn take_lock(&mut self, holder: u64, vmid: u32, share: Share) {
        let lock = self.tasks.locks.entry(vmid).or_default();
        match share {
            Share::Alone => lock.alone = Some(holder),
            Share::Shared => lock.shared.push(holder),
        }
    }

    fn release_locks(&mut self, holder: u64) {
        for lock in self.tasks.locks.values_mut() {
            lock.alone = lock.alone.filter(|h| *h != holder);
            lock.shared.retain(|h| *h != holder);
        }
        self.tasks
            .locks
            .retain(|_, l| l.alone.is_some() || !l.shared.is_empty());
    }

    fn end_task(&mut self, number: u64, verdict: Answer<()>, warnings: Option<u32>) {
        let exit = match (verdict, warnings) {
            (Err(refusal), _) => refusal.as_exit(),
            (Ok(()), Some(n)) => format!("WARNINGS: {n}"),
            (Ok(()), None) => "OK".to_owned(),
        };
        let exit = match exit.as_str() {
            "OK" => self.take_odd_end(number, true).unwrap_or(exit),
            _ => exit,
        };
        let line = match exit.as_str() {
            "OK" => "TASK OK".to_owned(),
            text if text.starts_with("WARNINGS") => format!("TASK {text}"),
            text => format!("TASK ERROR: {text}"),
        };
        let end = self.unix();
        if let Some(task) = self.tasks.all.get_mut(&number) {
            task.log.push(line);
            task.end = Some((end, exit));
        }
        self.release_locks(number);
    }

    /// The end that was chosen from outside for a task of this kind, which is used up by it.
    fn take_odd_end(&mut self, number: u64, works: bool) -> Option<String> {
        let kind = self.tasks.all.get(&number)?.kind.clone();
        let fits = |odd: &OddEnd| odd.works == works && odd.kind == kind;
        let at = self.odd_ends.iter().position(fits)?;
        Some(self.odd_ends.remove(at).exit)
    }

    /// Stops a worker the way its owner can: it cleans up behind itself.
    pub(crate) fn interrupt_task(&mut self, number: u64) {
        let Some(mut job) = self.tasks.jobs.remove(&number) else {
            return;
        };
        let exit = job.work.interrupted(self);
        self.end_task(number, Err(Refusal::fail(exit)), None);
    }

    /// Ends every worker as a restart of the API daemon does: each cleans up behind itself.
    pub fn restart_daemon(&mut self) {
        let running: Vec<u64> = self.tasks.jobs.keys().copied().collect();
        for number in running {
            self.interrupt_task(number);
        }
    }

    /// Kills a worker as a crash does: nothing is cleaned up, a `lock` in a config stays.
    ///
    /// Returns whether it was running.
    pub fn kill_task(&mut self, upid: &str) -> bool {
        let Some((number, _)) = self.tasks.find(upid) else {
            return false;
        };
        let ran = self.tasks.jobs.remove(&number).is_some();
        if ran {
            let end = self.unix();
            if let Some(task) = self.tasks.all.get_mut(&number) {
                task.end = Some((end, "unexpected status".to_owned()));
            }
            self.release_locks(number);
        }
        ran
    }

    /// Holds or releases a guest's file lock from outside, as a hung process does.
    pub fn hold_file_lock(&mut self, vmid: u32, held: bool) {
        if held {
            self.take_lock(0, vmid, Share::Alone);
        } else if let Some(lock) = self.tasks.locks.get_mut(&vmid) {
            lock.alone = None;
            if lock.shared.is_empty() {
                self.tasks.locks.remove(&vmid);
            }
        }
    }

    /// For calls that take a guest's file lock while the client waits.
    ///
    /// # Errors
    /// The lock is held; whoever serves the call waits and tries again.
    pub(crate) fn need_lock(&self, vmid: u32, seconds: f64) -> Answer<()> {
        match self.tasks.locks.get(&vmid) {
            None => Ok(()),
            Some(_) => Err(Refusal::file_lock(self.lock_timeout_text(vmid), seconds)),
        }
    }

    fn lock_timeout_text(&self, vmid: u32) -> String {
        let file = match self.guests.get(&vmid).map(|g| g.kind) {
            Some(GuestKind::Lxc) => format!("/run/lock/lxc/pve-config-{vmid}.lock"),
            _ => format!("/var/lock/qemu-server/lock-{vmid}.conf"),
        };
        format!("can't lock file '{file}' - got timeout")
    }
}
