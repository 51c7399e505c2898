//! Turns a method and a path into the call that answers it, with its parameters and rights.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::Caller;
use crate::call::Call;
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};
use crate::schema::{self, Kind, Param, Params, Raw, RawParams};

/// What a call answers with.
#[derive(Debug)]
pub(crate) enum Out {
    Data(Value),
    /// A list and how many there are in all.
    Total(Value, usize),
    /// Plain text.
    Text(String),
}

impl From<Value> for Out {
    fn from(value: Value) -> Self {
        Self::Data(value)
    }
}

/// What a call needs before its parameters are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Perm {
    /// Any caller who is somebody; the call judges itself.
    Anyone,
    /// All of these on a path; `{name}` in it stands for a parameter.
    All(&'static str, &'static [&'static str]),
    /// One of these on a path.
    Any(&'static str, &'static [&'static str]),
    /// What cloning needs: of the source, and of the id or the pool it goes to.
    Clone,
}

/// Runs a call.
pub(crate) type Run = fn(&mut Cluster, &Call<'_>) -> Answer<Out>;

/// One call of the API.
#[derive(Debug)]
pub(crate) struct Route {
    pub method: &'static str,
    /// `{name}` takes one part of the path, `{name*}` the rest.
    pub path: &'static str,
    pub perm: Perm,
    pub params: &'static [&'static [Param]],
    pub more: Option<fn(&str) -> Option<Kind>>,
    pub run: Run,
}

/// A call without families of parameters.
pub(crate) const fn call(
    method: &'static str,
    path: &'static str,
    perm: Perm,
    params: &'static [&'static [Param]],
    run: Run,
) -> Route {
    Route {
        method,
        path,
        perm,
        params,
        more: None,
        run,
    }
}

/// Splits a path at slashes; doubled and trailing ones do not count.
fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|p| !p.is_empty()).collect()
}

fn fits(pattern: &str, path: &[&str]) -> Option<BTreeMap<String, String>> {
    let pattern = parts(pattern);
    let mut found = BTreeMap::new();
    for (i, part) in pattern.iter().enumerate() {
        let name = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
        match name {
            Some(name) if name.ends_with('*') => {
                let rest = path.get(i..).filter(|r| !r.is_empty())?.join("/");
                found.insert(name.trim_end_matches('*').to_owned(), rest);
                return Some(found);
            }
            Some(name) => {
                found.insert(name.to_owned(), (*path.get(i)?).to_owned());
            }
            None if path.get(i) == Some(part) => {}
            None => return None,
        }
    }
    (pattern.len() == path.len()).then_some(found)
}

/// Finds the call for a method and a decoded path below `/api2/json`.
pub(crate) fn find(method: &str, path: &str) -> Option<(&'static Route, BTreeMap<String, String>)> {
    let path = parts(path);
    let tables: [&'static [Route]; 4] = [
        crate::routes_cluster::ROUTES,
        crate::routes_qemu::ROUTES,
        crate::routes_lxc::ROUTES,
        crate::routes_access::ROUTES,
    ];
    tables
        .into_iter()
        .flatten()
        .filter(|r| r.method == method)
        .find_map(|r| fits(r.path, &path).map(|found| (r, found)))
}

/// The class of a call for counters: its method and pattern.
pub(crate) fn class(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

impl Cluster {
    /// Carries out one call: rights, node, parameters, then the call itself, in this order.
    ///
    /// # Errors
    /// The refusal to send, or to retry after waiting when it has patience.
    pub(crate) fn serve(
        &mut self,
        who: &Caller,
        route: &'static Route,
        found: &BTreeMap<String, String>,
        raw: &RawParams,
    ) -> Answer<Out> {
        let mut all = raw.clone();
        for (key, value) in found {
            if all.contains_key(key) {
                let text = format!("ERROR: duplicate parameter '{key}' already defined in URI");
                return Err(Refusal {
                    status: 400,
                    ..Refusal::fail(text)
                });
            }
            all.insert(key.clone(), Raw::One(value.clone()));
        }
        self.check_perm(who, route.perm, &all)?;
        let node = self.check_node(found)?;
        for key in found.keys() {
            all.remove(key);
        }
        let mut params: Params = schema::check(&all, route.params, route.more)?;
        params.0.extend(found.clone());
        if let Some(node) = node {
            params.0.insert("node".to_owned(), node);
        }
        if let Some(vmid) = found.get("vmid") {
            let good = vmid.parse::<u32>().is_ok_and(|n| n >= 100);
            if !good {
                let text = "invalid format - value does not look like a valid VM ID\n";
                return Err(Refusal::param("vmid", text));
            }
        }
        (route.run)(self, &Call { who, p: params })
    }

    fn check_perm(&self, who: &Caller, perm: Perm, all: &RawParams) -> Answer<()> {
        let text = |key: &str| match all.get(key) {
            Some(Raw::One(value)) => value.clone(),
            _ => String::new(),
        };
        let fill = |template: &str| {
            let mut path = template.to_owned();
            while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
                let value = text(&path[from + 1..to]);
                path.replace_range(from..=to, &value);
            }
            path
        };
        match perm {
            Perm::Anyone => Ok(()),
            Perm::All(path, rights) => self.check(who, &fill(path), rights),
            Perm::Any(path, rights) => self.check_any(who, &fill(path), rights),
            Perm::Clone => {
                self.check(who, &fill("/vms/{vmid}"), &["VM.Clone"])?;
                let by_id = self.may(who, &fill("/vms/{newid}"), "VM.Allocate");
                let by_pool =
                    all.contains_key("pool") && self.may(who, &fill("/pool/{pool}"), "VM.Allocate");
                if by_id || by_pool {
                    return Ok(());
                }
                if all.contains_key("pool") {
                    // An unknown pool is named, for anybody.
                    self.check_pool_exists(&text("pool"))?;
                }
                Err(Refusal::denied_somehow())
            }
        }
    }

    /// The node of a path by its real name.
    fn check_node(&self, found: &BTreeMap<String, String>) -> Answer<Option<String>> {
        let Some(name) = found.get("node") else {
            return Ok(None);
        };
        if name == "localhost" {
            return Ok(self.nodes.keys().next().cloned());
        }
        let Some(node) = self.nodes.get(name) else {
            return Err(Refusal::fail(format!(
                "hostname lookup '{name}' failed - failed to get address info for: {name}: \
                 Temporary failure in name resolution"
            )));
        };
        if !node.online {
            return Err(Refusal::bare(595, "No route to host"));
        }
        Ok(Some(name.clone()))
    }
}

/// A list of objects with one key each, as directories of the API answer.
pub(crate) fn index(key: &str, names: &[&str]) -> Answer<Out> {
    Ok(json!(names.iter().map(|n| json!({ key: n })).collect::<Vec<_>>()).into())
}
