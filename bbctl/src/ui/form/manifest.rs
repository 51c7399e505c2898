//! Turns what stands in a form into the object that is described.

use serde_json::{Value, json};

use super::super::store::Store;
use super::{Form, What};
use crate::manifest;
use crate::out::render_yaml;

impl Form {
    /// The whole object as it would be, as YAML.
    ///
    /// # Errors
    /// When the object whose size it is about is gone, or cannot be rendered.
    pub(in crate::ui) fn whole(&self, store: &Store) -> Result<String, String> {
        let What::Resize(id, now) = &self.what else {
            return Ok(self.result());
        };
        let gone = || format!("{} is gone", id.label());
        let entry = store.get(id).ok_or_else(gone)?;
        let mut object = manifest::of(&entry.object).map_err(|failure| failure.message)?;
        for (title, before) in now {
            let value = self.value(title);
            if value != *before {
                object["spec"][*title] = match *title {
                    "cpu" => json!(value.parse::<i64>().unwrap_or_default()),
                    _ => json!(value),
                };
            }
        }
        render_yaml(&object).map_err(|failure| failure.message)
    }

    /// The object that is described.
    pub(super) fn manifest(&self) -> Value {
        let value = |title: &str| self.value(title);
        let all = |title: &str| -> Vec<String> {
            let value = self.value(title);
            let words = value
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let spec = match self.kind.kind {
            "Tenant" => {
                let member = |role: &'static str| {
                    move |name: String| match name.strip_prefix("group:") {
                        Some(name) => json!({"name": name, "kind": "Group", "role": role}),
                        None => json!({"name": name, "kind": "User", "role": role}),
                    }
                };
                let admins = all("admins").into_iter().map(member("Admin"));
                let editors = all("editors").into_iter().map(member("Edit"));
                let members: Vec<Value> = admins.chain(editors).collect();
                json!({"members": members, "regions": all("regions")})
            }
            "Network" => json!({
                "zones": all("zones"),
                "ipv4": {
                    "prefix": value("prefix"),
                    "gateway": value("gateway"),
                    "dhcp": {"from": value("dhcp from"), "to": value("dhcp to")},
                },
                "dns": {"servers": all("resolvers")},
            }),
            "Instance" => {
                let volumes = all("volumes");
                let volumes: Vec<Value> = volumes
                    .iter()
                    .map(|volume| json!({"name": volume, "volume": volume}))
                    .collect();
                json!({
                    "type": value("type"),
                    "image": value("image"),
                    "cpu": value("cpu").parse::<i64>().unwrap_or_default(),
                    "memory": value("memory"),
                    "disk": value("disk"),
                    "networks": [{
                        "name": card(&value("network")),
                        "network": value("network"),
                        "address": value("address"),
                    }],
                    "volumes": volumes,
                    "sshKeys": [self.facts.key(&value("ssh key"))],
                    "placement": {"zone": value("zone")},
                })
            }
            _ => json!({
                "size": value("size"),
                "class": value("class"),
                "zone": value("zone"),
                "reclaimPolicy": value("on delete"),
            }),
        };
        let resource = self.kind.resource();
        let mut whole = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": value("name"), "namespace": value("namespace")},
            "spec": spec,
        });
        prune(&mut whole);
        // A spec without anything in it is one all the same.
        if whole.get("spec").is_none() {
            whole["spec"] = json!({});
        }
        whole
    }
}

/// The name of the card in a network: a card has at most 15 characters.
fn card(network: &str) -> String {
    let name: String = network.chars().take(15).collect();
    name.trim_end_matches('-').to_owned()
}

/// Takes out what was left empty.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, field| !is_nothing(field));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(prune);
            items.retain(|item| !is_nothing(item));
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
