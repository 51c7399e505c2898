//! Turns what Providers offer into images, and a new image into a change of Providers.
//!
//! An image is no object: it is an entry of `spec.proxmox.images` of each cluster that offers it.

use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};

use super::create::spec;
use crate::change::{Changed, Writing, change};
use crate::confirm::{self, Asked, By, Said};
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::nearest::nearest;
use crate::object::{self, Object, list, text};
use crate::out::{Format, Out};
use crate::related::read_if_allowed;
use crate::resource::Target;
use crate::results::Results;
use crate::session::{Scope, Session};
use crate::table::{ALWAYS, Table};

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub enum Images {
    /// List the images that clusters offer
    #[command(after_help = "Examples:\n  bbctl images list\n  bbctl images list -o wide")]
    List,
    /// Show images by name
    #[command(
        after_help = "Examples:\n  bbctl images get debian-12\n  bbctl images get debian-12 -o yaml"
    )]
    Get(NameArgs),
    /// Explain images: where each is, what it is made from, who uses it
    #[command(after_help = "Examples:\n  bbctl images describe debian-12")]
    Describe(NameArgs),
    /// Offer an image on a cluster
    Create(CreateArgs),
    /// Offer an image no longer, after asking
    Delete(DeleteArgs),
}

/// Images by name.
#[derive(Debug, clap::Args)]
pub struct NameArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// What `create` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl images create debian-12 --provider c1 --template 9000
  bbctl images create alpine-3.20 --provider c1 \\
    --archive local:vztmpl/alpine-3.20.tar.zst")]
pub struct CreateArgs {
    /// The name that tenants use
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The cluster's Provider
    #[arg(long, value_name = "NAME", required = true)]
    pub provider: String,
    /// The VMID of a template with a cloud-init drive: virtual machines are cloned from it
    #[arg(
        long,
        value_name = "VMID",
        conflicts_with = "archive",
        required_unless_present = "archive"
    )]
    pub template: Option<u32>,
    /// A container archive by its volume id: containers are built from it
    #[arg(long, value_name = "VOLUME")]
    pub archive: Option<String>,
    /// Copy the template's blocks in place of sharing them
    #[arg(long)]
    pub full: bool,
    /// The storage class of a full copy, or of a container's root
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `delete` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl images delete alpine-3.20 --provider c1
  bbctl images delete alpine-3.20 --yes

Guests that were made from it are not touched.")]
pub struct DeleteArgs {
    /// The image
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only on this Provider [default: on all that offer it]
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// An image on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// The cluster's Provider.
    pub provider: String,
    /// The cluster's zone.
    pub zone: String,
    /// The entry as the Provider has it.
    pub image: Value,
}

/// An image, wherever it is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The name that tenants use.
    pub name: String,
    /// `VirtualMachine` or `Container`; both where clusters disagree.
    pub types: BTreeSet<&'static str>,
    /// Where it is offered.
    pub offers: Vec<Offer>,
    /// The Instances that name it, as `NAMESPACE/NAME`; none where they may not be seen.
    #[serde(rename = "usedBy")]
    pub used_by: Option<Vec<String>>,
}

/// The images of all Providers, by name.
#[must_use]
pub fn images(providers: &[Object], instances: Option<&[Object]>) -> Vec<Image> {
    let mut all: BTreeMap<String, Image> = BTreeMap::new();
    for provider in providers {
        for entry in list(provider, "/spec/proxmox/images") {
            let name = object::word(&entry["name"]);
            let image = all.entry(name.clone()).or_insert_with(|| Image {
                used_by: instances.map(|instances| users(&name, instances)),
                name,
                types: BTreeSet::new(),
                offers: Vec::new(),
            });
            image.types.insert(match entry["archive"].is_null() {
                true => "VirtualMachine",
                false => "Container",
            });
            image.offers.push(Offer {
                provider: object::name(provider).to_owned(),
                zone: text(provider, "/spec/zone"),
                image: entry.clone(),
            });
        }
    }
    all.into_values().collect()
}

fn users(name: &str, instances: &[Object]) -> Vec<String> {
    let users = instances.iter().filter(|i| text(i, "/spec/image") == name);
    users
        .map(|user| format!("{}/{}", object::namespace(user), object::name(user)))
        .collect()
}

/// Carries out a verb.
///
/// # Errors
/// When Providers may not be read or changed, or an image that was named is not there.
pub async fn run(verb: &Images, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    match verb {
        Images::List => {
            let all = read(session).await?;
            show(&all, None, out)
        }
        Images::Get(args) => {
            let all = read(session).await?;
            let (found, exit) = named(&all, &args.names, out);
            show(&found, Some(args.names.len()), out).map(|shown| shown.and(exit))
        }
        Images::Describe(args) => {
            let all = read(session).await?;
            let (found, exit) = named(&all, &args.names, out);
            match out.format() {
                Format::Table | Format::Wide => explain(&found, out)?,
                _ => drop(show(&found, Some(args.names.len()), out)?),
            }
            Ok(exit)
        }
        Images::Create(args) => create(args, session, out).await,
        Images::Delete(args) => delete(args, session, out).await,
    }
}

