//! Turns a bearer token into whether who sent it may read the metrics, as the API has it.
//!
//! The API is asked whose token it is (`TokenReview`), then whether that user may `get` the path
//! (`SubjectAccessReview`). What it says is believed for a while, so that it is asked once a minute
//! by each who reads, and not more than a few times a second whoever comes.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bb_wire::{Gate, Rate};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// How long an answer of the API is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// And one that refuses: a right that was just given is found soon.
const REFUSED: Duration = Duration::from_secs(5);
/// So many answers are kept.
const KEPT: usize = 256;
/// How long the API may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many questions wait at most; whoever comes then is to come again.
const WAITING: usize = 8;
/// How fast the API is asked.
const RATE: Rate = Rate {
    per_second: 5,
    burst: 10,
};

/// Whether somebody may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// He may.
    May,
    /// It is known who he is, and that he may not.
    MayNot,
    /// It is not known who he is.
    Nobody,
    /// It cannot be found out now.
    Unclear,
}

/// Asks the API, and remembers what it said.
pub(crate) struct Guards {
    client: Client,
    gate: Gate,
    waiting: Semaphore,
    known: Mutex<Known>,
}

/// What the API said, by a digest of token and path: a token is not kept.
type Known = BTreeMap<[u8; 32], (Verdict, Instant)>;

impl Guards {
    pub(crate) fn new(client: Client) -> Self {
        let gate = Gate::default();
        gate.set(RATE);
        Self {
            client,
            gate,
            waiting: Semaphore::new(WAITING),
            known: Mutex::default(),
        }
    }

    /// Whether who sends this header `Authorization` may `get` a path.
    pub(crate) async fn judge(&self, header: Option<&str>, path: &str) -> Verdict {
        let token = header.and_then(bearer);
        let Some(token) = token else {
            return Verdict::Nobody;
        };
        let digest: [u8; 32] = Sha256::digest(format!("{path}\n{token}")).into();
        if let Some(verdict) = recalled(&self.known(), &digest, Instant::now()) {
            return verdict;
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Verdict::Unclear;
        };
        self.gate.pass().await;
        let verdict = self.ask(token, path).await;
        if verdict != Verdict::Unclear {
            remember(&mut self.known(), digest, verdict, Instant::now());
        }
        verdict
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("no code panics while it holds this lock")
    }

    async fn ask(&self, token: &str, path: &str) -> Verdict {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let Some(review) = answered(api.create(&params, &review)).await else {
            return Verdict::Unclear;
        };
        let status = review.status.unwrap_or_default();
        let Some(user) = status
            .user
            .filter(|_| status.authenticated.unwrap_or_default())
        else {
            return Verdict::Nobody;
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        match answered(api.create(&params, &access(user, path))).await {
            None => Verdict::Unclear,
            Some(review) if review.status.as_ref().is_some_and(|status| status.allowed) => {
                Verdict::May
            }
            Some(_) => Verdict::MayNot,
        }
    }
}

/// The question whether a user may `get` a path.
fn access(user: UserInfo, path: &str) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    }
}

/// What the API answers in time. Why it does not is logged: its errors hold no token.
async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> Option<T> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot ask the API who reads the metrics");
            None
        }
        Err(_) => {
            tracing::warn!("no answer of the API about who reads the metrics");
            None
        }
    }
}

/// The token in a header `Authorization`.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn recalled(known: &Known, digest: &[u8; 32], now: Instant) -> Option<Verdict> {
    let (verdict, until) = known.get(digest)?;
    (now < *until).then_some(*verdict)
}

/// Keeps an answer for its time. Whoever sends many tokens makes others be asked for again, and
/// nothing grow.
fn remember(known: &mut Known, digest: [u8; 32], verdict: Verdict, now: Instant) {
    if known.len() >= KEPT {
        known.retain(|_, (_, until)| now < *until);
    }
    if known.len() >= KEPT {
        known.retain(|_, (verdict, _)| *verdict == Verdict::May);
    }
    if known.len() >= KEPT {
        known.clear();
    }
    let time = if verdict == Verdict::May {
        BELIEVED
    } else {
        REFUSED
    };
    known.insert(digest, (verdict, now + time));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_follows_bearer() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for none in ["", "abc", "Bearer ", "Basic abc"] {
            assert_eq!(bearer(none), None, "{none}");
        }
    }

    #[test]
    fn an_answer_is_believed_for_its_time_and_a_refusal_for_less() {
        let (mut known, now) = (Known::new(), Instant::now());
        remember(&mut known, [1; 32], Verdict::May, now);
        remember(&mut known, [2; 32], Verdict::MayNot, now);
        let later = now + Duration::from_secs(10);
        assert_eq!(recalled(&known, &[1; 32], later), Some(Verdict::May));
        assert_eq!(recalled(&known, &[2; 32], now), Some(Verdict::MayNot));
        assert_eq!(recalled(&known, &[2; 32], later), None);
        assert_eq!(recalled(&known, &[1; 32], now + BELIEVED), None);
        assert_eq!(recalled(&known, &[3; 32], now), None);
    }

    #[test]
    fn many_wrong_tokens_push_out_each_other_and_no_right_one() {
        let (mut known, now) = (Known::new(), Instant::now());
        remember(&mut known, [255; 32], Verdict::May, now);
        for number in 0..2000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&number.to_le_bytes());
            remember(&mut known, digest, Verdict::Nobody, now);
            assert!(known.len() <= KEPT);
        }
        assert_eq!(recalled(&known, &[255; 32], now), Some(Verdict::May));
    }

    #[test]
    fn the_question_names_the_user_the_groups_and_the_path() {
        let user = UserInfo {
            username: Some("prometheus".to_owned()),
            groups: Some(vec!["readers".to_owned()]),
            ..UserInfo::default()
        };
        let spec = access(user, "/metrics").spec;
        let asked = spec.non_resource_attributes.unwrap();
        assert_eq!(spec.user.as_deref(), Some("prometheus"));
        assert_eq!(spec.groups.unwrap(), ["readers"]);
        assert_eq!(asked.path.as_deref(), Some("/metrics"));
        assert_eq!(asked.verb.as_deref(), Some("get"));
    }
}
