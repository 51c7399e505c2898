//! Turns a set of objects and the files that it is made of now into what is deleted with it.
//!
//! What was read before the question is what is deleted afterwards, and only while it still carries
//! the mark of the set.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ApiResource, Patch, PatchParams, Preconditions};

use super::delete::{self, DELETED, DELETING, Doomed, Many};
use crate::change::{DryRun, FIELD_OWNER, Writing};
use crate::confirm::{self, Asked, By, Said, Word, is_many};
use crate::error::{Exit, Failure};
use crate::gravity::weigh;
use crate::kinds::{KINDS, Kind};
use crate::manifest::Manifest;
use crate::object::{self, Object};
use crate::out::Out;
use crate::related::namespace_of;
use crate::resource::{Known, Resolver, Target};
use crate::results::Results;
use crate::session::{Scope, Session};
use crate::set::{self, Record, Set, SetName};
use crate::watch::Wanted;

/// How often something is decided anew because it changed in between.
const ATTEMPTS: usize = 5;

/// Flags about what files no longer have.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The set that the files make up: NAME, or NAMESPACE/NAME where its record is kept elsewhere
    #[arg(long, value_name = "SET")]
    pub set: Option<SetName>,
    /// Delete what was applied as part of the set before and the files no longer have
    #[arg(long)]
    pub prune: bool,
}

impl Flags {
    /// The set that is meant, if one is.
    ///
    /// # Errors
    /// When something is to be pruned and no set is named.
    pub(super) fn set(&self, session: &Session) -> Result<Option<Set>, Failure> {
        match &self.set {
            Some(name) => Ok(Some(Set::new(name, session.namespace()))),
            None if self.prune => Err(Failure::usage("say which set is pruned: --set NAME").hint(
                "or let bitbuilder.toml say `set` and `files`, and leave -f out; only what was \
                 applied as part of the set is deleted",
            )),
            None => Ok(None),
        }
    }
}

/// A set, what the files say of it, and what they no longer have.
pub(super) struct Pruning {
    set: Set,
    /// What the files themselves need the record to say.
    wanted: Record,
    /// What the record said before.
    record: Record,
    /// What the files no longer have, in the order in which it is deleted.
    doomed: Vec<Doomed>,
    /// How many members there are.
    members: usize,
}

impl Pruning {
    /// Marks the manifests, and looks for what they no longer have where that is asked for.
    ///
    /// # Errors
    /// When the set is another program's, a manifest says that it is in another set, something
    /// cannot be read, or something that stays depends on what would be deleted.
    pub(super) async fn find(
        set: Set,
        manifests: &mut [Manifest],
        prune: bool,
        session: &Session,
    ) -> Result<Self, Failure> {
        let kept = mark(&set, manifests, session).await?;
        let mut wanted = Record::default();
        for target in &kept {
            wanted.take(&set, &target.resource.kind, target.namespace.as_deref());
        }
        let there = read(&set, session).await?;
        let mut found = Self {
            set,
            wanted,
            record: there.map(|(record, _)| record).unwrap_or_default(),
            doomed: Vec::new(),
            members: 0,
        };
        if prune {
            (found.members, found.doomed) = found.gone(&kept, session).await?;
        }
        Ok(found)
    }

    /// What is deleted, in that order.
    pub(super) fn targets(&self) -> Vec<Target> {
        self.doomed.iter().map(|one| one.target.clone()).collect()
    }

    /// Counts the members of the set, and finds those that the files no longer have and what
    /// their end means.
    async fn gone(
        &self,
        kept: &[Target],
        session: &Session,
    ) -> Result<(usize, Vec<Doomed>), Failure> {
        let mut count = 0;
        let mut members = Vec::new();
        for (kind, scope) in self.places() {
            let selector = format!("{}={}", set::PART_OF, self.set.id);
            for object in session.list(kind, &scope, Some(&selector)).await? {
                let target = Target {
                    resource: kind.resource(),
                    namespace: object.metadata.namespace.clone(),
                    name: object::name(&object).to_owned(),
                    kind: Some(Known(kind)),
                };
                count += 1;
                if !kept.iter().any(|kept| kept.key() == target.key()) {
                    members.push((target, object));
                }
            }
        }
        unprotected(&members)?;
        seeing(&members, session).await?;
        // What the files have is judged once they are applied: they may take it out of there.
        let mut leaving = kept.to_vec();
        leaving.extend(members.iter().map(|(target, _)| target.clone()));
        Ok((count, weighed(members, &leaving, session).await?))
    }

