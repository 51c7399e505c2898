//! Turns calls on pools into pools and their members.

use serde_json::{Value, json};

use crate::call::Call;
use crate::model::{Cluster, Pool};
use crate::property::split_list;
use crate::refusal::{Answer, Refusal};

impl Cluster {
    pub(crate) fn pool_list(&self, call: &Call<'_>) -> Answer<Value> {
        let row = |name: &str, pool: &Pool| {
            let mut row = json!({ "poolid": name });
            if let Some(comment) = &pool.comment {
                row["comment"] = json!(comment);
            }
            row
        };
        if let Some(name) = call.p.get("poolid") {
            return Ok(json!([self.pool_get_named(call, name)?]));
        }
        let seen = self.pools.iter().filter(|(name, _)| {
            self.may_any(
                call.who,
                &format!("/pool/{name}"),
                &["Pool.Audit", "Pool.Allocate"],
            )
        });
        Ok(json!(
            seen.map(|(name, pool)| row(name, pool)).collect::<Vec<_>>()
        ))
    }

    pub(crate) fn pool_get(&self, call: &Call<'_>) -> Answer<Value> {
        self.pool_get_named(call, call.p.text("poolid"))
    }

    fn pool_get_named(&self, call: &Call<'_>, name: &str) -> Answer<Value> {
        let missing = || Refusal::fail(format!("pool '{name}' does not exist"));
        let pool = self.pools.get(name).ok_or_else(missing)?;
        if self
            .privileges(call.who, &format!("/pool/{name}"))
            .is_empty()
        {
            return Err(Refusal::denied(&format!("/pool/{name}, Pool.Audit")));
        }
        let mut row = json!({ "poolid": name, "members": self.pool_members(name) });
        if let Some(comment) = &pool.comment {
            row["comment"] = json!(comment);
        }
        Ok(row)
    }

    pub(crate) fn pool_add(&mut self, call: &Call<'_>) -> Answer<Value> {
        let name = call.p.text("poolid").to_owned();
        let fail = |text: String| Err(Refusal::fail(format!("create pool failed: {text}")));
        if self.pools.contains_key(&name) {
            return fail(format!("pool '{name}' already exists"));
        }
        if let Some((parent, _)) = name.rsplit_once('/')
            && !self.pools.contains_key(parent)
        {
            return fail(format!("parent '{parent}' of pool '{name}' does not exist"));
        }
        let comment = call.p.get("comment").map(str::to_owned);
        self.pools.insert(
            name,
            Pool {
                comment,
                ..Pool::default()
            },
        );
        Ok(Value::Null)
    }

    pub(crate) fn pool_change(&mut self, call: &Call<'_>) -> Answer<Value> {
        let name = call.p.text("poolid").to_owned();
        let fail = |text: String| Err(Refusal::fail(format!("update pools failed: {text}")));
        if !self.pools.contains_key(&name) {
            return fail(format!("pool '{name}' does not exist"));
        }
        let delete = call.p.flag("delete");
        for vmid in split_list(call.p.get("vms").unwrap_or_default()) {
            let vmid: u32 = vmid.parse().unwrap_or_default();
            let path = format!("/vms/{vmid}");
            self.check_any(call.who, &path, &["Permissions.Modify", "VM.Allocate"])
                .map_err(|r| r.within("update pools failed: "))?;
            let held = self.pool_of(vmid).map(str::to_owned);
            match (delete, held) {
                (true, held) if held.as_deref() != Some(name.as_str()) => {
                    return fail(format!("VM {vmid} is not a pool member"));
                }
                (false, Some(held)) if held != name && !call.p.flag("allow-move") => {
                    return fail(format!(
                        "VM {vmid} belongs already to pool '{held}' and 'allow-move' is not set"
                    ));
                }
                _ => {}
            }
            for pool in self.pools.values_mut() {
                pool.guests.remove(&vmid);
            }
            if !delete && let Some(pool) = self.pools.get_mut(&name) {
                pool.guests.insert(vmid);
            }
        }
        let Some(pool) = self.pools.get_mut(&name) else {
            return Ok(Value::Null);
        };
        for sid in split_list(call.p.get("storage").unwrap_or_default()) {
            if delete {
                pool.storages.remove(sid);
            } else {
                pool.storages.insert(sid.to_owned());
            }
        }
        if let Some(comment) = call.p.get("comment") {
            pool.comment = Some(comment.to_owned());
        }
        Ok(Value::Null)
    }

    pub(crate) fn pool_remove(&mut self, call: &Call<'_>) -> Answer<Value> {
        let name = call.p.text("poolid");
        let fail = |text: String| Err(Refusal::fail(format!("delete pool failed: {text}")));
        let Some(pool) = self.pools.get(name) else {
            return fail(format!("pool '{name}' does not exist"));
        };
        let below = format!("{name}/");
        if let Some(child) = self.pools.keys().find(|n| n.starts_with(&below)) {
            return fail(format!(
                "pool '{name}' is not empty (contains pool '{child}')"
            ));
        }
        if let Some(vmid) = pool.guests.iter().find(|id| self.guests.contains_key(id)) {
            return fail(format!("pool '{name}' is not empty (contains VM {vmid})"));
        }
        if let Some(sid) = pool.storages.iter().next() {
            return fail(format!(
                "pool '{name}' is not empty (contains storage '{sid}')"
            ));
        }
        self.pools.remove(name);
        let path = format!("/pool/{name}");
        self.access.acl.retain(|g| g.path != path);
        Ok(Value::Null)
    }
}
