//! Turns a list of points into one life of the tenant in which the controller dies at each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bb_lab_proxy::{Gate, Held};

use super::keeper;
use super::picture::{Picture, Tally, tally};
use super::points::{self, Point};
use super::stage::Stage;
use super::story::Phase;

/// Longer than a phase takes on two busy cores, with the pauses after failures that it may
/// bring.
pub const BOUND: Duration = Duration::from_secs(40);

/// What one point came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// The controller died there, and all came to be as in the undisturbed run.
    Right,
    /// The call was not made in this run.
    NotReached,
    /// Something is otherwise, and how.
    Wrong {
        /// In numbers.
        tally: Tally,
        /// What is otherwise, a line each; and the controller's last words.
        lines: Vec<String>,
    },
}

/// The points of one run, at most one in each phase.
pub type Points = [Option<Point>; 3];

/// The pictures of the undisturbed run at the end of each phase.
pub type Pictures = [Picture; 3];

/// Lives the tenant's life once. Ends early when something is wrong: what would come after
/// begins with what should be.
pub async fn run(stage: &Stage, run: &Points, wanted: &Pictures) -> Result<Vec<(Point, Came)>> {
    let mut all = Vec::new();
    for phase in Phase::ALL {
        let point = run[phase.index()].as_ref();
        let came = one_phase(stage, phase, point, &wanted[phase.index()]).await?;
        let wrong = matches!(came, Came::Wrong { .. });
        match (point, came) {
            (Some(point), came) => all.push((point.clone(), came)),
            (None, Came::Wrong { lines, .. }) => {
                anyhow::bail!("{} without a kill: {lines:#?}", phase.word());
            }
            (None, _) => {}
        }
        if wrong {
            break;
        }
    }
    Ok(all)
}

async fn one_phase(
    stage: &Stage,
    phase: Phase,
    point: Option<&Point>,
    wanted: &Picture,
) -> Result<Came> {
    stage.forget();
    stage.pause()?;
    phase.begin(&stage.site).await?;
    let gate = point.map(|point| gate(stage, point)).transpose()?;
    stage.resume()?;
    let clear = async {
        match phase {
            Phase::Delete => keeper::clear(&stage.site, BOUND).await,
            Phase::Create | Phase::Change => Ok(()),
        }
    };
    let (cleared, came) = tokio::join!(clear, killed_and_converged(stage, gate, wanted));
    let (reached, mut lines) = came?;
    if let Err(error) = cleared {
        lines.push(format!("+ {error:#}"));
    }
    if phase == Phase::Delete && lines.is_empty() && !stage.is_as_before() {
        lines.push("+ routers and clusters are not what they were, to the byte".to_owned());
    }
    if !lines.is_empty() {
        let tally = tally(&lines, phase == Phase::Delete);
        lines.push(stage.tail());
        return Ok(Came::Wrong { tally, lines });
    }
    Ok(if reached {
        Came::Right
    } else {
        Came::NotReached
    })
}

fn gate(stage: &Stage, point: &Point) -> Result<Gate> {
    let proxy = stage.site.proxies.get(&point.target);
    let proxy = proxy.with_context(|| format!("there is no target {}", point.target))?;
    let fits = points::fits(point, &stage.names);
    Ok(proxy.gate(fits, point.nth - 1, point.when))
}

/// Kills the controller at the gate, if that is reached, and waits until all is as it should
/// be. Says whether it was reached, and what differs.
async fn killed_and_converged(
    stage: &Stage,
    gate: Option<Gate>,
    wanted: &Picture,
) -> Result<(bool, Vec<String>)> {
    let Some(mut gate) = gate else {
        return Ok((false, stage.comes_to(wanted, BOUND).await?));
    };
    let held: Held = tokio::select! {
        held = gate.held(2 * BOUND) => held?,
        // All is done and the call was not made.
        differing = stage.comes_to(wanted, BOUND) => return Ok((false, differing?)),
    };
    stage.kill_controller()?;
    held.cut();
    stage.start_controller()?;
    Ok((true, stage.comes_to(wanted, BOUND).await?))
}

/// Lives the tenant's life once without a kill, and gives the pictures and the points.
pub async fn undisturbed(stage: &Stage) -> Result<(Pictures, [Vec<Point>; 3])> {
    let mut pictures = Vec::new();
    let mut all = Vec::new();
    for phase in Phase::ALL {
        stage.forget();
        stage.pause()?;
        phase.begin(&stage.site).await?;
        let begun = Instant::now();
        stage.resume()?;
        if phase == Phase::Delete {
            keeper::clear(&stage.site, BOUND).await?;
        }
        let picture = stage.at_rest(BOUND).await;
        let picture = picture.with_context(|| format!("{} without a kill", phase.word()))?;
        tracing::info!(phase = phase.word(), took = ?begun.elapsed(), "undisturbed");
        let found = points::points(phase, &stage.journals(), &stage.names);
        pictures.push(picture);
        all.push(found.into_iter().collect());
    }
    anyhow::ensure!(
        stage.is_as_before(),
        "the undisturbed run leaves something behind"
    );
    let pictures = pictures.try_into().ok().context("three phases")?;
    let all = all.try_into().ok().context("three phases")?;
    Ok((pictures, all))
}
