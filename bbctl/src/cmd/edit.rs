//! Turns an object into a file in an editor, and what becomes of the file into a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::change::{Changed, Writing, between, change};
use crate::error::{Exit, Failure};
use crate::manifest::{self, parse};
use crate::next::quoted;
use crate::object::Object;
use crate::out::{Out, render_yaml};
use crate::resource::Target;
use crate::results::Results;
use crate::select::Selection;
use crate::session::Session;

/// What `bbctl edit` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl edit instance www-1
  EDITOR=nano bbctl edit network/web -n acme

The editor is KUBE_EDITOR, VISUAL or EDITOR, else vi. What cannot be written stays in its file.")]
pub struct Args {
    /// KIND NAME, or KIND/NAME
    #[arg(value_name = "KIND NAME", required = true)]
    pub words: Vec<String>,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// Opens the object in an editor and writes what was changed.
///
/// # Errors
/// When there is no editor, or what it left cannot be written; then the file is kept and named.
pub async fn run(args: &Args, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let (kind, name) = match Selection::parse(&args.words)? {
        Selection::Named(mut names) if names.len() == 1 => names.remove(0),
        _ => return Err(Failure::usage("name one object: KIND NAME, or KIND/NAME")),
    };
    let editor = editor(out)?;
    let target = Target::known(kind, &name, session);
    let object = session.get(kind, &name).await?;
    let before = manifest::of(&object)?;
    let file = write(&target, &before)?;
    // The terminal is the editor's from here on.
    out.sign().clear();
    open(&editor, &file).await?;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| failed("read", &file, &error.to_string()))?;
    let outcome = take(args, &target, &before, &text, session).await;
    let mut results = Results::new(args.writing.dry_run.is_some());
    match outcome {
        Ok(None) => {
            remove(&file)?;
            results.add(&target, "unchanged", Some(&object), out)?;
        }
        Ok(Some(Changed { object, .. })) => {
            remove(&file)?;
            results.add(&target, "configured", Some(&object), out)?;
            if !out.is_machine() && args.writing.dry_run.is_none() {
                out.next(&format!("wait {}", target.words()));
            }
        }
        Err(failure) => return Err(kept(&failure, &file)),
    }
    results.close(out)
}

/// Writes what the editor left, if that differs from what it was given.
async fn take(
    args: &Args,
    target: &Target,
    before: &Value,
    text: &str,
    session: &Session,
) -> Result<Option<Changed>, Failure> {
    let Some(after) = edited(before, text)? else {
        return Ok(None);
    };
    let Some(patch) = between(before, &after) else {
        return Ok(None);
    };
    let decide = |now: &Object| match manifest::of(now)? == *before {
        true => Ok(Some(patch.clone())),
        false => Err(Failure::new(
            Exit::Conflict,
            format!("{} was changed by somebody else meanwhile", target.label()),
        )),
    };
    change(target, args.writing.dry_run, session, decide)
        .await
        .map(Some)
}

/// What an editor left, as an object; nothing where it left nothing.
fn edited(before: &Value, text: &str) -> Result<Option<Value>, Failure> {
    let mut left = parse(text, "the file")?;
    let after = match left.len() {
        0 => return Ok(None),
        1 => manifest::of(&left.remove(0).object)?,
        _ => {
            return Err(Failure::new(
                Exit::Failure,
                "the file has more than one object",
            ));
        }
    };
    for pointer in [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
    ] {
        if after.pointer(pointer) != before.pointer(pointer) {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            return Err(
                Failure::new(Exit::Failure, format!("{field} cannot be changed"))
                    .hint("to make another object, apply the file"),
            );
        }
    }
    Ok(Some(after))
}

/// The editor that is meant. Without one being named, a person must be there to use vi.
fn editor(out: &Out) -> Result<String, Failure> {
    match named(out.env()) {
        Some(_) if out.refuses_input() => {
            Err(Failure::usage("--no-input leaves nobody to edit")
                .hint("use `bbctl apply -f FILE`"))
        }
        Some(editor) => Ok(editor),
        None if out.can_ask() => Ok("vi".to_owned()),
        None => Err(Failure::usage("there is no terminal to edit in")
            .hint("set EDITOR to a program that needs none, or use `bbctl apply -f FILE`")),
    }
}

