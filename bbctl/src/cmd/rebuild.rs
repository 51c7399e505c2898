//! Turns an instance into a new one of the same manifest: its guest is destroyed with its disk and
//! made anew from an image, its Volumes stay.
//!
//! It goes by the resource alone: delete, wait until nothing of it is left, create. In between the
//! manifest is in a file, so that an interruption loses nothing but time.

use std::path::PathBuf;
use std::time::Duration;

use bb_crds::PAUSED;
use kube::api::{DeleteParams, PostParams, Preconditions};
use serde_json::Value;

use super::{instance, wait};
use crate::change::{DryRun, Writing};
use crate::confirm::{self, Asked, By, Said, Word};
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::kinds::Kind;
use crate::manifest;
use crate::next::quoted;
use crate::object::{Object, list, text};
use crate::out::{Out, render_yaml};
use crate::resource::Target;
use crate::results::Results;
use crate::send::{self, Manner};
use crate::session::{Scope, Session};
use crate::set;
use crate::start::place as folder;
use crate::watch::{self, Wanted};

/// What `rebuild` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl instances rebuild www-1
  bbctl instances rebuild www-1 --image debian-12 --confirm=instance/www-1 --wait

The guest and its own disk are destroyed and made anew; Volumes are kept and attached again. It is
a delete and a create of the same manifest: the Instance has a new UID, and addresses that its spec
does not name may be others.")]
pub struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Another image than now
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Confirm it by kind and name, as in instance/www-1
    #[arg(long, value_name = "KIND/NAME", value_delimiter = ',')]
    pub confirm: Vec<Word>,
    /// Wait until it is ready
    #[arg(long)]
    pub wait: bool,
    /// How to write; a yes does not confirm it
    #[command(flatten)]
    pub writing: Writing,
}

/// The manifest that the instance is made anew of.
///
/// # Errors
/// When its guest would not go, or must not.
fn anew(instance: &Object, image: Option<&str>) -> Result<Value, Failure> {
    let name = crate::object::name(instance);
    let no = |why: &str, hint: &str| {
        let words = format!("instance/{name} is not rebuilt: {why}");
        Err(Failure::new(Exit::Failure, words).hint(hint))
    };
    if instance.metadata.deletion_timestamp.is_some() {
        return no(
            "it is being deleted",
            "wait until it is gone, and create it",
        );
    }
    let annotations = instance.metadata.annotations.as_ref();
    if annotations
        .and_then(|all| all.get(PAUSED))
        .map(String::as_str)
        == Some("true")
    {
        return no(
            "it is paused, so nothing of it would go",
            "take the annotation bitbuilder.cloud/paused off first",
        );
    }
    if text(instance, "/spec/deletionProtection") == "true" {
        return no(
            "it is protected from deletion",
            "set spec.deletionProtection to false first",
        );
    }
    if text(instance, "/spec/managementPolicy") == "Observe" {
        return no(
            "it is only observed",
            "set spec.managementPolicy to Manage first",
        );
    }
    let adopted = crate::object::at(instance, "/spec/adopt").is_some();
    let policy = text(instance, "/spec/deletionPolicy");
    if policy == "Orphan" || (adopted && policy != "Delete") {
        return no(
            "its guest would stay when it is deleted",
            "set spec.deletionPolicy to Delete first",
        );
    }
    let mut manifest = manifest::of(instance)?;
    // It stays in its set, or no prune would ever find it again.
    if let Some(id) = set::of(instance).filter(|_| set::is_our_mark(instance)) {
        manifest["metadata"]["labels"][set::PART_OF] = id.into();
    }
    if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
        // The guest that was taken over goes; the new one is made.
        spec.remove("adopt");
        if let Some(image) = image {
            spec.insert("image".to_owned(), image.into());
        }
    }
    Ok(manifest)
}

