//! Turns what differs, while what is asked is what was applied, into what somebody else changed.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::condition::Verdict;
use bb_crds::drift::{LINE, LINES};
use bb_crds::{Condition, ConditionType, Drift, Preview, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;

use crate::vyos::{Command, Lines, Path, Verb};
use crate::world::{Uid, World};

/// How long a status tells of drift that was put right.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// What stands for a secret.
const MASK: &str = "********";
/// Words after which a value may be a secret, in paths of VyOS and keys of Proxmox VE.
const SECRET: [&str; 6] = ["password", "passwd", "secret", "key", "psk", "community"];

/// What differs, as lines: `- ` what is there, `+ ` what should be. Never empty, and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// At most [`LINES`], of at most [`LINE`] characters.
    pub lines: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl Difference {
    /// The difference that these lines are, if there are any.
    #[must_use]
    pub fn of(lines: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut lines = lines.into_iter();
        let shown: Vec<String> = lines.by_ref().take(LINES).map(cut).collect();
        let more = lines.count();
        (!shown.is_empty()).then_some(Self { lines: shown, more })
    }

    /// Adds what another says beside it.
    pub fn add(&mut self, other: &Self) {
        for line in &other.lines {
            if self.lines.contains(line) {
                continue;
            }
            if self.lines.len() < LINES {
                self.lines.push(line.clone());
            } else {
                // Which lines those are is not known: the larger count is the truer one.
                self.more = self.more.max(1);
            }
        }
        self.more = self.more.max(other.more);
    }
}

impl From<&Difference> for Preview {
    fn from(difference: &Difference) -> Self {
        Self {
            lines: difference.lines.clone(),
            more: i64::try_from(difference.more).unwrap_or(i64::MAX),
        }
    }
}

fn cut(line: String) -> String {
    if line.chars().count() <= LINE {
        return line;
    }
    let mut short: String = line.chars().take(LINE - 1).collect();
    short.push('…');
    short
}

/// Whether what stands after a word may be a secret.
#[must_use]
pub fn is_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    SECRET.iter().any(|secret| word.contains(secret))
}

/// What a router has and should not, and should have and has not, for each owner of commands.
#[must_use]
pub fn on_router<'a>(
    commands: impl IntoIterator<Item = &'a Command>,
    running: &Lines,
) -> BTreeMap<Uid, Difference> {
    let mut lines: BTreeMap<Uid, Vec<String>> = BTreeMap::new();
    for command in commands {
        let of_owner = lines.entry(command.owner.clone()).or_default();
        match command.verb {
            Verb::Delete => of_owner.extend(running.below(&command.path).map(|l| shown('-', l))),
            Verb::Set => of_owner.push(shown('+', &command.path)),
        }
    }
    lines
        .into_iter()
        .filter_map(|(owner, lines)| Some((owner, Difference::of(lines)?)))
        .collect()
}

fn shown(sign: char, line: &Path) -> String {
    format!("{sign} {}", words(line))
}

/// A path as one types it, with what may be a secret masked.
#[must_use]
pub fn words(path: &[String]) -> String {
    let mut shown = Vec::new();
    let mut masked = false;
    for word in path {
        shown.push(if masked {
            MASK.to_owned()
        } else if word.contains(' ') || word.is_empty() {
            format!("'{word}'")
        } else {
            word.clone()
        });
        // What a name of ours or a number says is no secret, whatever it contains.
        masked |= is_secret(word);
    }
    shown.join(" ")
}

/// What was found of one object on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When, in whole seconds, as it is recorded.
    pub at: Time,
    /// What differed.
    pub difference: Difference,
    /// It is still so, as far as is known.
    pub open: bool,
}

/// What is known of drift on one target after a pass: what was known before, with what this pass
/// found. `settled` are those found to be as asked. Says which is news.
#[must_use]
pub fn follow(
    before: &BTreeMap<Uid, Found>,
    found: BTreeMap<Uid, Difference>,
    settled: &BTreeSet<&str>,
    now: &Time,
) -> (BTreeMap<Uid, Found>, BTreeSet<Uid>) {
    let mut after = before.clone();
    let mut news = BTreeSet::new();
    for (uid, difference) in found {
        let open = !settled.contains(uid.as_str());
        match after.get_mut(&uid).filter(|known| known.open) {
            Some(known) => {
                known.difference.add(&difference);
                known.open = open;
            }
            None => {
                news.insert(uid.clone());
                let at = whole_seconds(now);
                after.insert(
                    uid,
                    Found {
                        at,
                        difference,
                        open,
                    },
                );
            }
        }
    }
    for (uid, known) in &mut after {
        if !news.contains(uid) && settled.contains(uid.as_str()) {
            known.open = false;
        }
    }
    (after, news)
}

fn whole_seconds(time: &Time) -> Time {
    let seconds = k8s_openapi::jiff::Timestamp::from_second(time.0.as_second());
    Time(seconds.unwrap_or(time.0))
}