async fn read(session: &Session) -> Result<Vec<Image>, Failure> {
    let providers = session.list(Kind::called("Provider"), &Scope::Everywhere, None);
    let instances = read_if_allowed("instances", &Scope::Everywhere, session);
    let (providers, instances) = futures::try_join!(providers, instances)?;
    Ok(images(&providers, instances.as_deref()))
}

fn named(all: &[Image], names: &[String], out: &mut Out) -> (Vec<Image>, Exit) {
    let mut exit = Exit::Ok;
    let mut found = Vec::new();
    for name in names {
        match all.iter().find(|image| image.name == *name) {
            Some(image) => found.push(image.clone()),
            None => {
                out.report(&absent(name, all));
                exit = exit.and(Exit::NotFound);
            }
        }
    }
    (found, exit)
}

fn absent(name: &str, all: &[Image]) -> Failure {
    let failure = Failure::new(Exit::NotFound, format!("no cluster offers image {name}"));
    match nearest(name, all.iter().map(|image| image.name.as_str())) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("see `bbctl images list`"),
    }
}

fn show(images: &[Image], asked: Option<usize>, out: &mut Out) -> Result<Exit, Failure> {
    match (out.format(), images) {
        (Format::Json | Format::Yaml, [one]) if asked == Some(1) => out.document(one)?,
        (Format::Json | Format::Yaml, _) => out.document(&json!({"images": images}))?,
        (Format::Name, _) => {
            for image in images {
                out.line(&format!("image/{}", image.name))?;
            }
        }
        (Format::Table | Format::Wide, []) if asked.is_none() => out.note("no cluster offers any"),
        (Format::Table | Format::Wide, []) => {}
        (Format::Table | Format::Wide, _) => out.table(&table(images))?,
    }
    Ok(Exit::Ok)
}

fn table(images: &[Image]) -> Table {
    let mut table = Table::new([
        ("name", ALWAYS),
        ("type", ALWAYS),
        ("zones", 60),
        ("providers", 50),
        ("used by", 70),
    ]);
    for image in images {
        let types: Vec<&str> = image.types.iter().copied().collect();
        let of = |field: fn(&Offer) -> &str| {
            let all: BTreeSet<&str> = image.offers.iter().map(field).collect();
            all.into_iter().collect::<Vec<_>>().join(",")
        };
        let users = image.used_by.as_ref().map(|users| users.len().to_string());
        table.push(vec![
            image.name.clone().into(),
            types.join(",").into(),
            of(|offer| &offer.zone).into(),
            of(|offer| &offer.provider).into(),
            users.unwrap_or_default().into(),
        ]);
    }
    table
}

fn explain(images: &[Image], out: &mut Out) -> Result<(), Failure> {
    for (at, image) in images.iter().enumerate() {
        if at > 0 {
            out.line("")?;
        }
        let types: Vec<&str> = image.types.iter().copied().collect();
        out.line(&format!("image {}, {}", image.name, types.join(" or ")))?;
        let heads = ["provider", "zone", "template", "archive", "clone", "class"];
        let mut table = Table::new(heads.map(|head| (head, ALWAYS)));
        for offer in &image.offers {
            let field = |name: &str| object::word(&offer.image[name]);
            let mut row = vec![offer.provider.clone().into(), offer.zone.clone().into()];
            row.extend(heads.iter().skip(2).map(|head| field(head).into()));
            table.push(row);
        }
        out.line("")?;
        out.table_under("  ", &table)?;
        out.line("")?;
        match &image.used_by {
            None => out.line("Used by: you may not see all instances")?,
            Some(none) if none.is_empty() => out.line("Used by no instance")?,
            Some(users) => out.text_under("", &format!("Used by: {}", users.join(", ")))?,
        }
    }
    Ok(())
}

async fn create(args: &CreateArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let image = spec([
        ("name", Some(json!(args.name))),
        ("template", args.template.map(|vmid| json!(vmid))),
        (
            "archive",
            args.archive.as_ref().map(|archive| json!(archive)),
        ),
        ("clone", args.full.then(|| json!("Full"))),
        ("class", args.class.as_ref().map(|class| json!(class))),
    ]);
    let decide = |provider: &Object| with(provider, &image).map(Some);
    let target = Target::known(Kind::called("Provider"), &args.provider, session);
    let dry_run = args.writing.dry_run;
    let Changed { object, .. } = change(&target, dry_run, session, decide).await?;
    let mut results = Results::new(dry_run.is_some());
    results.add(&target, "configured", Some(&object), out)?;
    results.close(out)
}

