//! Turns what users and operators write into types: the custom resources of `bitbuilder.cloud/v1alpha1`.
//!
//! The types carry their own rules (bounds, CEL), so that the API server, unit tests and
//! `bbctl` all judge an object by the same words. Nothing here talks to anything.

#![allow(
    unreachable_pub,
    reason = "the derives repeat each type inside a function of their own"
)]

pub mod condition;
pub mod drift;
pub mod ids;
pub mod instance;
mod judge;
pub mod network;
pub mod plan;
pub mod provider;
pub mod quantity;
pub mod region;
mod render;
pub mod tenant;
pub mod volume;

pub use condition::{Condition, ConditionType, Reason};
pub use drift::{Drift, Preview};
pub use ids::NumberRange;
pub use instance::{Instance, InstanceSpec, InstanceStatus};
pub use judge::judge;
pub use network::{Network, NetworkSpec, NetworkStatus};
pub use plan::{Plan, PlanSpec, PlanStatus};
pub use provider::{Provider, ProviderSpec, ProviderStatus};
pub use quantity::{Size, SizeError};
pub use region::{Region, RegionSpec, RegionStatus};
pub use render::{crds, render_yaml};
pub use tenant::{Tenant, TenantSpec, TenantStatus};
pub use volume::{Volume, VolumeSpec, VolumeStatus};

/// The API group of every kind.
pub const GROUP: &str = "bitbuilder.cloud";
/// The version that is stored and served.
pub const VERSION: &str = "v1alpha1";
/// The finalizer that keeps an object until nothing of it is left on a router or cluster.
pub const FINALIZER: &str = "bitbuilder.cloud/targets";
/// Set to `"true"` on an object: nothing of it is changed anywhere until it is taken off.
pub const PAUSED: &str = "bitbuilder.cloud/paused";
/// Set on a Provider: how many objects may be deleted at once in spite of `spec.deleteGuard`, as
/// a number, or until when any number may, as a time (RFC 3339).
pub const ALLOW_DELETES: &str = "bitbuilder.cloud/allow-deletes";
/// The label on a namespace that names the tenant it belongs to.
pub const TENANT_LABEL: &str = "bitbuilder.cloud/tenant";