/// Brings what is recorded of one target up to what was found there. `settled` is whether the
/// target was just found to be as asked.
pub fn record(
    recorded: &mut Vec<Drift>,
    target: &str,
    found: Option<&Found>,
    settled: bool,
    now: &Time,
) {
    let now = whole_seconds(now);
    let told = |at: &Time| now.0.duration_since(at.0) < KEPT;
    let found = found.filter(|found| found.open || told(&found.at));
    let at = recorded.iter().position(|drift| drift.target == target);
    let known = at.map(|at| recorded.remove(at));
    let next = match (known, found) {
        (None, None) => None,
        (Some(drift), None) => Some(drift),
        (Some(mut drift), Some(found)) if drift.since >= found.at || drift.corrected.is_none() => {
            if drift.corrected.is_none() {
                merge(&mut drift, &found.difference);
            }
            Some(drift)
        }
        (_, Some(found)) => Some(begun(target, found)),
    };
    let Some(mut drift) = next else {
        return;
    };
    let open = found.is_some_and(|found| found.open);
    if settled && !open && drift.corrected.is_none() {
        drift.corrected = Some(now.clone());
    }
    if drift.corrected.as_ref().is_none_or(told) {
        recorded.push(drift);
        recorded.sort_by(|a, b| a.target.cmp(&b.target));
    }
}

fn begun(target: &str, found: &Found) -> Drift {
    let shown = Preview::from(&found.difference);
    Drift {
        target: target.to_owned(),
        since: found.at.clone(),
        corrected: None,
        lines: shown.lines,
        more: shown.more,
    }
}

fn merge(drift: &mut Drift, difference: &Difference) {
    let mut all = Difference {
        lines: std::mem::take(&mut drift.lines),
        more: usize::try_from(drift.more).unwrap_or(0),
    };
    all.add(difference);
    let shown = Preview::from(&all);
    drift.lines = shown.lines;
    drift.more = shown.more;
}

/// Whether what is on an object's targets is what was put there. `observed` says of a target
/// whether what differs is left as it is.
#[must_use]
pub fn in_sync(
    drift: &[Drift],
    programmed: &Verdict,
    observed: impl Fn(&str) -> bool,
    conditions: &[Condition],
) -> Verdict {
    if let Some(open) = drift.iter().find(|d| d.corrected.is_none()) {
        let what = if observed(&open.target) {
            "managementPolicy is Observe: it is left as it is"
        } else {
            "it is being put right"
        };
        return Verdict::no(Reason::Drifted, format!("{}; {what}", told(open)));
    }
    if let Some(last) = drift.iter().max_by_key(|d| d.corrected.clone()) {
        let text = format!("{}; it was put right", told(last));
        return Verdict::yes(Reason::Corrected, text);
    }
    let held = conditions
        .iter()
        .any(|c| c.is(ConditionType::InSync) && c.holds());
    if held || programmed.holds == Some(true) {
        Verdict::yes(Reason::InSync, "")
    } else {
        Verdict::unknown(Reason::Pending, "compared once it is programmed")
    }
}

/// What somebody did, in a sentence without its end.
fn told(drift: &Drift) -> String {
    let count = drift.lines.len() + usize::try_from(drift.more).unwrap_or(0);
    let first: Vec<&str> = drift.lines.iter().take(2).map(String::as_str).collect();
    let rest = match count - first.len() {
        0 => String::new(),
        more => format!(" and {more} more, see status.drift"),
    };
    format!(
        "somebody else changed it on {}: `{}`{rest}",
        drift.target,
        first.join("`, `")
    )
}

/// What to tell of a change in what is recorded: a sentence, and whether it is a warning.
#[must_use]
pub fn news(
    before: &[Drift],
    after: &[Drift],
    observed: impl Fn(&str) -> bool,
) -> Option<(Reason, String)> {
    let old = |drift: &Drift| before.iter().find(|b| b.target == drift.target);
    let begun = after
        .iter()
        .find(|d| old(d).is_none_or(|b| b.since != d.since));
    if let Some(drift) = begun {
        let what = match (&drift.corrected, observed(&drift.target)) {
            (Some(_), _) => "it was put right",
            (None, true) => "managementPolicy is Observe: it is left as it is",
            (None, false) => "it is being put right",
        };
        return Some((Reason::Drifted, format!("{}; {what}", told(drift))));
    }
    let ended = after
        .iter()
        .find(|d| d.corrected.is_some() && old(d).is_some_and(|b| b.corrected.is_none()))?;
    let lines = ended.lines.len() + usize::try_from(ended.more).unwrap_or(0);
    Some((
        Reason::Corrected,
        format!(
            "what somebody else changed on {} is put right ({lines} lines)",
            ended.target
        ),
    ))
}

/// What the objects' status records that a router was last seen to run of each.
#[must_use]
pub fn recorded_on(world: &World, router: &str) -> BTreeMap<Uid, String> {
    let networks = world.networks.values();
    networks
        .filter_map(|network| {
            let targets = &network.status.as_ref()?.targets;
            let applied = targets.iter().find(|t| t.name == router)?.applied.clone()?;
            Some((crate::world::uid(network.as_ref()), applied))
        })
        .collect()
}

/// A fingerprint of what is asked, as it is recorded.
#[must_use]
pub fn applied(asked: u64) -> String {
    format!("{asked:016x}")
}

#[cfg(test)]
mod tests;