/// The change that adds an image to a Provider.
fn with(provider: &Object, image: &Value) -> Result<Value, Failure> {
    let label = format!("provider/{}", object::name(provider));
    if object::at(provider, "/spec/proxmox").is_none() {
        return Err(Failure::usage(format!("{label} is no cluster"))
            .hint("images are offered by Providers of Proxmox VE clusters"));
    }
    let mut images = list(provider, "/spec/proxmox/images").to_vec();
    if images.iter().any(|entry| entry["name"] == image["name"]) {
        let name = object::word(&image["name"]);
        return Err(Failure::new(
            Exit::Conflict,
            format!("{label} offers image {name} already"),
        )
        .hint(format!("see `bbctl images describe {name}`")));
    }
    images.push(image.clone());
    Ok(json!({"spec": {"proxmox": {"images": images}}}))
}

async fn delete(args: &DeleteArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let all = read(session).await?;
    let image = all.iter().find(|image| image.name == args.name);
    let image = image.ok_or_else(|| absent(&args.name, &all))?;
    let wanted = |offer: &&Offer| args.provider.as_ref().is_none_or(|p| *p == offer.provider);
    let offers: Vec<&Offer> = image.offers.iter().filter(wanted).collect();
    if offers.is_empty() {
        let provider = args.provider.clone().unwrap_or_default();
        let message = format!("provider {provider} does not offer image {}", args.name);
        return Err(Failure::new(Exit::NotFound, message));
    }
    let dry_run = args.writing.dry_run;
    if dry_run.is_none() {
        let users = image.used_by.as_ref().map_or(0, Vec::len);
        let asked = Asked {
            verb: "delete",
            what: format!("image {}, which {users} instances name", args.name),
            means: Vec::new(),
            by: By::Yes,
        };
        let said = Said {
            yes: args.writing.yes,
            words: &[],
        };
        confirm::confirm(&[asked], said, "nothing was deleted", out).await?;
    }
    let mut results = Results::new(dry_run.is_some());
    for offer in offers {
        let target = Target::known(Kind::called("Provider"), &offer.provider, session);
        let decide = |provider: &Object| Ok(without(provider, &args.name));
        match change(&target, dry_run, session, decide).await {
            Ok(Changed { object, .. }) => {
                results.add(&target, "configured", Some(&object), out)?;
            }
            Err(failure) => results.fail(&failure, out),
        }
    }
    results.close(out)
}

/// The change that takes an image away from a Provider; none where it has not got it.
fn without(provider: &Object, name: &str) -> Option<Value> {
    let before = list(provider, "/spec/proxmox/images");
    let mut images = before.to_vec();
    images.retain(|entry| entry["name"].as_str() != Some(name));
    (images.len() != before.len()).then(|| json!({"spec": {"proxmox": {"images": images}}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str, images: &Value) -> Object {
        serde_json::from_value(json!({"metadata": {"name": name},
            "spec": {"zone": name, "proxmox": {"images": images}}}))
        .unwrap()
    }

    #[test]
    fn an_image_is_one_wherever_it_is_offered() {
        let c1 = provider("c1", &json!([{"name": "debian", "template": 1}]));
        let c2 = provider(
            "c2",
            &json!([{"name": "debian", "template": 2},
            {"name": "alpine", "archive": "local:vztmpl/a.tar.zst"}]),
        );
        let www: Object = serde_json::from_value(json!({"metadata": {"name": "www",
            "namespace": "acme"}, "spec": {"image": "debian"}}))
        .unwrap();
        let all = images(&[c1, c2], Some(&[www]));
        let names: Vec<&str> = all.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["alpine", "debian"]);
        assert_eq!(all[1].offers.len(), 2);
        assert_eq!(all[1].used_by, Some(vec!["acme/www".to_owned()]));
        assert_eq!(all[0].types, BTreeSet::from(["Container"]));
    }

    #[test]
    fn an_image_is_added_once_and_taken_away_alone() {
        let c1 = provider("c1", &json!([{"name": "debian", "template": 1}]));
        let image = json!({"name": "alpine", "archive": "a"});
        let patch = with(&c1, &image).unwrap();
        let images = &patch["spec"]["proxmox"]["images"];
        assert_eq!(images.as_array().map(Vec::len), Some(2));
        let again = with(&c1, &json!({"name": "debian"})).unwrap_err();
        assert_eq!(again.exit, Exit::Conflict);
        assert_eq!(without(&c1, "alpine"), None);
        let patch = without(&c1, "debian").unwrap();
        assert_eq!(patch["spec"]["proxmox"]["images"], json!([]));
    }

    #[test]
    fn a_router_offers_no_images() {
        let r1: Object = serde_json::from_value(json!({"metadata": {"name": "r1"},
            "spec": {"vyos": {}}}))
        .unwrap();
        assert_eq!(
            with(&r1, &json!({"name": "x"})).unwrap_err().exit,
            Exit::Usage
        );
    }
}