/// Makes an instance anew, after its name was given.
///
/// # Errors
/// When it is not confirmed, or cannot be. Once it is deleted, the failure names the file that
/// makes it again.
pub async fn run(
    args: &Args,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let target = Target::known(Kind::called("Instance"), &args.name, session);
    let doing = format!("look at {}", target.label());
    let api = target.api(session);
    let before = session.ask(&doing, api.get_opt(&target.name)).await?;
    let before = before.ok_or_else(|| watch::absent(&target))?;
    let manifest = anew(&before, args.image.as_deref())?;
    if let Some(image) = &args.image {
        offered(image, session).await?;
    }
    let dry_run = args.writing.dry_run;
    if dry_run != Some(DryRun::Client) {
        judge(&manifest, &target, session).await?;
    }
    kept(&before, session).await?;
    let mut results = Results::new(dry_run.is_some());
    if dry_run.is_some() {
        results.add(&target, "rebuilt", Some(&before), out)?;
        return results.close(out);
    }
    let said = Said {
        yes: false,
        words: &args.confirm,
    };
    confirm::confirm(&[asked(args, &before)], said, "nothing was changed", out).await?;
    unchanged(&target, &before, session).await?;
    kept(&before, session).await?;
    let file = keep(&manifest, &before, &target, out)?;
    let again = format!(
        "once it is gone, this makes it anew: `bbctl apply -f {} --wait` (at {})",
        quoted(&[file.display().to_string()]),
        session.server()
    );
    // Told before, since whoever interrupts this hears nothing more.
    out.note(&format!("should this be interrupted: {again}"));
    if let Err(failure) = delete(&target, &before, session).await {
        if [Exit::Denied, Exit::Conflict, Exit::NotFound].contains(&failure.exit) {
            // The server said no: nothing is on its way, and there is nothing to take up.
            let _ = std::fs::remove_file(&file);
            return Err(failure);
        }
        return Err(failure.hint(again));
    }
    let made = match gone(&target, &before, timeout, session, out).await {
        Ok(()) => {
            let (target, object) = send::known(&manifest)?;
            let sent = send::apply(&target, &object, "", Manner::default(), session).await;
            sent.map(|sent| sent.object)
        }
        Err(failure) => Err(failure),
    };
    let made = made.map_err(|failure| failure.hint(again))?;
    // What it was kept for has happened.
    let _ = std::fs::remove_file(&file);
    results.add(&target, "rebuilding", Some(&made), out)?;
    let wanted = vec![Wanted::this(target, made.metadata.uid)];
    instance::finish(results, wanted, args.wait, timeout, session, out).await
}

/// Sees that some cluster offers an image, as far as one may look.
async fn offered(image: &str, session: &Session) -> Result<(), Failure> {
    let providers = session.list(Kind::called("Provider"), &Scope::Everywhere, None);
    let providers = match providers.await {
        Ok(providers) => providers,
        Err(failure) if failure.exit == Exit::Denied => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let mut images = providers
        .iter()
        .flat_map(|provider| list(provider, "/spec/proxmox/images"));
    match images.any(|offer| offer.get("name").and_then(Value::as_str) == Some(image)) {
        true => Ok(()),
        false => Err(
            Failure::new(Exit::NotFound, format!("no cluster offers image {image}"))
                .hint("see `bbctl images list`"),
        ),
    }
}

/// Sees that nobody changed it while it was looked at and confirmed.
async fn unchanged(target: &Target, before: &Object, session: &Session) -> Result<(), Failure> {
    let doing = format!("look at {}", target.label());
    let api = target.api(session);
    let now = session.ask(&doing, api.get(&target.name)).await?;
    let same = now.metadata.uid == before.metadata.uid
        && now.metadata.generation == before.metadata.generation;
    match same {
        true => Ok(()),
        false => Err(Failure::new(
            Exit::Conflict,
            format!("{} was changed meanwhile: nothing was done", target.label()),
        )
        .hint("look at it, and repeat")),
    }
}

/// Sees that the Volumes and Networks are there and stay: those that were deleted before wait for
/// the last that names them, and would go with it, data and all.
async fn kept(instance: &Object, session: &Session) -> Result<(), Failure> {
    for (lists, field, kind) in [
        ("/spec/volumes", "volume", "Volume"),
        ("/spec/networks", "network", "Network"),
    ] {
        for entry in list(instance, lists) {
            let Some(name) = entry.get(field).and_then(Value::as_str) else {
                continue;
            };
            let mut target = Target::known(Kind::called(kind), name, session);
            target.namespace.clone_from(&instance.metadata.namespace);
            let doing = format!("look whether {} stays", target.label());
            let there = session
                .ask(&doing, target.api(session).get_opt(name))
                .await?;
            let why = match there {
                None => "is not there",
                Some(object) if object.metadata.deletion_timestamp.is_some() => {
                    "is being deleted, and goes as soon as no instance names it"
                }
                Some(_) => continue,
            };
            let words = format!(
                "instance/{} is not rebuilt: {} {why}",
                crate::object::name(instance),
                target.label()
            );
            return Err(Failure::new(Exit::Failure, words)
                .hint("save what you need of it, and detach it from the instance first"));
        }
    }
    Ok(())
}

/// Has the server judge the new one while the old one is there.
async fn judge(manifest: &Value, target: &Target, session: &Session) -> Result<(), Failure> {
    let (_, mut object) = send::known(manifest)?;
    object.metadata.name = None;
    object.metadata.generate_name = Some("rebuilt-".to_owned());
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let doing = format!("make {} anew", target.label());
    let api = target.api(session);
    session.ask(&doing, api.create(&params, &object)).await?;
    Ok(())
}

/// What has to be confirmed before the guest goes.
fn asked(args: &Args, instance: &Object) -> Asked {
    let name = &args.name;
    let image = args
        .image
        .clone()
        .unwrap_or_else(|| text(instance, "/spec/image"));
    let kept = list(instance, "/spec/volumes").len();
    Asked {
        verb: "rebuild",
        what: format!("instance/{name}"),
        means: vec![format!(
            "instance/{name}: it loses its guest and all that is on its own disk, and is made \
             anew from {image}; it keeps {kept} volumes"
        )],
        by: By::Word(Word::new("instance", name)),
    }
}

/// Puts the manifest into the folder of the user until the new one is made.
fn keep(manifest: &Value, before: &Object, target: &Target, out: &Out) -> Result<PathBuf, Failure> {
    let held = folder::hold(&folder::folder(out.env())?)?;
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let uid = before.metadata.uid.as_deref().unwrap_or_default();
    // By the UID: another cluster may have one of this name that is half rebuilt, too.
    let name = format!("rebuild-{namespace}.{}.{uid}.yaml", target.name);
    held.write(&name, render_yaml(manifest)?.as_bytes())?;
    Ok(held.path(&name))
}

/// Deletes this very object.
async fn delete(target: &Target, object: &Object, session: &Session) -> Result<(), Failure> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.metadata.uid.clone(),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    let doing = format!("delete {}", target.label());
    let api = target.api(session);
    session
        .ask(&doing, api.delete(&target.name, &params))
        .await?;
    Ok(())
}