    /// Where members may be, by kind.
    fn places(&self) -> Vec<(&'static Kind, Scope)> {
        let mut namespaces = self.record.namespaces.clone();
        namespaces.extend(self.wanted.namespaces.iter().cloned());
        namespaces.insert(self.set.namespace.clone());
        let is_there =
            |kind: &&str| self.record.kinds.contains(*kind) || self.wanted.kinds.contains(*kind);
        let mut places = Vec::new();
        for kind in set::KINDS.into_iter().filter(is_there).map(Kind::called) {
            match kind.namespaced {
                false => places.push((kind, Scope::Everywhere)),
                true => places.extend(
                    namespaces
                        .iter()
                        .map(|namespace| (kind, Scope::Namespace(namespace.clone()))),
                ),
            }
        }
        places
    }

    /// Tells what would be deleted, and gets it confirmed as `bbctl delete` does.
    pub(super) async fn confirm(
        &self,
        confirm: &[Word],
        writing: &Writing,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let asked: Vec<&Doomed> = self.doomed.iter().filter(|one| !is_leaving(one)).collect();
        if !out.is_machine() {
            for one in &asked {
                out.note(&format!(
                    "no longer in the files: {}",
                    delete::sentence(one)
                ));
            }
        }
        if writing.dry_run.is_some() {
            return Ok(());
        }
        let mut questions = Vec::new();
        let many = match is_most(asked.len(), self.members) {
            true => {
                questions.push(self.most(asked.len()));
                Many::ByYes
            }
            false => Many::ByNumber,
        };
        questions.extend(delete::questions(&asked, many));
        let said = Said {
            yes: writing.yes,
            words: confirm,
        };
        confirm::confirm(&questions, said, delete::UNDONE, out).await
    }

    /// The name of the set is asked for where most of it would go, in place of the number: such
    /// files are rather the wrong ones.
    fn most(&self, going: usize) -> Asked {
        let name = &self.set.name;
        Asked {
            verb: "delete",
            what: format!("{going} of the {} objects of the set {name}", self.members),
            means: Vec::new(),
            by: By::Word(Word::new("set", name)),
        }
    }

    /// Writes down where members may be before the first of them is applied: whatever stops this
    /// run, the next one finds all of them.
    pub(super) async fn begin(
        &self,
        dry_run: Option<DryRun>,
        session: &Session,
    ) -> Result<(), Failure> {
        write(&self.set, dry_run, session, |now| {
            let mut all = self.wanted.clone();
            all.kinds.extend(now.kinds.iter().cloned());
            all.namespaces.extend(now.namespaces.iter().cloned());
            all
        })
        .await
    }

    /// Deletes what the files no longer have; tells what is on its way.
    ///
    /// # Errors
    /// When something that stays depends on it; then nothing is deleted. What the server refuses
    /// to delete is reported, the others are deleted.
    pub(super) async fn finish(
        self,
        dry_run: Option<DryRun>,
        results: &mut Results,
        session: &Session,
        out: &mut Out,
    ) -> Result<Vec<Wanted>, Failure> {
        let mut doomed = self.doomed;
        if dry_run.is_none() && !doomed.is_empty() {
            // Now that the files are applied, nothing that stays may depend on what goes.
            let targets: Vec<Target> = doomed.iter().map(|one| one.target.clone()).collect();
            let members = doomed.into_iter().map(|one| (one.target, one.object));
            doomed = weighed(members.collect(), &targets, session).await?;
        }
        let mut leaving = Vec::new();
        let mut stays: Option<&Target> = None;
        for one in &doomed {
            // What comes after it may be used by what stays.
            if let Some(stays) = stays.filter(|stays| stays.resource != one.target.resource) {
                let words = format!(
                    "{} was not deleted: {} stays, and may use it",
                    one.target.label(),
                    stays.label()
                );
                let failure = Failure::new(Exit::Failure, words);
                results.fail(&failure.hint("see to that first, and repeat"), out);
                continue;
            }
            match delete_member(&self.set, dry_run, one, session).await {
                Ok(Some(word)) => {
                    results.add(&one.target, word, None, out)?;
                    if word == DELETING {
                        let uid = one.object.metadata.uid.clone();
                        leaving.push(Wanted::this(one.target.clone(), uid));
                    }
                }
                Ok(None) => {
                    stays = stays.or(Some(&one.target));
                    out.note(&format!(
                        "{} is no longer in the set: it stays",
                        one.target.label()
                    ));
                }
                Err(failure) => {
                    stays = stays.or(Some(&one.target));
                    results.fail(&failure, out);
                }
            }
        }
        if results.exit() == Exit::Ok {
            write(&self.set, dry_run, session, |_| self.wanted.clone()).await?;
        }
        Ok(leaving)
    }
}

