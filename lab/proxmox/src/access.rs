//! Turns users, roles, tokens and ACL rows into what a caller may do on a path.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::refusal::{Answer, Refusal};
use crate::roles;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// `name@realm`.
    pub user: String,
    /// The token's name, when the call is made with one.
    pub token: Option<String>,
}

impl Caller {
    /// The superuser with a ticket.
    pub fn root() -> Self {
        Self {
            user: "root@pam".to_owned(),
            token: None,
        }
    }

    /// Only a ticket of root@pam; a token of his is like any other user.
    pub fn is_root(&self) -> bool {
        self.user == "root@pam" && self.token.is_none()
    }

    /// `user@realm` or `user@realm!token`.
    pub fn full(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }
}

/// An API token of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub secret: String,
    /// Whether the token needs rights of its own besides its user's.
    pub privsep: bool,
    /// Unix seconds; 0 = never.
    #[serde(default)]
    pub expire: i64,
    #[serde(default)]
    pub comment: Option<String>,
}

/// A user of any realm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    #[serde(default)]
    pub password: Option<String>,
    pub enable: bool,
    /// Unix seconds; 0 = never.
    #[serde(default)]
    pub expire: i64,
    #[serde(default)]
    pub comment: Option<String>,
    #[serde(default)]
    pub groups: BTreeSet<String>,
    #[serde(default)]
    pub tokens: BTreeMap<String, Token>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            password: None,
            enable: true,
            expire: 0,
            comment: None,
            groups: BTreeSet::new(),
            tokens: BTreeMap::new(),
        }
    }
}

/// Whom an ACL row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    User,
    Group,
    Token,
}

/// One ACL row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    pub path: String,
    #[serde(rename = "type")]
    pub subject: Subject,
    pub ugid: String,
    pub role: String,
    #[serde(default = "yes")]
    pub propagate: bool,
}

fn yes() -> bool {
    true
}

/// Users, groups, roles, rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    pub users: BTreeMap<String, User>,
    pub groups: BTreeSet<String>,
    /// Own roles; the built-in ones are known by name.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    pub acl: BTreeSet<Grant>,
}

/// Privilege to "does it reach the paths below".
pub type Privileges = BTreeMap<String, bool>;

impl Access {
    /// The privileges of a role.
    pub fn role(&self, name: &str) -> Option<BTreeSet<String>> {
        match roles::built_in(name) {
            Some(list) => Some(list.into_iter().map(str::to_owned).collect()),
            None => self.roles.get(name).cloned(),
        }
    }

    /// The roles of one subject on a path: the deepest path with a row of its own wins, a
    /// user's row outweighs those of his groups, and only rows that propagate reach below.
    fn roles_on(&self, who: &Caller, path: &str) -> BTreeMap<String, bool> {
        let mut found = BTreeMap::new();
        let groups = self
            .users
            .get(&who.user)
            .map(|u| u.groups.clone())
            .unwrap_or_default();
        let subject = if who.token.is_some() {
            Subject::Token
        } else {
            Subject::User
        };
        let name = who.full();
        for step in ancestors(path) {
            let last = step == path;
            let rows = |kind: Subject, pick: &dyn Fn(&str) -> bool| -> BTreeMap<String, bool> {
                self.acl
                    .iter()
                    .filter(|g| g.path == step && g.subject == kind && pick(&g.ugid))
                    .filter(|g| last || g.propagate)
                    .map(|g| (g.role.clone(), g.propagate))
                    .collect()
            };
            let own = rows(subject, &|ugid| ugid == name);
            let here = if own.is_empty() && who.token.is_none() {
                rows(Subject::Group, &|ugid| groups.contains(ugid))
            } else {
                own
            };
            if !here.is_empty() {
                found = here;
            }
        }
        if found.contains_key("NoAccess") {
            return [("NoAccess".to_owned(), false)].into();
        }
        found
    }

