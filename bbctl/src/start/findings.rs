//! Turns what was looked at into PASS, FAIL and SKIP lines, or into one map for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::checks::{Check, Verdict};
use crate::error::{Exit, Failure};
use crate::out::{Format, Out};
use crate::style::Tone;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is and how it was.
    #[serde(flatten)]
    pub check: Check,
    /// Whether things work without it: then it fails nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Finding {
    /// As it should be.
    pub fn pass(name: &'static str, detail: impl Into<String>) -> Self {
        Self::of(name, Verdict::Pass, detail.into(), None)
    }

    /// Not as it should be.
    pub fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(name, Verdict::Fail, detail.into(), Some(remedy.into()))
    }

    /// Not looked at, and why.
    pub fn skip(name: &'static str, detail: impl Into<String>) -> Self {
        Self::of(name, Verdict::Skip, detail.into(), None)
    }

    /// What a request says that failed, with what to do about it.
    #[must_use]
    pub fn failed(name: &'static str, failure: &Failure, remedy: &str) -> Self {
        let hint = failure.hint.clone();
        Self::fail(
            name,
            failure.message.clone(),
            hint.unwrap_or_else(|| remedy.to_owned()),
        )
    }

    /// The same, of something that things work without.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Whether nothing works before it is mended.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.check.status == Verdict::Fail && !self.optional
    }

    fn of(name: &'static str, status: Verdict, detail: String, remedy: Option<String>) -> Self {
        Self {
            check: Check {
                name,
                status,
                detail,
                remedy,
            },
            optional: false,
        }
    }
}

/// Puts findings in the order of `names`; what is missing was not looked at.
#[must_use]
pub fn complete(found: Vec<Finding>, names: &[&'static str]) -> Vec<Finding> {
    let mut found: BTreeMap<&str, Finding> = found
        .into_iter()
        .map(|finding| (finding.check.name, finding))
        .collect();
    let skipped = |name| Finding::skip(name, "not looked at, as an earlier check failed");
    names
        .iter()
        .map(|name| found.remove(name).unwrap_or_else(|| skipped(name)))
        .collect()
}

/// Writes the findings: a line each, or one map of check to status, detail and remedy.
///
/// # Errors
/// When stdout is closed. A check that fails is no error: it is told, and the exit code is 1.
pub fn tell(findings: &[Finding], out: &mut Out) -> Result<Exit, Failure> {
    let fatal: Vec<&Finding> = findings.iter().filter(|f| f.is_fatal()).collect();
    let exit = match fatal.is_empty() {
        true => Exit::Ok,
        false => Exit::Failure,
    };
    match out.format() {
        Format::Json | Format::Yaml => {
            let map: BTreeMap<&str, &Finding> =
                findings.iter().map(|f| (f.check.name, f)).collect();
            out.document(&map)?;
        }
        Format::Name => fatal.iter().try_for_each(|f| out.line(f.check.name))?,
        Format::Table | Format::Wide => lines(findings, out)?,
    }
    Ok(exit)
}

fn lines(findings: &[Finding], out: &mut Out) -> Result<(), Failure> {
    let names = findings.iter().map(|f| f.check.name.chars().count());
    let widest = names.max().unwrap_or_default();
    let margin = " ".repeat(widest + 8);
    for Finding { check, optional } in findings {
        let (word, tone) = match check.status {
            Verdict::Pass => ("PASS", Tone::Good),
            Verdict::Fail if *optional => ("FAIL", Tone::Waiting),
            Verdict::Fail => ("FAIL", Tone::Bad),
            Verdict::Skip => ("SKIP", Tone::Faint),
        };
        let word = out.paint(tone, word);
        let detail = match (check.status, optional) {
            (Verdict::Fail, true) => format!("(optional) {}", check.detail),
            _ => check.detail.clone(),
        };
        let before = format!("{word}  {:<widest$}  ", check.name);
        out.text_behind(&before, widest + 8, &detail)?;
        if let Some(remedy) = &check.remedy {
            let remedy = out.carried().carry(remedy);
            out.text_under(&margin, &format!("remedy: {remedy}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_was_not_looked_at_and_the_order_is_that_of_the_names() {
        let found = vec![Finding::fail("b", "x", "y"), Finding::pass("a", "z")];
        let all = complete(found, &["a", "b", "c"]);
        let status: Vec<Verdict> = all.iter().map(|f| f.check.status).collect();
        assert_eq!(status, [Verdict::Pass, Verdict::Fail, Verdict::Skip]);
    }

    #[test]
    fn what_is_optional_is_not_fatal() {
        assert!(Finding::fail("a", "x", "y").is_fatal());
        assert!(!Finding::fail("a", "x", "y").optional().is_fatal());
        assert!(!Finding::skip("a", "x").is_fatal());
    }
}
