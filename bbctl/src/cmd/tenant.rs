//! Turns `members`, `add-member`, `remove-member` and `use` into a Tenant's members and a
//! kubeconfig's namespace.

use serde_json::{Value, json};

use super::draft::member;
use crate::change::{Changed, Writing, change};
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::kubeconfig;
use crate::object::{Object, list};
use crate::out::{Format, Out};
use crate::resource::Target;
use crate::results::Results;
use crate::session::{Scope, Session};
use crate::table::{ALWAYS, Table};

/// What `members` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl tenants members acme
  bbctl tenants members acme -o json")]
pub struct MembersArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
}

/// What `add-member` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl tenants add-member acme bob
  bbctl tenants add-member acme bob=View
  bbctl tenants add-member acme developers=Edit --group")]
pub struct AddArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// Who: NAME or NAME=ROLE; the roles are View, Edit and Admin [default role: Edit]
    #[arg(value_name = "NAME[=ROLE]", required = true)]
    pub members: Vec<String>,
    /// The names are those of groups
    #[arg(long)]
    pub group: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `remove-member` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl tenants remove-member acme bob
  bbctl tenants remove-member acme bob --dry-run=server")]
pub struct RemoveArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// Who
    #[arg(value_name = "NAME", required = true)]
    pub members: Vec<String>,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `use` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl tenants use acme
  bbctl tenants use acme --context=lab

It sets the namespace of the kubeconfig's context, so kubectl works in it as well.")]
pub struct UseArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// Shows who may work in a tenant.
///
/// # Errors
/// When the tenant cannot be read.
pub async fn members(
    args: &MembersArgs,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let tenant = session.get(Kind::called("Tenant"), &args.tenant).await?;
    let members = list(&tenant, "/spec/members");
    match out.format() {
        Format::Json | Format::Yaml => {
            out.document(&json!({"tenant": args.tenant, "members": members}))?;
        }
        Format::Name => {
            for member in members {
                out.line(member["name"].as_str().unwrap_or_default())?;
            }
        }
        Format::Table | Format::Wide => {
            let fields = ["name", "kind", "role"];
            let mut table = Table::new(fields.map(|field| (field, ALWAYS)));
            for member in members {
                table.push(
                    fields
                        .map(|field| crate::object::word(&member[field]).into())
                        .to_vec(),
                );
            }
            match members.is_empty() {
                true => out.note(&format!("tenant {} has no members", args.tenant)),
                false => out.table(&table)?,
            }
        }
    }
    Ok(Exit::Ok)
}

/// Lets people work in a tenant, or gives those who may another role.
///
/// # Errors
/// When a role is none, or the server refuses.
pub async fn add(args: &AddArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let kind = if args.group { "Group" } else { "User" };
    let new: Vec<Value> = args
        .members
        .iter()
        .map(|said| member(said, kind))
        .collect::<Result<_, _>>()?;
    let decide = |tenant: &Object| Ok(with(tenant, &new));
    write(&args.tenant, &args.writing, session, out, decide).await
}

/// Takes people's rights in a tenant away.
///
/// # Errors
/// When one of them has none, or the server refuses.
pub async fn remove(args: &RemoveArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let decide = |tenant: &Object| without(tenant, &args.members);
    write(&args.tenant, &args.writing, session, out, decide).await
}

async fn write(
    tenant: &str,
    writing: &Writing,
    session: &Session,
    out: &mut Out,
    decide: impl Fn(&Object) -> Result<Option<Value>, Failure>,
) -> Result<Exit, Failure> {
    let target = Target::known(Kind::called("Tenant"), tenant, session);
    let Changed { object, changed } = change(&target, writing.dry_run, session, decide).await?;
    let mut results = Results::new(writing.dry_run.is_some());
    let word = if changed { "configured" } else { "unchanged" };
    results.add(&target, word, Some(&object), out)?;
    if !out.is_machine() && writing.dry_run.is_none() {
        out.next(&format!("tenants members {tenant}"));
    }
    results.close(out)
}

/// The change that gives members their roles; none where they have them.
fn with(tenant: &Object, new: &[Value]) -> Option<Value> {
    let before = list(tenant, "/spec/members");
    let mut members = before.to_vec();
    for one in new {
        match members
            .iter_mut()
            .find(|member| member["name"] == one["name"])
        {
            Some(member) => *member = one.clone(),
            None => members.push(one.clone()),
        }
    }
    (members != before).then(|| json!({"spec": {"members": members}}))
}

/// The change that takes members away.
fn without(tenant: &Object, names: &[String]) -> Result<Option<Value>, Failure> {
    let before = list(tenant, "/spec/members");
    for name in names {
        if !before
            .iter()
            .any(|member| member["name"].as_str() == Some(name))
        {
            let tenant = crate::object::name(tenant);
            return Err(Failure::new(
                Exit::NotFound,
                format!("{name} is no member of tenant {tenant}"),
            )
            .hint(format!("see `bbctl tenants members {tenant}`")));
        }
    }
    let mut members = before.to_vec();
    members.retain(|member| {
        let name = member["name"].as_str().unwrap_or_default();
        !names.iter().any(|gone| gone == name)
    });
    Ok(Some(json!({"spec": {"members": members}})))
}

/// Makes a tenant's namespace the one that is meant where none is named.
///
/// # Errors
/// When nothing of the tenant may be seen, or the kubeconfig cannot be written.
pub async fn use_it(
    args: &UseArgs,
    globals: &Globals,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    // A member may not read the Tenant; its networks say whether the namespace is theirs.
    let scope = Scope::Namespace(args.tenant.clone());
    session.list(Kind::called("Network"), &scope, None).await?;
    let connection = globals.connection();
    let place = kubeconfig::context(&connection, out.env())?;
    let dry = args.writing.dry_run.is_some();
    let before = kubeconfig::set_namespace(&place, &args.tenant, dry)?;
    let facts = json!({
        "kubeconfig": place.path.display().to_string(),
        "context": place.context,
        "namespace": args.tenant,
        "before": before,
    });
    match out.format() {
        Format::Json | Format::Yaml => out.document(&facts)?,
        Format::Name => out.line(&args.tenant)?,
        Format::Table | Format::Wide => out.line(&format!(
            "context {} of {} now works in namespace {}{}",
            place.context,
            place.path.display(),
            args.tenant,
            if dry { " (dry run)" } else { "" }
        ))?,
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Object {
        serde_json::from_value(json!({"metadata": {"name": "acme"}, "spec": {"members": [
            {"name": "alice", "kind": "User", "role": "Admin"},
            {"name": "bob", "kind": "User", "role": "View"}]}}))
        .unwrap()
    }

    #[test]
    fn a_member_who_is_there_gets_the_new_role_and_no_second_entry() {
        let new = [json!({"name": "bob", "kind": "User", "role": "Edit"})];
        let members = with(&tenant(), &new).unwrap()["spec"]["members"].clone();
        assert_eq!(members.as_array().map(Vec::len), Some(2));
        assert_eq!(members[1]["role"], "Edit");
        let same = [json!({"name": "bob", "kind": "User", "role": "View"})];
        assert_eq!(with(&tenant(), &same), None);
    }

    #[test]
    fn who_is_no_member_cannot_be_taken_away() {
        let patch = without(&tenant(), &["bob".to_owned()]).unwrap().unwrap();
        assert_eq!(patch["spec"]["members"].as_array().map(Vec::len), Some(1));
        let failure = without(&tenant(), &["eve".to_owned()]).unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
    }
}
