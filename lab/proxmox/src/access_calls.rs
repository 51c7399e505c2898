//! Turns calls on users, tokens, roles and ACL into changes of who may do what.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::access::{Caller, Grant, Privileges, Subject, Token, User};
use crate::call::Call;
use crate::model::Cluster;
use crate::property::split_list;
use crate::refusal::{Answer, Refusal};
use crate::roles;

/// Paths that exist whether or not a row names them.
const TOP_PATHS: &[&str] = &[
    "/",
    "/access",
    "/access/groups",
    "/nodes",
    "/pool",
    "/sdn",
    "/storage",
    "/vms",
];

impl Cluster {
    /// `GET /access/permissions`: every path the caller has something on.
    pub(crate) fn permissions(&self, call: &Call<'_>) -> Answer<Value> {
        let who = match call.p.get("userid") {
            Some(id) if id != call.who.full() => {
                self.check(call.who, "/access", &["Sys.Audit"])?;
                match id.split_once('!') {
                    Some((user, token)) => Caller {
                        user: user.to_owned(),
                        token: Some(token.to_owned()),
                    },
                    None => Caller {
                        user: id.to_owned(),
                        token: None,
                    },
                }
            }
            _ => call.who.clone(),
        };
        let render = |held: Privileges| -> Value {
            json!(
                held.into_iter()
                    .map(|(k, v)| (k, u8::from(v)))
                    .collect::<BTreeMap<_, _>>()
            )
        };
        if let Some(path) = call.p.get("path") {
            return Ok(json!({ path: render(self.privileges(&who, path)) }));
        }
        let mut paths: BTreeSet<String> = TOP_PATHS.iter().map(|p| (*p).to_owned()).collect();
        paths.extend(self.access.acl.iter().map(|g| g.path.clone()));
        for (name, pool) in &self.pools {
            paths.insert(format!("/pool/{name}"));
            paths.extend(pool.guests.iter().map(|id| format!("/vms/{id}")));
            paths.extend(pool.storages.iter().map(|id| format!("/storage/{id}")));
        }
        let held: BTreeMap<String, Value> = paths
            .into_iter()
            .map(|path| (self.privileges(&who, &path), path))
            .filter(|(held, _)| !held.is_empty())
            .map(|(held, path)| (path, render(held)))
            .collect();
        Ok(json!(held))
    }

    /// The coarse map of capabilities a login answers with.
    pub(crate) fn capabilities(&self, who: &Caller) -> Value {
        let mut out = Map::new();
        for (area, path, prefixes) in [
            ("vms", "/vms", &["VM.", "Permissions."][..]),
            ("storage", "/storage", &["Datastore.", "Permissions."]),
            ("access", "/access", &["User.", "Group.", "Permissions."]),
            ("nodes", "/nodes", &["Sys.", "Permissions."]),
            ("sdn", "/sdn", &["SDN.", "Permissions."]),
            ("mapping", "/mapping", &["Mapping.", "Permissions."]),
            ("dc", "/", &["Sys.Audit", "Sys.Modify", "SDN."]),
        ] {
            let held = self.privileges(who, path);
            let fits = |p: &String| prefixes.iter().any(|x| p.starts_with(x));
            let caps: Map<String, Value> = held
                .into_keys()
                .filter(fits)
                .map(|p| (p, json!(1)))
                .collect();
            out.insert(area.to_owned(), Value::Object(caps));
        }
        Value::Object(out)
    }

    pub(crate) fn user_add(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("userid").to_owned();
        let realm = id.rsplit_once('@').map_or("", |(_, r)| r);
        self.check(
            call.who,
            &format!("/access/realm/{realm}"),
            &["Realm.AllocateUser"],
        )?;
        if self.access.users.contains_key(&id) {
            let text = format!("create user failed: user '{id}' already exists");
            return Err(Refusal::fail(text));
        }
        let mut user = User::default();
        change_user(&mut user, call);
        user.password = call.p.get("password").map(str::to_owned);
        self.access.users.insert(id, user);
        Ok(Value::Null)
    }

    pub(crate) fn user_change(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("userid");
        self.check(call.who, "/access/groups", &["User.Modify"])?;
        let missing = || Refusal::fail(format!("no such user ('{id}')"));
        let user = self.access.users.get_mut(id).ok_or_else(missing)?;
        change_user(user, call);
        Ok(Value::Null)
    }

    pub(crate) fn user_remove(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("userid").to_owned();
        self.check(call.who, "/access/groups", &["User.Modify"])?;
        self.access.users.remove(&id);
        let token = format!("{id}!");
        self.access.acl.retain(|g| match g.subject {
            Subject::User => g.ugid != id,
            Subject::Token => !g.ugid.starts_with(&token),
            Subject::Group => true,
        });
        Ok(Value::Null)
    }

