//! Turns what a manifest says that it is into where its objects live on the server.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, ApiResource};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope as Reach, pinned_kind};

use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::manifest::Manifest;
use crate::object::{self, Object};
use crate::session::Session;

/// One object on the server, of our kinds or of any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where objects of its kind live.
    pub resource: ApiResource,
    /// Its namespace, if it lives in one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Our kind, if it is one.
    pub kind: Option<Known>,
}

/// One of our kinds; two are equal by name.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub &'static Kind);

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind == other.0.kind
    }
}

impl Eq for Known {}

impl Target {
    /// An object of one of our kinds by name, in the session's namespace if it lives in one.
    #[must_use]
    pub fn known(kind: &'static Kind, name: &str, session: &Session) -> Self {
        Self {
            resource: kind.resource(),
            namespace: kind.namespaced.then(|| session.namespace().to_owned()),
            name: name.to_owned(),
            kind: Some(Known(kind)),
        }
    }

    /// What people call it: `instance/www-1`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.resource.kind.to_ascii_lowercase(), self.name)
    }

    /// What is typed to mean it: `instance/www-1 -n acme`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} -n {namespace}", self.label()),
            None => self.label(),
        }
    }

    /// `KIND.GROUP/NAME`, which kubectl understands as well.
    #[must_use]
    pub fn full_name(&self) -> String {
        let kind = self.resource.kind.to_ascii_lowercase();
        match self.resource.group.as_str() {
            "" => format!("{kind}/{}", self.name),
            group => format!("{kind}.{group}/{}", self.name),
        }
    }

    /// What it is on the server, whatever version of its kind it was read as: two of one key are
    /// one object.
    #[must_use]
    pub fn key(&self) -> (&str, &str, Option<&str>, &str) {
        let ApiResource { group, kind, .. } = &self.resource;
        (group, kind, self.namespace.as_deref(), &self.name)
    }

    /// The objects of its kind and namespace.
    #[must_use]
    pub fn api(&self, session: &Session) -> Api<Object> {
        session.api(&self.resource, self.namespace.as_deref())
    }

    /// Whether it is of our kind.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.kind.is_some_and(|known| known.0.kind == kind)
    }
}

/// Leaves of each object that is there more than once the first, in their order.
pub fn once(targets: &mut Vec<Target>) {
    let mut first = Vec::new();
    let mut seen = BTreeSet::new();
    for target in targets.iter() {
        first.push(seen.insert(target.key()));
    }
    let mut first = first.into_iter();
    targets.retain(|_| first.next() == Some(true));
}

/// Finds out where kinds live; asks the server once for each that is not ours.
#[derive(Debug, Default)]
pub struct Resolver {
    found: BTreeMap<(String, String), (ApiResource, bool)>,
}

impl Resolver {
    /// The object that a manifest is about.
    ///
    /// # Errors
    /// When the server has no such kind.
    pub async fn target(
        &mut self,
        manifest: &Manifest,
        session: &Session,
    ) -> Result<Target, Failure> {
        let types = manifest.object.types.clone().unwrap_or_default();
        let kind = Kind::of_manifest(&types.api_version, &types.kind);
        let (resource, namespaced) = match kind {
            Some(kind) if types.api_version == kind.resource().api_version => {
                (kind.resource(), kind.namespaced)
            }
            _ => {
                self.ask(&types.api_version, &types.kind, manifest, session)
                    .await?
            }
        };
        let own = object::namespace(&manifest.object);
        let namespace = match (namespaced, own) {
            (false, _) => None,
            (true, "") => Some(session.namespace().to_owned()),
            (true, own) => Some(own.to_owned()),
        };
        let name = object::name(&manifest.object).to_owned();
        Ok(Target {
            resource,
            namespace,
            name,
            kind: kind.map(Known),
        })
    }

    async fn ask(
        &mut self,
        api_version: &str,
        kind: &str,
        manifest: &Manifest,
        session: &Session,
    ) -> Result<(ApiResource, bool), Failure> {
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(found) = self.found.get(&key) {
            return Ok(found.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let client = session.client();
        let doing = format!("look for {kind} of {api_version}");
        let missing = || {
            Failure::new(
                Exit::NotFound,
                format!(
                    "{}: the server has no kind {kind} of {api_version}",
                    manifest.origin
                ),
            )
            .hint("check apiVersion and kind, or install the definition of that kind first")
        };
        let answer = session.ask(&doing, async {
            match pinned_kind(&client, &gvk).await {
                Err(kube::Error::Discovery(_)) => Ok(None),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                other => other.map(Some),
            }
        });
        let (resource, capabilities) = answer.await?.ok_or_else(missing)?;
        let found = (resource, capabilities.scope == Reach::Namespaced);
        self.found.insert(key, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_named_twice_is_there_once_and_the_order_stays() {
        let target = |kind: &'static str, place: &str, name: &str| {
            let kind = Kind::called(kind);
            Target {
                resource: kind.resource(),
                namespace: Some(place.to_owned()),
                name: name.to_owned(),
                kind: Some(Known(kind)),
            }
        };
        let of = |all: &[(&'static str, &str, &str)]| {
            let all = all.iter().map(|one| target(one.0, one.1, one.2));
            all.collect::<Vec<Target>>()
        };
        let mut all = of(&[
            ("Instance", "b", "www"),
            ("Instance", "a", "www"),
            ("Instance", "b", "www"),
            ("Volume", "b", "www"),
            ("Instance", "a", "db"),
            ("Instance", "a", "www"),
        ]);
        all[2].resource.version = "v2".to_owned();
        once(&mut all);
        let want = of(&[
            ("Instance", "b", "www"),
            ("Instance", "a", "www"),
            ("Volume", "b", "www"),
            ("Instance", "a", "db"),
        ]);
        assert_eq!(all, want);
    }
}
