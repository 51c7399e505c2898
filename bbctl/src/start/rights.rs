//! Turns a session into who the server takes us for, and an action into whether it is allowed.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use crate::error::{Exit, Failure};
use crate::session::Session;

/// Something that one may do, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// As in a role: `get`, `list`, `create`, `patch`, `delete`.
    pub verb: String,
    /// The API group; empty for that of Namespaces and Secrets.
    pub group: String,
    /// The plural name of a kind.
    pub resource: String,
    /// The namespace; none: the whole cluster.
    pub namespace: Option<String>,
    /// One object; none: any.
    pub name: Option<String>,
}

impl Action {
    /// With objects of one of our kinds.
    #[must_use]
    pub fn ours(verb: &str, resource: &str, namespace: Option<&str>) -> Self {
        Self {
            verb: verb.to_owned(),
            group: bb_crds::GROUP.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: None,
        }
    }
}

/// What the server says of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in the server's words; often empty.
    pub reason: String,
}

/// Whom the server takes us for.
///
/// # Errors
/// When it does not know us, or does not answer.
pub async fn whoami(session: &Session) -> Result<UserInfo, Failure> {
    let api: Api<SelfSubjectReview> = Api::all(session.client());
    let review = SelfSubjectReview::default();
    let params = PostParams::default();
    let answer = api.create(&params, &review);
    let answer = session.ask("ask who we are", answer).await?;
    let user = answer.status.and_then(|status| status.user_info);
    user.ok_or_else(|| {
        Failure::new(
            Exit::Failure,
            format!("cannot ask who we are: {} does not say", session.server()),
        )
    })
}

/// Whether an action is allowed.
///
/// # Errors
/// When the server does not answer.
pub async fn may(action: &Action, session: &Session) -> Result<Ruling, Failure> {
    let api: Api<SelfSubjectAccessReview> = Api::all(session.client());
    let attributes = ResourceAttributes {
        verb: Some(action.verb.clone()),
        group: Some(action.group.clone()),
        resource: Some(action.resource.clone()),
        namespace: action.namespace.clone(),
        name: action.name.clone(),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let doing = format!("ask whether we may {} {}", action.verb, action.resource);
    let params = PostParams::default();
    let answer = api.create(&params, &review);
    let status = session.ask(&doing, answer).await?.status;
    let status = status.unwrap_or_default();
    Ok(Ruling {
        allowed: status.allowed,
        reason: status.reason.unwrap_or_default(),
    })
}
