//! Turns one undisturbed life of a tenant into many in which the controller is killed, each at
//! another call that it makes, and compares what comes of them.
//!
//! A point is a call and a side of it. The controller, its real executable, is stopped dead
//! (SIGKILL) while the call is held before it reaches its target, or after it took effect and
//! before the controller knows; a new one is started, and in the end everything in the API, on
//! the routers and on the clusters must be what it is without any kill. Each run carries one
//! kill in each phase, since each phase begins with what was just found right.

pub mod keeper;
pub mod picture;
pub mod points;
pub mod run;
pub mod stage;
pub mod story;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

pub use picture::{Picture, Tally};
pub use points::Point;
pub use run::{Came, Pictures};
use run::{Points, run, undisturbed};
use stage::Stage;
use story::Phase;

/// What is swept.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many tenants live at once, each in a management cluster of its own.
    pub labs: usize,
    /// Which of how many equal parts of the points; `(0, 1)` is all. A point is always in the
    /// same part.
    pub part: (u8, u8),
    /// These points only.
    pub only: Vec<Point>,
    /// Where what is wrong is written, a file for each point.
    pub dir: PathBuf,
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Report {
    /// Every point that the undisturbed runs show, by phase.
    pub known: [usize; 3],
    /// Those that were to be swept.
    pub points: usize,
    /// Those of them at which a controller died.
    pub reached: usize,
    /// Those whose call was made in neither of two runs.
    pub missed: Vec<Point>,
    /// Those after which something was wrong, with the first lines of what.
    pub wrong: BTreeMap<Point, Vec<String>>,
    /// What was wrong, in numbers of things.
    pub tally: Tally,
    /// How many lives there were.
    pub runs: usize,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [create, change, delete] = self.known;
        writeln!(
            f,
            "crash points: {} (create {create}, change {change}, delete {delete}); swept {}, \
             reached {}, not reached {}",
            create + change + delete,
            self.points,
            self.reached,
            self.missed.len(),
        )?;
        let Tally {
            doubled,
            lost,
            left_over,
        } = self.tally;
        writeln!(
            f,
            "{doubled} doubled, {lost} lost, {left_over} left over, {} points with anything \
             otherwise, in {} lives and {} s",
            self.wrong.len(),
            self.runs,
            self.took.as_secs(),
        )?;
        for point in &self.missed {
            writeln!(f, "not reached: {point}")?;
        }
        for (point, lines) in &self.wrong {
            writeln!(f, "wrong: SWEEP_POINT='{point}'")?;
            for line in lines {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

/// What the labs share.
struct Shared {
    options: Options,
    queues: Mutex<[VecDeque<Point>; 3]>,
    report: Mutex<Report>,
    again: Mutex<BTreeSet<Point>>,
}

/// Sweeps.
///
/// # Errors
/// When an undisturbed run fails, or two of them differ.
pub async fn sweep(options: Options) -> Result<Report> {
    let begun = Instant::now();
    let starts = (0..options.labs.max(1)).map(|_| first_life());
    let labs = futures::future::try_join_all(starts).await?;
    let mut known: [BTreeSet<Point>; 3] = Default::default();
    let mut stages = Vec::new();
    let mut wanted: Option<Pictures> = None;
    for (stage, pictures, points) in labs {
        for (all, points) in known.iter_mut().zip(points) {
            all.extend(points);
        }
        let wanted = wanted.get_or_insert_with(|| pictures.clone());
        for (phase, (one, other)) in Phase::ALL.iter().zip(pictures.iter().zip(wanted.iter())) {
            let differing = one.against(other);
            if !differing.is_empty() {
                bail!(
                    "two undisturbed runs differ after {}: {differing:#?}",
                    phase.word()
                );
            }
        }
        stages.push(stage);
    }
    let wanted = wanted.context("there is a lab")?;
    let report = Report {
        known: [known[0].len(), known[1].len(), known[2].len()],
        ..Report::default()
    };
    let queues = known.map(|points| chosen(&options, points));
    let shared = Shared {
        queues: Mutex::new(queues),
        report: Mutex::new(report),
        again: Mutex::default(),
        options,
    };
    let swept = shared.queues().iter().map(VecDeque::len).sum();
    shared.report().points = swept;
    let lives = stages
        .into_iter()
        .map(|stage| lives(&shared, stage, &wanted));
    futures::future::try_join_all(lives).await?;
    let mut report = shared
        .report
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    report.took = begun.elapsed();
    Ok(report)
}

async fn first_life() -> Result<(Stage, Pictures, [Vec<Point>; 3])> {
    let stage = Stage::start().await?;
    let (pictures, points) = undisturbed(&stage).await?;
    Ok((stage, pictures, points))
}

/// The points of a phase that are to be swept.
fn chosen(options: &Options, known: BTreeSet<Point>) -> VecDeque<Point> {
    let phase = known.first().map(|point| point.phase);
    if !options.only.is_empty() {
        let only = options.only.iter();
        return only.filter(|p| Some(p.phase) == phase).cloned().collect();
    }
    let (part, of) = options.part;
    let in_part = |point: &Point| Sha256::digest(point.to_string())[0] % of.max(1) == part;
    known.into_iter().filter(in_part).collect()
}

impl Shared {
    fn queues(&self) -> std::sync::MutexGuard<'_, [VecDeque<Point>; 3]> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The points of the next run; none when all are done.
    fn next(&self) -> Option<Points> {
        let mut queues = self.queues();
        let points = [0, 1, 2].map(|phase| queues[phase].pop_front());
        points.iter().any(Option::is_some).then_some(points)
    }

    /// Puts back what a run that ended early did not come to.
    fn put_back(&self, points: Points, done: &[(Point, Came)]) {
        let mut queues = self.queues();
        for point in points.into_iter().flatten() {
            if done.iter().all(|(other, _)| *other != point) {
                queues[point.phase.index()].push_front(point);
            }
        }
    }

    fn enter(&self, point: Point, came: Came) {
        let mut report = self.report();
        match came {
            Came::Right => report.reached += 1,
            Came::NotReached => {
                let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
                if again.insert(point.clone()) {
                    self.queues()[point.phase.index()].push_back(point);
                } else {
                    report.missed.push(point);
                }
            }
            Came::Wrong { tally, lines } => {
                tracing::warn!(%point, ?tally, "wrong");
                report.reached += 1;
                report.tally.doubled += tally.doubled;
                report.tally.lost += tally.lost;
                report.tally.left_over += tally.left_over;
                report
                    .wrong
                    .insert(point, lines.into_iter().take(12).collect());
            }
        }
    }

    /// Keeps what there is to know of a run that went wrong.
    fn keep(&self, stage: &Stage, point: &Point, lines: &[String]) -> Result<()> {
        let name: String = point.to_string().replace(['/', '|', ' '], "_");
        let dir = self.options.dir.join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::write(dir.join("differing"), lines.join("\n"))?;
        std::fs::copy(stage.log(), dir.join("controller.log"))?;
        let calls: Vec<String> = stage
            .journals()
            .iter()
            .flat_map(|(target, calls)| {
                calls.iter().map(move |call| {
                    let name = points::name_of(target, &call.asked, &stage.names);
                    format!("{:>9.3?} {target} {name} {:?}", call.at, call.end)
                })
            })
            .collect();
        std::fs::write(dir.join("calls"), calls.join("\n"))?;
        Ok(())
    }
}

/// One life after another in one lab, and in a new one after a life that went wrong.
async fn lives(shared: &Shared, mut stage: Stage, wanted: &Pictures) -> Result<()> {
    while let Some(points) = shared.next() {
        let begun = Instant::now();
        let done = run(&stage, &points, wanted).await;
        shared.report().runs += 1;
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // Whatever it was, it came with these points.
                let lines = vec![format!("{error:#}"), stage.tail()];
                let first = points.iter().flatten().next().cloned();
                let tally = Tally::default();
                let came = first.map(|point| (point, Came::Wrong { tally, lines }));
                came.into_iter().collect()
            }
        };
        tracing::info!(took = ?begun.elapsed(), points = ?done.iter().map(|(p, c)| format!("{p} {}", short(c))).collect::<Vec<_>>(), "a life");
        shared.put_back(points, &done);
        let mut whole = true;
        for (point, came) in done {
            if let Came::Wrong { lines, .. } = &came {
                whole = false;
                shared.keep(&stage, &point, lines)?;
            }
            shared.enter(point, came);
        }
        if !whole {
            stage.stop().await?;
            stage = Stage::start().await?;
        }
    }
    stage.stop().await
}

fn short(came: &Came) -> &'static str {
    match came {
        Came::Right => "right",
        Came::NotReached => "not reached",
        Came::Wrong { .. } => "WRONG",
    }
}