/// The editor that the environment names.
pub(crate) fn named(env: &BTreeMap<String, String>) -> Option<String> {
    let names = ["KUBE_EDITOR", "VISUAL", "EDITOR"];
    let mut set = names.iter().filter_map(|name| env.get(*name));
    set.find(|value| !value.trim().is_empty()).cloned()
}

/// Opens a text in an editor, and gives what it left as a manifest of the same object; nothing
/// where that is the object as it was before.
///
/// # Errors
/// When the editor fails, or left something else; then the file is kept and named.
pub(crate) async fn draft(
    editor: &str,
    label: &str,
    before: &str,
    text: &str,
) -> Result<Option<String>, Failure> {
    let before = parse(before, "the object")?;
    let before = match before.first() {
        Some(before) => manifest::of(&before.object)?,
        None => return Ok(None),
    };
    let file = file(label, text)?;
    open(editor, &file).await?;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| failed("read", &file, &error.to_string()))?;
    let after = edited(&before, &text).map_err(|failure| kept(&failure, &file))?;
    remove(&file)?;
    match after.filter(|after| *after != before) {
        Some(after) => render_yaml(&after).map(Some),
        None => Ok(None),
    }
}

fn write(target: &Target, object: &Value) -> Result<PathBuf, Failure> {
    let text = format!(
        "# Save and close to write what you changed; leave it as it is, or empty, to write nothing.\n\
         # Fields that cannot change say so when they are written.\n{}",
        render_yaml(object)?
    );
    file(&target.label(), &text)
}

/// Writes a text to a file to edit, which only its owner can read.
fn file(label: &str, text: &str) -> Result<PathBuf, Failure> {
    let prefix = format!("bbctl-{}-", label.replace('/', "-"));
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Failure,
            format!("cannot write a file to edit: {error}"),
        )
    };
    let file = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".yaml")
        .tempfile();
    let file = file.map_err(|error| failed(&error))?;
    std::fs::write(file.path(), text).map_err(|error| failed(&error))?;
    let (_, path) = file.keep().map_err(|error| failed(&error))?;
    Ok(path)
}

fn failed(doing: &str, file: &Path, words: &str) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot {doing} {}: {words}", file.display()),
    )
}

fn remove(file: &Path) -> Result<(), Failure> {
    std::fs::remove_file(file).map_err(|error| failed("remove", file, &error.to_string()))
}

/// Runs the editor as a shell would, so that it may have arguments.
async fn open(editor: &str, file: &Path) -> Result<(), Failure> {
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file);
    command.stdin(Stdio::inherit()).kill_on_drop(true);
    let status = command
        .status()
        .await
        .map_err(|error| failed("edit", file, &error.to_string()))?;
    match status.success() {
        true => Ok(()),
        false => Err(kept(
            &Failure::new(Exit::Failure, format!("`{editor}` ended with {status}")),
            file,
        )),
    }
}

/// The failure, with where the work that went into the file is.
fn kept(failure: &Failure, file: &Path) -> Failure {
    let next = match failure.exit {
        Exit::Conflict => "compare it with `bbctl diff -f FILE`, then apply it",
        _ => "correct it and apply it",
    };
    let place = file.display();
    let next = next.replace("FILE", &quoted(&[place.to_string()]));
    Failure {
        hint: Some(format!("your changes are kept in {place}: {next}")),
        message: format!("nothing was written: {}", failure.message),
        exit: failure.exit,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network() -> Value {
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
            "metadata": {"name": "web", "namespace": "acme"}, "spec": {"zones": ["a"]}})
    }

    #[test]
    fn what_an_editor_left_is_the_object_or_nothing() {
        let same = render_yaml(&network()).unwrap();
        assert_eq!(edited(&network(), &same).unwrap(), Some(network()));
        assert_eq!(edited(&network(), "# nothing\n").unwrap(), None);
        let other = same.replace("- a", "- b");
        let after = edited(&network(), &other).unwrap().unwrap();
        assert_eq!(
            between(&network(), &after),
            Some(json!({"spec": {"zones": ["b"]}}))
        );
    }

    #[test]
    fn an_object_stays_the_one_that_it_is() {
        let text = render_yaml(&network()).unwrap();
        let renamed = text.replace("name: web", "name: other");
        let failure = edited(&network(), &renamed).unwrap_err();
        assert_eq!(failure.message, "metadata.name cannot be changed");
        let twice = format!("{text}---\n{text}");
        assert!(edited(&network(), &twice).is_err());
        assert!(edited(&network(), "a: [").is_err());
    }
}
