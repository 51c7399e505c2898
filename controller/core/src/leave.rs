//! Turns what is there when the definitions are about to go into why they may not, or into what is
//! let go of.
//!
//! Who deletes a definition deletes every object of it, and whoever drives routers and clusters
//! then destroys what the objects stand for; or the objects wait for ever for one that is gone.

use bb_crds::{FINALIZER, GROUP};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Our kinds, those that people lose most by first.
pub const KINDS: [&str; 6] = [
    "Tenant", "Network", "Instance", "Volume", "Provider", "Region",
];

/// A release of the chart, as helm names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its revision, from 1.
    pub revision: u32,
}

/// Why a release may not go, with the ways out; none where nothing is there. `there` has the number
/// of objects of each kind.
#[must_use]
pub fn refusal(there: &[(&str, usize)], release: &Release) -> Option<String> {
    let some = there.iter().filter(|(_, count)| *count > 0);
    let words: Vec<String> = some
        .map(|(kind, count)| format!("{count} {kind}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    let (last, others) = words.split_last()?;
    let words = if others.is_empty() {
        last.clone()
    } else {
        format!("{} and {last}", others.join(", "))
    };
    let Release {
        name,
        namespace,
        revision,
    } = release;
    let values = |set: &str| {
        format!(
            "    helm rollback {name} {revision} -n {namespace}
    helm upgrade {name} CHART -n {namespace} --reset-then-reuse-values --set {set}
    helm uninstall {name} -n {namespace}"
        )
    };
    let (keep, orphan) = (values("crds.keep=true"), values("crds.onUninstall=Orphan"));
    Some(format!(
        "refused: the definitions would go with this release (crds.keep is false), and with them {words}.
Nothing was changed, and the controllers go on. You can

  remove all of it, from routers and clusters as well:
    kubectl delete tenants --all
    kubectl delete providers,regions --all
    helm uninstall {name} -n {namespace}

  or keep definitions and objects, for a later install (helm takes a release that it could not
  uninstall for one that goes: the rollback to what it is mends that):
{keep}

  or delete the objects, and leave what is on routers and clusters there, with nobody to drive it:
{orphan}
"
    ))
}

/// The finalizers of an object without ours; none where ours is not among them.
#[must_use]
pub fn without_ours(finalizers: &[String]) -> Option<Vec<String>> {
    let others = finalizers.iter().filter(|f| *f != FINALIZER);
    let others: Vec<String> = others.cloned().collect();
    (others.len() < finalizers.len()).then_some(others)
}

/// The owners of a namespace without Tenants, with which it would go; none where no Tenant is
/// among them.
#[must_use]
pub fn without_tenants(owners: &[OwnerReference]) -> Option<Vec<OwnerReference>> {
    let tenant = |owner: &OwnerReference| {
        owner.kind == "Tenant" && owner.api_version.split('/').next() == Some(GROUP)
    };
    let others: Vec<OwnerReference> = owners.iter().filter(|o| !tenant(o)).cloned().collect();
    (others.len() < owners.len()).then_some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release {
            name: "bitbuilder".to_owned(),
            namespace: "clouds".to_owned(),
            revision: 3,
        }
    }

    #[test]
    fn what_would_be_lost_is_counted_with_every_way_out() {
        let none: Vec<(&str, usize)> = KINDS.iter().map(|kind| (*kind, 0)).collect();
        assert_eq!(refusal(&none, &release()), None);
        let there = [
            ("Tenant", 1),
            ("Network", 0),
            ("Instance", 40),
            ("Region", 2),
        ];
        insta::assert_snapshot!(refusal(&there, &release()).expect("something is there"));
        let one = refusal(&[("Volume", 1)], &release()).expect("something is there");
        assert!(one.contains("with them 1 Volume."), "{one}");
    }

    #[test]
    fn what_others_hold_an_object_by_stays() {
        let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let others = without_ours(&list(&["a.example/x", FINALIZER, "b.example/y"]));
        assert_eq!(others, Some(list(&["a.example/x", "b.example/y"])));
        assert_eq!(without_ours(&list(&[FINALIZER])), Some(Vec::new()));
        assert_eq!(without_ours(&list(&["a.example/x"])), None);
        assert_eq!(without_ours(&[]), None);
    }

    #[test]
    fn only_a_tenant_of_ours_lets_go_of_its_namespace() {
        let owner = |api_version: &str, kind: &str| OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: "acme".to_owned(),
            ..OwnerReference::default()
        };
        let ours = owner("bitbuilder.cloud/v1alpha1", "Tenant");
        let theirs = owner("capsule.clastix.io/v1beta2", "Tenant");
        let both = [theirs.clone(), ours.clone()];
        assert_eq!(without_tenants(&both), Some(vec![theirs.clone()]));
        assert_eq!(without_tenants(&[ours]), Some(Vec::new()));
        assert_eq!(without_tenants(&[theirs]), None);
    }
}