    pub(crate) fn user_list(&self, call: &Call<'_>) -> Value {
        let rows: Vec<Value> = self
            .access
            .users
            .iter()
            .filter(|(id, _)| {
                **id == call.who.user
                    || self.may(call.who, "/access/groups", "User.Modify")
                    || self.may(call.who, "/access/groups", "Sys.Audit")
            })
            .map(|(id, u)| {
                let realm = id.rsplit_once('@').map_or("", |(_, r)| r);
                let mut row = json!({
                    "userid": id, "enable": u8::from(u.enable), "expire": u.expire,
                    "realm-type": realm,
                });
                if let Some(comment) = &u.comment {
                    row["comment"] = json!(comment);
                }
                row
            })
            .collect();
        json!(rows)
    }

    pub(crate) fn token_add(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (id, name) = (
            call.p.text("userid").to_owned(),
            call.p.text("tokenid").to_owned(),
        );
        self.check_self(call, &id)?;
        let secret = self.draw_uuid();
        let missing = || Refusal::fail(format!("no such user ('{id}')"));
        let user = self.access.users.get_mut(&id).ok_or_else(missing)?;
        if user.tokens.contains_key(&name) {
            return Err(Refusal::param("tokenid", "Token already exists."));
        }
        let token = Token {
            secret: secret.clone(),
            privsep: call.p.get("privsep") != Some("0"),
            expire: call.p.int("expire").unwrap_or(0),
            comment: call.p.get("comment").map(str::to_owned),
        };
        user.tokens.insert(name.clone(), token);
        // What was sent comes back as it was sent; what was not is a number.
        let mut info = json!({ "privsep": 1 });
        for key in ["privsep", "expire", "comment"] {
            if let Some(value) = call.p.get(key) {
                info[key] = json!(value);
            }
        }
        Ok(json!({ "value": secret, "full-tokenid": format!("{id}!{name}"), "info": info }))
    }

    pub(crate) fn token_change(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (id, name) = (call.p.text("userid"), call.p.text("tokenid"));
        self.check_self(call, id)?;
        let missing = || Refusal::fail(format!("no such token '{name}' for user '{id}'"));
        let user = self.access.users.get_mut(id).ok_or_else(missing)?;
        let token = user.tokens.get_mut(name).ok_or_else(missing)?;
        if let Some(value) = call.p.get("privsep") {
            token.privsep = value == "1";
        }
        if let Some(expire) = call.p.int("expire") {
            token.expire = expire;
        }
        let mut info = json!({ "privsep": u8::from(token.privsep) });
        for key in ["privsep", "expire", "comment"] {
            if let Some(value) = call.p.get(key) {
                info[key] = json!(value);
            }
        }
        Ok(info)
    }

    pub(crate) fn token_remove(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (id, name) = (
            call.p.text("userid").to_owned(),
            call.p.text("tokenid").to_owned(),
        );
        self.check_self(call, &id)?;
        if let Some(user) = self.access.users.get_mut(&id) {
            user.tokens.remove(&name);
        }
        let full = format!("{id}!{name}");
        self.access
            .acl
            .retain(|g| !(g.subject == Subject::Token && g.ugid == full));
        Ok(Value::Null)
    }

    pub(crate) fn token_list(&self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("userid");
        self.check_self(call, id)?;
        let missing = || Refusal::fail(format!("no such user ('{id}')"));
        let user = self.access.users.get(id).ok_or_else(missing)?;
        let rows = user.tokens.iter().map(|(name, t)| {
            json!({ "tokenid": name, "privsep": u8::from(t.privsep), "expire": t.expire })
        });
        Ok(json!(rows.collect::<Vec<_>>()))
    }

    /// A user may manage his own tokens; others need User.Modify.
    fn check_self(&self, call: &Call<'_>, id: &str) -> Answer<()> {
        if call.who.user == id {
            return Ok(());
        }
        self.check(call.who, "/access/groups", &["User.Modify"])
    }

    pub(crate) fn group_add(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("groupid").to_owned();
        if !self.access.groups.insert(id.clone()) {
            return Err(Refusal::fail(format!(
                "create group failed: group '{id}' already exists"
            )));
        }
        Ok(Value::Null)
    }

    pub(crate) fn group_remove(&mut self, call: &Call<'_>) -> Answer<Value> {
        self.access.groups.remove(call.p.text("groupid"));
        Ok(Value::Null)
    }

    pub(crate) fn role_list(&self) -> Value {
        let row = |id: &str, special: u8| {
            let privs = self.access.role(id).unwrap_or_default();
            let privs: Vec<String> = privs.into_iter().collect();
            json!({ "roleid": id, "privs": privs.join(","), "special": special })
        };
        let built_in = roles::BUILT_IN.iter().map(|r| row(r, 1));
        json!(
            built_in
                .chain(self.access.roles.keys().map(|r| row(r, 0)))
                .collect::<Vec<_>>()
        )
    }

    pub(crate) fn role_get(&self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("roleid");
        let missing = || Refusal::fail(format!("role '{id}' does not exist"));
        let privs = self.access.role(id).ok_or_else(missing)?;
        Ok(json!(
            privs
                .into_iter()
                .map(|p| (p, 1))
                .collect::<BTreeMap<_, _>>()
        ))
    }

