//! Turns two objects into whether one belongs to the other: what `enter` on the one leads to.

use crate::kinds::Kind;
use crate::object::{self, Object, text};
use crate::related::{names, namespace_of};

use super::store::{Entry, Id};

/// The kind that `enter` on an object of a kind leads to; none: to the object itself.
#[must_use]
pub fn below(kind: &Kind) -> Option<&'static Kind> {
    let plural = match kind.kind {
        "Region" => "providers",
        "Provider" | "Tenant" | "Network" | "Volume" => "instances",
        _ => return None,
    };
    Kind::named(plural)
}

/// Says whether an object of a kind belongs to the owner, as far as that is known of.
#[must_use]
pub fn belongs(owner: &Id, known: Option<&Entry>, kind: &Kind, object: &Object) -> bool {
    let same_namespace = || *owner.key.namespace == *object::namespace(object);
    let name = &*owner.key.name;
    match (owner.kind.kind, kind.kind) {
        ("Region", "Provider") => text(object, "/spec/region") == name,
        ("Region", _) => text(object, "/status/region") == name,
        ("Provider", "Network") => names(object, "/status/targets", "name").any(|n| n == name),
        ("Provider", _) => text(object, "/status/cluster") == name,
        ("Tenant", _) => {
            let namespace = known.map(|tenant| namespace_of(&tenant.object));
            namespace.as_deref().unwrap_or(name) == object::namespace(object)
        }
        ("Network", "Instance") => {
            same_namespace() && names(object, "/spec/networks", "network").any(|n| n == name)
        }
        ("Volume", "Instance") => {
            same_namespace() && names(object, "/spec/volumes", "volume").any(|n| n == name)
        }
        _ => false,
    }
}