/// Whether so many of so many are most of a set, and not just a few.
fn is_most(going: usize, members: usize) -> bool {
    is_many(going) && going * 2 > members
}

/// Puts the manifests of kinds that belong to sets into this one.
async fn mark(
    set: &Set,
    manifests: &mut [Manifest],
    session: &Session,
) -> Result<Vec<Target>, Failure> {
    let mut resolver = Resolver::default();
    let mut kept = Vec::new();
    for manifest in manifests.iter_mut() {
        if !set::is_kept(&manifest.object) {
            continue;
        }
        if set::of(&manifest.object).is_some_and(|id| id != set.id) {
            let words = format!(
                "{} says by its label {} that it is in another set than {}",
                manifest.origin,
                set::PART_OF,
                set.words()
            );
            return Err(Failure::usage(words).hint("take the label out of the file"));
        }
        set::put(&mut manifest.object, &set.id);
        kept.push(resolver.target(manifest, session).await?);
    }
    Ok(kept)
}

/// Sees that nothing among them is protected: it would stay, and what it uses would go.
fn unprotected(members: &[(Target, Object)]) -> Result<(), Failure> {
    match members
        .iter()
        .find(|(_, object)| delete::is_protected(object))
    {
        None => Ok(()),
        Some((target, _)) => Err(Failure::new(
            Exit::Failure,
            format!(
                "{} is no longer in the files and is protected from deletion: nothing was \
                 applied and nothing deleted",
                target.label()
            ),
        )
        .hint("put it back into the files, or set its spec.deletionProtection to false first")),
    }
}

/// Sees that all that may depend on them can be looked at: who may not see it must not take it
/// for nothing.
async fn seeing(members: &[(Target, Object)], session: &Session) -> Result<(), Failure> {
    let mut whole = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (target, object) in members {
        match (target.resource.kind.as_str(), &target.namespace) {
            ("Tenant", _) => whole.insert(namespace_of(object)),
            ("Network" | "Volume", Some(namespace)) => used.insert(namespace.clone()),
            _ => false,
        };
    }
    let kinds = KINDS.iter().filter(|kind| kind.namespaced);
    let places = kinds.flat_map(|kind| {
        let namespaces = whole.iter();
        let used = used.iter().filter(|_| kind.kind == "Instance");
        namespaces
            .chain(used)
            .map(move |namespace| (kind, namespace))
    });
    for (kind, namespace) in places {
        let scope = Scope::Namespace(namespace.clone());
        session
            .list(kind, &scope, None)
            .await
            .map_err(|failure| match failure.exit {
                Exit::Denied => failure.hint(format!(
                    "a prune takes nothing that it cannot see the users of: it takes the right \
                     to list {} there",
                    kind.plural
                )),
                _ => failure,
            })?;
    }
    Ok(())
}

/// What the end of each of them means, unless something that is not leaving depends on one.
async fn weighed(
    members: Vec<(Target, Object)>,
    leaving: &[Target],
    session: &Session,
) -> Result<Vec<Doomed>, Failure> {
    let mut doomed = Vec::new();
    for (target, object) in members {
        let consequence = weigh(&target, &object, leaving, session).await?;
        doomed.push(Doomed {
            target,
            object,
            consequence,
        });
    }
    let held: Vec<&Doomed> = doomed
        .iter()
        .filter(|one| one.consequence.dependents.is_some() && !is_leaving(one))
        .collect();
    match held.is_empty() {
        true => Ok(doomed),
        // What is not in the set is nobody's to delete here.
        false => Err(delete::depended_on(&held, false)),
    }
}

