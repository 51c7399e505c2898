//! Turns `attach`, `detach` and `resize` into changes of Instances' and Volumes' specs.
//!
//! Attachment is said in one place, the Instance's `spec.volumes`; so that is what is changed.

use std::time::Duration;

use serde_json::{Value, json};

use super::draft::disk;
use super::instance::finish;
use crate::change::{Changed, Writing, change};
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::{self, Object, list, text};
use crate::out::Out;
use crate::resource::Target;
use crate::results::Results;
use crate::session::{Scope, Session};
use crate::watch::Wanted;

/// What `attach` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl volumes attach data www-1
  bbctl volumes attach data www-1 --wait")]
pub struct AttachArgs {
    /// The Volume
    #[arg(value_name = "VOLUME")]
    pub volume: String,
    /// The Instance, a virtual machine
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// Wait until the instance has it
    #[arg(long)]
    pub wait: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `detach` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl volumes detach data
  bbctl volumes detach data --dry-run=client")]
pub struct DetachArgs {
    /// The Volume
    #[arg(value_name = "VOLUME")]
    pub volume: String,
    /// Wait until the instance has let go
    #[arg(long)]
    pub wait: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `resize` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl volumes resize data 40Gi
  bbctl volumes resize data 40Gi --wait

A Volume grows while it is in use and never shrinks. One that no instance has grows when one
attaches it.")]
pub struct ResizeArgs {
    /// The Volume
    #[arg(value_name = "VOLUME")]
    pub volume: String,
    /// How large it should be, such as 40Gi
    #[arg(value_name = "SIZE")]
    pub size: String,
    /// Wait until it is
    #[arg(long)]
    pub wait: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// The entry of an instance that names a volume.
fn has(instance: &Object, volume: &str) -> bool {
    let mut disks = list(instance, "/spec/volumes").iter();
    disks.any(|entry| entry["volume"].as_str() == Some(volume))
}

/// The instances of the session's namespace that name a volume.
async fn users(volume: &str, session: &Session) -> Result<Vec<String>, Failure> {
    let scope = Scope::Namespace(session.namespace().to_owned());
    let instances = session.list(Kind::called("Instance"), &scope, None).await?;
    let users = instances.iter().filter(|instance| has(instance, volume));
    Ok(users.map(|user| object::name(user).to_owned()).collect())
}

/// Attaches a volume to an instance.
///
/// # Errors
/// When either is not there, another instance has the volume, or the server refuses.
pub async fn attach(
    args: &AttachArgs,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    session.get(Kind::called("Volume"), &args.volume).await?;
    let users = users(&args.volume, session).await?;
    if let Some(other) = users.iter().find(|user| **user != args.instance) {
        return Err(Failure::new(
            Exit::Conflict,
            format!("volume/{} is attached to instance/{other}", args.volume),
        )
        .hint(format!(
            "take it away first: `bbctl volumes detach {}`",
            args.volume
        )));
    }
    let decide = |instance: &Object| Ok(with(instance, &args.volume));
    let done = Write {
        target: instance(&args.instance, session),
        word: "attaching",
        wait: args.wait,
        writing: &args.writing,
    };
    done.run(decide, timeout, session, out).await
}

/// The change that gives a volume to an instance; none where it has it.
fn with(instance: &Object, volume: &str) -> Option<Value> {
    if has(instance, volume) {
        return None;
    }
    let mut disks = list(instance, "/spec/volumes").to_vec();
    disks.push(disk(volume));
    Some(json!({"spec": {"volumes": disks}}))
}

/// The change that takes a volume away from an instance; none where it has not got it.
#[must_use]
pub fn without(instance: &Object, volume: &str) -> Option<Value> {
    if !has(instance, volume) {
        return None;
    }
    let mut disks = list(instance, "/spec/volumes").to_vec();
    disks.retain(|entry| entry["volume"].as_str() != Some(volume));
    Some(json!({"spec": {"volumes": disks}}))
}

/// Takes a volume away from the instance that has it.
///
/// # Errors
/// When no instance names it, or the server refuses.
pub async fn detach(
    args: &DetachArgs,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let users = users(&args.volume, session).await?;
    let Some(user) = users.first() else {
        session.get(Kind::called("Volume"), &args.volume).await?;
        let target = Target::known(Kind::called("Volume"), &args.volume, session);
        let mut results = Results::new(args.writing.dry_run.is_some());
        results.add(&target, "unchanged", None, out)?;
        return results.close(out);
    };
    let decide = |instance: &Object| Ok(without(instance, &args.volume));
    let done = Write {
        target: instance(user, session),
        word: "detaching",
        wait: args.wait,
        writing: &args.writing,
    };
    done.run(decide, timeout, session, out).await
}

/// Makes a volume larger.
///
/// # Errors
/// When it is not there, or the server refuses.
pub async fn resize(
    args: &ResizeArgs,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let decide = |volume: &Object| {
        let differs = text(volume, "/spec/size") != args.size;
        Ok(differs.then(|| json!({"spec": {"size": args.size}})))
    };
    let done = Write {
        target: Target::known(Kind::called("Volume"), &args.volume, session),
        word: "resized",
        wait: args.wait,
        writing: &args.writing,
    };
    done.run(decide, timeout, session, out).await
}

fn instance(name: &str, session: &Session) -> Target {
    Target::known(Kind::called("Instance"), name, session)
}

/// A change of one object and what is said of it.
struct Write<'a> {
    target: Target,
    word: &'static str,
    wait: bool,
    writing: &'a Writing,
}

impl Write<'_> {
    async fn run(
        self,
        decide: impl Fn(&Object) -> Result<Option<Value>, Failure>,
        timeout: Option<Duration>,
        session: &Session,
        out: &mut Out,
    ) -> Result<Exit, Failure> {
        let dry_run = self.writing.dry_run;
        let changed = change(&self.target, dry_run, session, decide).await?;
        let Changed { object, changed } = changed;
        let word = if changed { self.word } else { "unchanged" };
        let mut results = Results::new(dry_run.is_some());
        results.add(&self.target, word, Some(&object), out)?;
        let wanted = vec![Wanted::this(self.target, object.metadata.uid)];
        let wait = self.wait && dry_run.is_none();
        finish(results, wanted, wait, timeout, session, out).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_given_and_taken_beside_the_others() {
        let instance: Object = serde_json::from_value(json!({"metadata": {"name": "a"},
            "spec": {"volumes": [{"name": "x", "volume": "old"}]}}))
        .unwrap();
        let patch = with(&instance, "my.data").unwrap();
        assert_eq!(
            patch["spec"]["volumes"],
            json!([{"name": "x", "volume": "old"}, {"name": "my-data", "volume": "my.data"}])
        );
        assert_eq!(with(&instance, "old"), None);
        assert_eq!(
            without(&instance, "old").unwrap()["spec"]["volumes"],
            json!([])
        );
        assert_eq!(without(&instance, "other"), None);
    }
}
