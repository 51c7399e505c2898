//! Turns credentials of a request into a caller: tickets with CSRF tokens, and API tokens.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::Caller;
use crate::model::{Cluster, hex};
use crate::refusal::{Answer, Refusal};
use crate::schema::{self, Param, RawParams, TEXT, may, need};

/// Seconds a ticket is good for.
const TICKET_LIFE: i64 = 7200;
/// Seconds the product waits before it says 401.
pub(crate) const REFUSAL_DELAY: f64 = 3.0;

const LOGIN: &[Param] = &[
    need("username", TEXT),
    need("password", TEXT),
    may("realm", TEXT),
    may("otp", TEXT),
    may("path", TEXT),
    may("privs", TEXT),
    may("new-format", schema::Kind::Bool),
    may("tfa-challenge", TEXT),
];

/// What a request brings to say who it is.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The decoded `PVEAuthCookie`.
    pub ticket: Option<String>,
    /// The `CSRFPreventionToken` header.
    pub csrf: Option<String>,
}

impl Cluster {
    fn sign(&self, what: &str) -> String {
        // Not a secret worth keeping: the stand-in guards nothing.
        hex(&Sha256::digest(
            format!("{}/{}|{what}", self.fingerprint, self.ticket_key).as_bytes(),
        ))
    }

    fn make_ticket(&self, user: &str) -> String {
        let body = format!("PVE:{user}:{:08X}", self.unix());
        format!("{body}::{}", self.sign(&body))
    }

    fn make_csrf(&self, user: &str) -> String {
        let body = format!("{:08X}", self.unix());
        format!("{body}:{}", self.sign(&format!("{body}:{user}")))
    }

    /// The user of a ticket that is good.
    fn ticket_user(&self, ticket: &str) -> Option<String> {
        let (body, signature) = ticket.split_once("::")?;
        let mut parts = body.splitn(3, ':');
        let (kind, user, stamp) = (parts.next()?, parts.next()?, parts.next()?);
        let stamp = i64::from_str_radix(stamp, 16).ok()?;
        let age = self.unix() - stamp;
        let good = kind == "PVE"
            && signature == self.sign(body)
            && (-300..=TICKET_LIFE).contains(&age)
            && self.access.is_active(user, self.unix());
        good.then(|| user.to_owned())
    }

    /// Who makes a request.
    ///
    /// # Errors
    /// 401 in the words of the proxy.
    pub fn authenticate(&self, method: &str, given: &Credentials) -> Answer<Caller> {
        let bad = || Refusal::unauthorized("Authentication failed!");
        let token = given
            .authorization
            .as_deref()
            .and_then(|a| a.strip_prefix("PVEAPIToken"));
        if let Some(token) = token {
            let token = token.strip_prefix(['=', ' ']).ok_or_else(bad)?;
            let (id, secret) = token.split_once('=').ok_or_else(bad)?;
            let (user, name) = id.split_once('!').ok_or_else(bad)?;
            return self.access.token_caller(user, name, secret, self.unix());
        }
        let by_header = given
            .authorization
            .as_deref()
            .and_then(|a| a.strip_prefix("PVEAuthCookie="));
        let ticket = given.ticket.as_deref().or(by_header);
        let ticket = ticket.ok_or_else(|| Refusal::unauthorized("No ticket"))?;
        let user = self.ticket_user(ticket).ok_or_else(bad)?;
        if method != "GET" && !self.is_csrf(given.csrf.as_deref(), &user) {
            return Err(Refusal::unauthorized(
                "Permission denied - invalid csrf token",
            ));
        }
        Ok(Caller { user, token: None })
    }

    fn is_csrf(&self, given: Option<&str>, user: &str) -> bool {
        let Some((stamp, signature)) = given.and_then(|g| g.split_once(':')) else {
            return false;
        };
        signature == self.sign(&format!("{stamp}:{user}"))
    }

    /// `POST /access/ticket`: logs in, or renews with the ticket in place of the password.
    pub(crate) fn login(&self, raw: &RawParams) -> Answer<Value> {
        let p = schema::check(raw, &[LOGIN], None)?;
        let name = p.text("username");
        let user = match p.get("realm") {
            Some(realm) if !name.contains('@') => format!("{name}@{realm}"),
            _ => name.to_owned(),
        };
        let password = p.text("password");
        let known = self
            .access
            .users
            .get(&user)
            .and_then(|u| u.password.as_deref());
        let by_password = known.is_some_and(|k| k == password);
        let by_ticket = self.ticket_user(password).as_deref() == Some(user.as_str());
        if !(by_password || by_ticket) || !self.access.is_active(&user, self.unix()) {
            return Err(Refusal::bad_login());
        }
        let who = Caller {
            user: user.clone(),
            token: None,
        };
        Ok(json!({
            "username": user, "ticket": self.make_ticket(&user),
            "CSRFPreventionToken": self.make_csrf(&user), "cap": self.capabilities(&who),
        }))
    }
}