fn is_leaving(one: &Doomed) -> bool {
    one.object.metadata.deletion_timestamp.is_some()
}

/// Deletes one as it is now, if it is still that object and in the set.
async fn delete_member(
    set: &Set,
    dry_run: Option<DryRun>,
    one: &Doomed,
    session: &Session,
) -> Result<Option<&'static str>, Failure> {
    let Doomed { target, object, .. } = one;
    let doing = format!("look at {}", target.label());
    let mut attempt = 1;
    loop {
        let now = session
            .ask(&doing, target.api(session).get_opt(&target.name))
            .await?;
        let Some(now) = now else {
            return Ok(Some(DELETED));
        };
        if now.metadata.uid != object.metadata.uid || set::of(&now) != Some(&set.id) {
            return Ok(None);
        }
        if now.metadata.deletion_timestamp.is_some() {
            return Ok(Some(DELETING));
        }
        let only = Preconditions {
            uid: now.metadata.uid,
            resource_version: now.metadata.resource_version,
        };
        match delete::delete_if(dry_run, target, only, session).await {
            // Its status was written, or its mark was: look again.
            Err(failure) if failure.exit == Exit::Conflict && attempt < ATTEMPTS => attempt += 1,
            answer => return answer.map(Some),
        }
    }
}

fn records(set: &Set, session: &Session) -> Api<Object> {
    let resource = ApiResource::erase::<ConfigMap>(&());
    session.api(&resource, Some(&set.namespace))
}

/// The record of a set and the version that it has.
async fn read(set: &Set, session: &Session) -> Result<Option<(Record, Option<String>)>, Failure> {
    let doing = format!("read the record of the set {}", set.words());
    let api = records(set, session);
    let Some(object) = session.ask(&doing, api.get_opt(&set.name)).await? else {
        return Ok(None);
    };
    let record = Record::read(set, &object).map_err(|why| {
        let words = format!(
            "the config map {}{} cannot be the record of a set: {why}",
            set.name,
            crate::session::within(Some(&set.namespace))
        );
        Failure::new(Exit::Conflict, words).hint("name the set otherwise with --set")
    })?;
    Ok(Some((record, object.metadata.resource_version)))
}

/// Writes the record as `decide` makes it of the one that is there, where it is not so already.
async fn write(
    set: &Set,
    dry_run: Option<DryRun>,
    session: &Session,
    decide: impl Fn(&Record) -> Record,
) -> Result<(), Failure> {
    if dry_run == Some(DryRun::Client) {
        return Ok(());
    }
    let doing = format!("write the record of the set {}", set.words());
    let mut attempt = 1;
    loop {
        let there = read(set, session).await?;
        let (now, version) = match &there {
            Some((record, version)) => (record.clone(), version.as_deref()),
            None => (Record::default(), None),
        };
        let record = decide(&now);
        if there.is_some() && record == now {
            return Ok(());
        }
        let params = PatchParams {
            dry_run: dry_run.is_some(),
            ..PatchParams::apply(FIELD_OWNER).force()
        };
        let body = record.render(set, version);
        let patch = Patch::Apply(&body);
        let answer = records(set, session);
        match session
            .ask(&doing, answer.patch(&set.name, &params, &patch))
            .await
        {
            Ok(_) => return Ok(()),
            Err(failure) if failure.exit == Exit::Conflict && attempt < ATTEMPTS => attempt += 1,
            Err(failure) if failure.exit == Exit::NotFound => {
                return Err(failure.hint(
                    "a set is kept in a namespace that is there: apply the Tenant that has it \
                     first, or keep it in another with --set NAMESPACE/NAME",
                ));
            }
            Err(failure) => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_set_is_more_than_half_and_more_than_a_few() {
        for (going, members, most) in [
            (0, 0, false),
            (3, 3, false),
            (4, 4, true),
            (4, 7, true),
            (4, 8, false),
            (9, 10, true),
        ] {
            assert_eq!(is_most(going, members), most, "{going} of {members}");
        }
    }
}