    fn privileges_of(&self, who: &Caller, path: &str, pool: Option<&str>) -> Privileges {
        let mut roles = self.roles_on(who, path);
        if let Some(pool) = pool
            && !roles.contains_key("NoAccess")
        {
            for (role, _) in self.roles_on(who, &format!("/pool/{pool}")) {
                roles.entry(role).or_insert(false);
            }
        }
        let mut out = Privileges::new();
        for (role, reaches) in roles {
            for privilege in self.role(&role).unwrap_or_default() {
                *out.entry(privilege).or_insert(false) |= reaches;
            }
        }
        out
    }

    /// What a caller may do on a path. `pool` is the pool the path's object is a member of.
    ///
    /// A token with privilege separation has what both it and its user have.
    pub fn privileges(&self, who: &Caller, path: &str, pool: Option<&str>) -> Privileges {
        if who.is_root() {
            return roles::ALL.iter().map(|p| ((*p).to_owned(), true)).collect();
        }
        let user = Caller {
            user: who.user.clone(),
            token: None,
        };
        let of_user = if user.is_root() {
            roles::ALL.iter().map(|p| ((*p).to_owned(), true)).collect()
        } else {
            self.privileges_of(&user, path, pool)
        };
        let Some(token) = &who.token else {
            return of_user;
        };
        let separate = self
            .users
            .get(&who.user)
            .and_then(|u| u.tokens.get(token))
            .is_none_or(|t| t.privsep);
        if !separate {
            return of_user;
        }
        let of_token = self.privileges_of(who, path, pool);
        of_token
            .into_iter()
            .filter(|(p, _)| of_user.contains_key(p))
            .collect()
    }

    /// Whether a caller has one privilege on a path, without listing all he has.
    pub fn has(&self, who: &Caller, path: &str, pool: Option<&str>, privilege: &str) -> bool {
        if who.is_root() {
            return true;
        }
        let user = Caller {
            user: who.user.clone(),
            token: None,
        };
        let by_user = user.is_root() || self.subject_has(&user, path, pool, privilege);
        let Some(token) = &who.token else {
            return by_user;
        };
        let held = self.users.get(&who.user).and_then(|u| u.tokens.get(token));
        let separate = held.is_none_or(|t| t.privsep);
        by_user && (!separate || self.subject_has(who, path, pool, privilege))
    }

    fn subject_has(&self, who: &Caller, path: &str, pool: Option<&str>, privilege: &str) -> bool {
        let gives = |role: &String| match roles::built_in(role) {
            Some(list) => list.contains(&privilege),
            None => self.roles.get(role).is_some_and(|r| r.contains(privilege)),
        };
        let direct = self.roles_on(who, path);
        if direct.keys().any(gives) {
            return true;
        }
        let shut_out = direct.contains_key("NoAccess");
        pool.filter(|_| !shut_out)
            .is_some_and(|p| self.roles_on(who, &format!("/pool/{p}")).keys().any(gives))
    }

    /// Judges a token header's parts.
    ///
    /// # Errors
    /// One text for everything: unknown, wrong, expired, disabled.
    pub fn token_caller(&self, user: &str, token: &str, secret: &str, now: i64) -> Answer<Caller> {
        let bad = || Refusal::unauthorized("Authentication failed!");
        let entry = self
            .users
            .get(user)
            .filter(|u| active(u, now))
            .ok_or_else(bad)?;
        let held = entry.tokens.get(token).ok_or_else(bad)?;
        if held.secret != secret || (held.expire != 0 && held.expire < now) {
            return Err(bad());
        }
        Ok(Caller {
            user: user.to_owned(),
            token: Some(token.to_owned()),
        })
    }

    /// Whether a user exists and may log in.
    pub fn is_active(&self, user: &str, now: i64) -> bool {
        self.users.get(user).is_some_and(|u| active(u, now))
    }
}

fn active(user: &User, now: i64) -> bool {
    user.enable && (user.expire == 0 || user.expire > now)
}

