//! Turns one script's part of a commit into its verdict, and into what it does to the system.
//!
//! The rules and their texts are those of VyOS 1.5 (October 2024) for the scripts of tenant
//! networks; other scripts accept whatever fits the schema. Every rule looks at the whole
//! candidate, as the real scripts do, and at the devices there are at that moment.

mod bgp;
mod dhcp;
mod firewall;
mod https;
mod interfaces;
mod nat;
mod vrf;

use crate::kernel::Kernel;
use crate::tree::Node;

/// One script's part of a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The script's own node.
    pub path: &'a [String],
    /// Whether that node is taken away.
    pub deleting: bool,
    /// What runs, and what is to run.
    pub old: &'a Node,
    pub new: &'a Node,
}

impl<'a> Part<'a> {
    fn words(&self) -> Vec<&'a str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// The script's node as it is to be; an empty one when it is taken away.
    fn config(&self) -> &'a Node {
        static NOTHING: std::sync::LazyLock<Node> = std::sync::LazyLock::new(Node::default);
        self.new.get(self.path).unwrap_or(&NOTHING)
    }
}

/// Why a part was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A rule said no; the text is wrapped when printed.
    Config(String),
    /// The script fell over; the text is printed as it is.
    Crash(String),
}

/// What a rule says.
pub(crate) type Verdict = Result<(), Refusal>;

fn refuse(text: impl Into<String>) -> Verdict {
    Err(Refusal::Config(text.into()))
}

/// A Python traceback in outline: where in which script, and the last line.
fn crash(script: &str, function: &str, error: &str) -> Verdict {
    Err(Refusal::Crash(format!(
        "Traceback (most recent call last):\n  \
         File \"/usr/libexec/vyos/conf_mode/{script}.py\", in {function}\n{error}"
    )))
}

/// Judges one part. Warnings are printed whatever the verdict.
///
/// # Errors
/// The part is refused.
pub(crate) fn verify(part: &Part<'_>, kernel: &Kernel, warnings: &mut Vec<String>) -> Verdict {
    match part.words().as_slice() {
        ["vrf"] => vrf::verify(part, kernel),
        ["interfaces", kind, name] => interfaces::verify(part, kind, name, kernel, warnings),
        ["protocols", "bgp"] => bgp::verify(part, None, kernel, warnings),
        ["vrf", "name", vrf, "protocols", "bgp"] => bgp::verify(part, Some(vrf), kernel, warnings),
        ["protocols", "static"] | ["vrf", "name", _, "protocols", "static"] => {
            bgp::verify_static(part, kernel)
        }
        ["nat"] => nat::verify(part, kernel, warnings),
        ["firewall"] => firewall::verify(part, warnings),
        ["service", "dhcp-server"] => dhcp::verify(part, kernel),
        ["service", "https"] => https::verify(part, kernel),
        _ => Ok(()),
    }
}

/// Carries one judged part out on the system.
///
/// # Errors
/// The system refuses; what was done until then stays done.
pub(crate) fn apply(part: &Part<'_>, kernel: &mut Kernel) -> Verdict {
    match part.words().as_slice() {
        ["vrf"] => vrf::apply(part, kernel),
        ["interfaces", kind, name] => interfaces::apply(part, kind, name, kernel),
        _ => Ok(()),
    }
}
