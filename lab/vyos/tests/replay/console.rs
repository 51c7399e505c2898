//! Turns what a recording did at the router's console into the same on the stand-in.
//!
//! Time is that of the recording: the stand-in itself spends none.

use crate::recording::Step;
use bb_lab_vyos::{Edit, Outcome, Running};

/// What goes on at the console.
#[derive(Default)]
pub(crate) struct Console {
    clock: f64,
    /// A commit to come: when it takes the lock, when it is through, and what it sets.
    commits: Vec<(f64, f64, Vec<Edit>)>,
    /// When the lock held by hand is let go.
    lock_until: Option<f64>,
}

impl Console {
    /// Carries out a shell step. One that only looks has nothing to do here.
    pub(crate) fn run(&mut self, lab: &Running, step: &Step) -> Vec<String> {
        let script = step.command_inside_router.join("\n");
        if script.contains("lockf") {
            let seconds = number_after(&script, "time.sleep(").unwrap_or_default();
            lab.hold_lock(true);
            self.lock_until = Some(self.clock + seconds);
        } else if script.contains("configure\n") {
            let edits = typed(&script);
            let begin = self.clock + number_after(&script, "\nsleep ").unwrap_or_default();
            // As the real one took: a second and a half, and more for each interface.
            let end = begin + 1.5 + 0.6 * f64::from(u32::try_from(edits.len()).unwrap());
            self.commits.push((begin, end, edits));
        }
        self.pass(lab, step.wall_s);
        Vec::new()
    }

    /// Lets time of the recording pass.
    pub(crate) fn pass(&mut self, lab: &Running, seconds: f64) {
        self.clock += seconds.max(0.0);
        let clock = self.clock;
        if self.lock_until.is_some_and(|until| until <= clock) {
            self.lock_until = None;
            lab.hold_lock(false);
        }
        let (done, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.commits)
            .into_iter()
            .partition(|(_, end, _)| *end <= clock);
        self.commits = open;
        for (_, _, edits) in done {
            lab.hold_lock(false);
            assert_eq!(lab.type_in(&edits), Outcome::Done(None));
        }
        if self.commits.iter().any(|(begin, _, _)| *begin <= clock) {
            lab.hold_lock(true);
        }
    }

    /// Lets everything come to its end.
    pub(crate) fn finish(&mut self, lab: &Running) {
        self.pass(lab, 3600.0);
    }
}

fn number_after(text: &str, mark: &str) -> Option<f64> {
    let rest = text.split(mark).nth(1)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The set commands of a script, its loops unrolled.
fn typed(script: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    for line in script.lines() {
        if let Some(path) = line.strip_prefix("set ") {
            edits.push(Edit::set(path));
        } else if let Some((head, body)) = line.split_once("; do set ") {
            let values = head.split(" in ").nth(1).unwrap_or_default();
            let path = body.split("; done").next().unwrap_or_default();
            edits.extend(
                values
                    .split(' ')
                    .map(|value| Edit::set(&path.replace("$i", value))),
            );
        }
    }
    edits
}