/// Waits until nothing of it is left.
async fn gone(
    target: &Target,
    object: &Object,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<(), Failure> {
    if !out.is_machine() {
        out.note(&format!("{} is being deleted", target.label()));
    }
    let wanted = vec![Wanted::this(target.clone(), object.metadata.uid.clone())];
    let patience = timeout.unwrap_or(wait::PATIENCE);
    let outcomes = watch::until(wanted, &Goal::Deleted, patience, session, out).await?;
    match outcomes.into_iter().find_map(|outcome| outcome.failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instance(spec: &Value) -> Object {
        serde_json::from_value(json!({"apiVersion": "bitbuilder.cloud/v1alpha1",
            "kind": "Instance", "metadata": {"name": "www", "namespace": "acme", "uid": "u",
                "resourceVersion": "7", "labels": {"app": "web"}},
            "spec": spec, "status": {"node": "pve1"}}))
        .unwrap()
    }

    #[test]
    fn the_same_manifest_is_made_with_another_image() {
        let old =
            instance(&json!({"image": "debian-12", "volumes": [{"name": "d", "volume": "v"}]}));
        let new = anew(&old, Some("debian-13")).unwrap();
        assert_eq!(new["spec"]["image"], "debian-13");
        assert_eq!(
            new["spec"]["volumes"],
            json!([{"name": "d", "volume": "v"}])
        );
        assert_eq!(
            new["metadata"],
            json!({"name": "www", "namespace": "acme",
            "labels": {"app": "web"}})
        );
        assert_eq!(new.get("status"), None);
        assert_eq!(anew(&old, None).unwrap()["spec"]["image"], "debian-12");
    }

    #[test]
    fn it_stays_in_the_set_that_we_put_it_in_and_in_no_other() {
        let mark = set::PART_OF;
        let labels = |manager: &str| {
            let mut old = instance(&json!({"image": "debian-12"}));
            old.metadata.labels = Some([(mark.to_owned(), "shop".to_owned())].into());
            let fields = json!({"f:metadata": {"f:labels": {format!("f:{mark}"): {}}}});
            let entry = json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
            old.metadata.managed_fields = serde_json::from_value(json!([entry])).unwrap();
            anew(&old, None).unwrap()["metadata"].get("labels").cloned()
        };
        assert_eq!(labels("bbctl"), Some(json!({mark: "shop"})));
        assert_eq!(labels("another"), None);
    }

    #[test]
    fn what_must_not_go_or_would_stay_is_refused() {
        for spec in [
            json!({"deletionProtection": true}),
            json!({"managementPolicy": "Observe"}),
            json!({"deletionPolicy": "Orphan"}),
            json!({"adopt": {"vmid": 100}}),
        ] {
            let failure = anew(&instance(&spec), None).unwrap_err();
            assert!(
                failure.hint.is_some_and(|hint| hint.contains("first")),
                "{spec}"
            );
        }
        let adopted = json!({"adopt": {"vmid": 100}, "deletionPolicy": "Delete"});
        let new = anew(&instance(&adopted), None).unwrap();
        assert_eq!(new["spec"].get("adopt"), None);
    }
}