    pub(crate) fn role_add(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("roleid").to_owned();
        if self.access.role(&id).is_some() {
            return Err(Refusal::fail(format!(
                "create role failed: role '{id}' already exists"
            )));
        }
        let privs = call.p.get("privs").unwrap_or_default();
        let privs = split_list(privs).map(str::to_owned).collect();
        self.access.roles.insert(id, privs);
        Ok(Value::Null)
    }

    pub(crate) fn role_change(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("roleid");
        if roles::built_in(id).is_some() {
            return Err(Refusal::fail(format!(
                "auto-generated role '{id}' cannot be modified"
            )));
        }
        let missing = || Refusal::fail(format!("role '{id}' does not exist"));
        let role = self.access.roles.get_mut(id).ok_or_else(missing)?;
        if !call.p.flag("append") {
            role.clear();
        }
        role.extend(split_list(call.p.get("privs").unwrap_or_default()).map(str::to_owned));
        Ok(Value::Null)
    }

    pub(crate) fn role_remove(&mut self, call: &Call<'_>) -> Answer<Value> {
        let id = call.p.text("roleid");
        if self.access.roles.remove(id).is_none() {
            return Err(Refusal::fail(format!(
                "delete role failed: role '{id}' does not exist"
            )));
        }
        Ok(Value::Null)
    }

    pub(crate) fn acl_list(&self, call: &Call<'_>) -> Value {
        let all = self.may(call.who, "/access", "Sys.Audit")
            || self.may(call.who, "/", "Permissions.Modify");
        let rows = self
            .access
            .acl
            .iter()
            .filter(|g| all || g.ugid == call.who.full());
        let row = |g: &Grant| {
            json!({ "path": g.path, "type": g.subject, "ugid": g.ugid, "roleid": g.role,
                    "propagate": u8::from(g.propagate) })
        };
        json!(rows.map(row).collect::<Vec<_>>())
    }

    pub(crate) fn acl_change(&mut self, call: &Call<'_>) -> Answer<Value> {
        let path = call.p.text("path");
        let path = if path == "/" {
            "/"
        } else {
            path.trim_end_matches('/')
        }
        .to_owned();
        if !is_acl_path(&path) {
            return Err(Refusal::param("path", format!("invalid ACL path '{path}'")));
        }
        self.check(call.who, &path, &["Permissions.Modify"])?;
        let fail = |text: String| Refusal::fail(format!("ACL update failed: {text}"));
        let propagate = call.p.get("propagate") != Some("0");
        let delete = call.p.flag("delete");
        for role in split_list(call.p.text("roles")) {
            if self.access.role(role).is_none() {
                return Err(fail(format!("role '{role}' does not exist")));
            }
            for (key, subject) in [
                ("users", Subject::User),
                ("groups", Subject::Group),
                ("tokens", Subject::Token),
            ] {
                for ugid in split_list(call.p.get(key).unwrap_or_default()) {
                    self.check_subject(subject, ugid).map_err(fail)?;
                    let same = |g: &Grant| {
                        g.path == path && g.subject == subject && g.ugid == ugid && g.role == role
                    };
                    self.access.acl.retain(|g| !same(g));
                    if !delete {
                        self.access.acl.insert(Grant {
                            path: path.clone(),
                            subject,
                            ugid: ugid.to_owned(),
                            role: role.to_owned(),
                            propagate,
                        });
                    }
                }
            }
        }
        Ok(Value::Null)
    }

    fn check_subject(&self, subject: Subject, ugid: &str) -> Result<(), String> {
        match subject {
            Subject::User if !self.access.users.contains_key(ugid) => {
                Err(format!("user '{ugid}' does not exist"))
            }
            Subject::Group if !self.access.groups.contains(ugid) => {
                Err(format!("group '{ugid}' does not exist"))
            }
            Subject::Token => {
                let (user, token) = ugid.split_once('!').unwrap_or((ugid, ""));
                let known = self.access.users.get(user);
                match known.is_some_and(|u| u.tokens.contains_key(token)) {
                    true => Ok(()),
                    false => Err(format!("no such token '{token}' for user '{user}'")),
                }
            }
            _ => Ok(()),
        }
    }
}

fn change_user(user: &mut User, call: &Call<'_>) {
    if let Some(enable) = call.p.get("enable") {
        user.enable = enable == "1";
    }
    if let Some(expire) = call.p.int("expire") {
        user.expire = expire;
    }
    if let Some(comment) = call.p.get("comment") {
        user.comment = Some(comment.to_owned());
    }
    if let Some(groups) = call.p.get("groups") {
        user.groups = split_list(groups).map(str::to_owned).collect();
    }
}

/// Whether an ACL row may name a path.
fn is_acl_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let first = rest.split('/').next().unwrap_or_default();
    [
        "", "access", "mapping", "nodes", "pool", "sdn", "storage", "vms",
    ]
    .contains(&first)
}