/// `/`, `/a`, `/a/b` for `/a/b`.
fn ancestors(path: &str) -> Vec<String> {
    let mut out = vec!["/".to_owned()];
    let mut built = String::new();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        built.push('/');
        built.push_str(part);
        out.push(built.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let mut access = Access::default();
        let mut user = User::default();
        let token = Token {
            secret: "s".into(),
            privsep: true,
            expire: 0,
            comment: None,
        };
        user.tokens.insert("t".into(), token);
        access.users.insert("op@pve".into(), user);
        access
    }

    fn grant(path: &str, subject: Subject, ugid: &str, role: &str) -> Grant {
        Grant {
            path: path.into(),
            subject,
            ugid: ugid.into(),
            role: role.into(),
            propagate: true,
        }
    }

    fn token() -> Caller {
        Caller {
            user: "op@pve".into(),
            token: Some("t".into()),
        }
    }

    #[test]
    fn a_separated_token_has_only_what_both_have() {
        let mut access = access();
        access
            .acl
            .insert(grant("/vms", Subject::User, "op@pve", "PVEVMAdmin"));
        assert!(access.privileges(&token(), "/vms/100", None).is_empty());
        access.acl.insert(grant(
            "/vms/100",
            Subject::Token,
            "op@pve!t",
            "PVETemplateUser",
        ));
        let on_guest: Vec<_> = access
            .privileges(&token(), "/vms/100", None)
            .into_keys()
            .collect();
        assert_eq!(on_guest, ["VM.Audit", "VM.Clone"]);
    }

    #[test]
    fn rights_of_a_pool_add_to_those_of_the_member() {
        let mut access = access();
        for (subject, who) in [(Subject::User, "op@pve"), (Subject::Token, "op@pve!t")] {
            access
                .acl
                .insert(grant("/pool/p", subject, who, "PVEVMUser"));
            access
                .acl
                .insert(grant("/vms/100", subject, who, "PVETemplateUser"));
        }
        let member = access.privileges(&token(), "/vms/100", Some("p"));
        assert!(member.contains_key("VM.PowerMgmt") && member.contains_key("VM.Clone"));
        assert!(
            !access
                .privileges(&token(), "/vms/100", None)
                .contains_key("VM.PowerMgmt")
        );
    }

    #[test]
    fn a_deeper_row_replaces_the_one_above() {
        let mut access = access();
        access
            .acl
            .insert(grant("/vms", Subject::User, "op@pve", "PVEVMAdmin"));
        access
            .acl
            .insert(grant("/vms/7", Subject::User, "op@pve", "PVEAuditor"));
        let user = Caller {
            user: "op@pve".into(),
            token: None,
        };
        assert!(
            access
                .privileges(&user, "/vms/8", None)
                .contains_key("VM.Allocate")
        );
        assert!(
            !access
                .privileges(&user, "/vms/7", None)
                .contains_key("VM.Allocate")
        );
    }

    #[test]
    fn one_privilege_is_judged_as_the_list_of_all_is() {
        let mut access = access();
        for (path, subject, who, role) in [
            ("/vms", Subject::User, "op@pve", "PVEVMAdmin"),
            ("/vms/7", Subject::Token, "op@pve!t", "PVEVMUser"),
            ("/vms/8", Subject::Token, "op@pve!t", "NoAccess"),
            ("/pool/p", Subject::User, "op@pve", "PVEVMAdmin"),
            ("/pool/p", Subject::Token, "op@pve!t", "PVETemplateUser"),
        ] {
            access.acl.insert(grant(path, subject, who, role));
        }
        for path in ["/", "/vms", "/vms/7", "/vms/8", "/vms/9"] {
            for pool in [None, Some("p")] {
                let all = access.privileges(&token(), path, pool);
                for privilege in roles::ALL {
                    let one = access.has(&token(), path, pool, privilege);
                    assert_eq!(
                        one,
                        all.contains_key(*privilege),
                        "{path} {pool:?} {privilege}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_token_of_root_is_not_root() {
        let caller = Caller {
            user: "root@pam".into(),
            token: Some("t".into()),
        };
        assert!(!caller.is_root());
    }
}
