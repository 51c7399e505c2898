//! Turns guests into what config, pending, status and list calls show of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::keys;
use crate::model::{Change, Cluster, Guest, GuestKind, Power, Seen};
use crate::property::Drive;
use crate::refusal::Answer;
use crate::size::parse_size;

/// MiB a QEMU guest has when its config does not say.
const DEFAULT_MEMORY: u64 = 512;

impl Guest {
    /// A config value as the API types it.
    fn typed(&self, key: &str, value: &str) -> Value {
        if key == "cipassword" {
            return json!("**********");
        }
        if !keys::is_number(self.kind, key) {
            return json!(value);
        }
        match (value.parse::<i64>(), value.parse::<f64>()) {
            (Ok(n), _) => json!(n),
            (_, Ok(n)) => json!(n),
            _ => json!(value),
        }
    }

    /// `GET .../config`: with pending values, or as the guest runs now.
    pub(crate) fn config_view(&self, current: bool) -> Value {
        let mut config: BTreeMap<String, String> = self.config.clone();
        if !current {
            for (key, change) in &self.pending {
                match change {
                    Change::Set(value) => config.insert(key.clone(), value.clone()),
                    Change::Drop { .. } => config.remove(key),
                };
            }
        }
        let mut out: Map<String, Value> = config
            .iter()
            .map(|(k, v)| (k.clone(), self.typed(k, v)))
            .collect();
        out.insert("digest".to_owned(), json!(self.digest()));
        Value::Object(out)
    }

    /// `GET .../pending`: every key with what it is and what it will be.
    pub(crate) fn pending_view(&self) -> Value {
        let mut rows: BTreeMap<&str, Value> = BTreeMap::new();
        for (key, value) in &self.config {
            rows.insert(key, json!({ "key": key, "value": self.typed(key, value) }));
        }
        for (key, change) in &self.pending {
            let row = rows.entry(key).or_insert_with(|| json!({ "key": key }));
            match change {
                Change::Set(value) => row["pending"] = self.typed(key, value),
                Change::Drop { force } => row["delete"] = json!(if *force { 2 } else { 1 }),
            }
        }
        let digest = self.digest();
        rows.insert("digest", json!({ "key": "digest", "value": digest }));
        json!(rows.into_values().collect::<Vec<_>>())
    }

    /// Number of processors.
    pub(crate) fn cpus(&self) -> u64 {
        let number = |key: &str| self.get(key).and_then(|v| v.parse::<u64>().ok());
        number("vcpus").unwrap_or(number("cores").unwrap_or(1) * number("sockets").unwrap_or(1))
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> u64 {
        let text = self
            .get("memory")
            .map(|m| m.strip_prefix("current=").unwrap_or(m));
        text.and_then(|m| m.parse::<u64>().ok())
            .unwrap_or(DEFAULT_MEMORY)
            << 20
    }

    /// Bytes of the disk lists show: that of the boot disk, or the root file system.
    pub(crate) fn disk_size(&self) -> u64 {
        let size = |line: &str| {
            Drive::parse(line)
                .0
                .get("size")
                .and_then(|s| parse_size(s, 1))
                .unwrap_or(0)
        };
        if self.kind == GuestKind::Lxc {
            return self.get("rootfs").map_or(4 << 30, size);
        }
        let boots = self.boot_order();
        let disk = boots.iter().find(|d| {
            keys::is_drive(d) && self.get(d).is_some_and(|l| !Drive::parse(l).is_cdrom())
        });
        disk.and_then(|d| self.get(d)).map_or(0, size)
    }

    fn status_word(&self) -> &'static str {
        if self.is_running() {
            "running"
        } else {
            "stopped"
        }
    }

    /// What the status daemon would tell now.
    pub(crate) fn look(&self, vmid: u32, now: f64) -> Seen {
        let uptime = match self.power {
            Power::Running { since, .. } => (now - since).max(0.0) as u64,
            Power::Stopped => 0,
        };
        Seen {
            status: self.status_word().to_owned(),
            name: self.name(vmid),
            cpus: self.cpus(),
            memory: self.memory(),
            disk: self.disk_size(),
            template: self.is_template(),
            uptime,
        }
    }
}

impl Cluster {
    /// One round of the status daemon: lists learn what guests are like now.
    pub(crate) fn statd_round(&mut self) {
        if self.world.statd_stopped {
            return;
        }
        let now = self.now;
        for (vmid, guest) in &mut self.guests {
            if !self.nodes.get(&guest.node).is_some_and(|n| n.online) {
                continue;
            }
            if let Some(before) = guest.seen.take() {
                self.seen_before.insert(*vmid, before);
            }
            guest.seen = Some(guest.look(*vmid, now));
        }
    }

    /// What every status form of a guest has: live, not as lists saw it last.
    fn live_row(&self, vmid: u32, guest: &Guest) -> Value {
        let seen = guest.look(vmid, self.now);
        let mut row = json!({
            "vmid": vmid, "status": seen.status, "name": seen.name, "cpus": seen.cpus,
            "maxmem": seen.memory, "maxdisk": seen.disk, "uptime": seen.uptime,
            "cpu": 0, "mem": 0, "disk": 0, "netin": 0, "netout": 0,
        });
        if let Some(tags) = guest.get("tags") {
            row["tags"] = json!(tags);
        }
        if let Some(lock) = guest.lock() {
            row["lock"] = json!(lock);
        }
        match guest.kind {
            GuestKind::Qemu => {
                row["memhost"] = json!(0);
                if guest.get("serial0").is_some() {
                    row["serial"] = json!(1);
                }
            }
            GuestKind::Lxc => {
                let swap = guest
                    .get("swap")
                    .and_then(|v| v.parse::<u64>().ok())
                    .unwrap_or(512);
                row["type"] = json!("lxc");
                row["maxswap"] = json!(swap << 20);
                for key in ["swap", "diskread", "diskwrite"] {
                    row[key] = json!(0);
                }
            }
        }
        if guest.is_template() {
            row["template"] = json!(1);
        }
        if let Power::Running { pid, .. } = guest.power {
            row["pid"] = json!(pid);
            for (what, kinds) in [
                ("cpu", &["some", "full"]),
                ("io", &["some", "full"]),
                ("memory", &["some", "full"]),
            ] {
                for kind in kinds {
                    row[format!("pressure{what}{kind}")] = json!(0);
                }
            }
        }
        row
    }

    /// `GET .../status/current`.
    pub(crate) fn current_status(&self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        let vmid = call.vmid();
        let guest = self.guest_on(kind, call.node(), vmid)?;
        let mut row = self.live_row(vmid, guest);
        row["ha"] = json!({ "managed": 0 });
        if kind == GuestKind::Qemu {
            row["qmpstatus"] = match guest.power {
                Power::Running { paused: true, .. } => json!("paused"),
                _ => row["status"].clone(),
            };
            if guest.get("vga").is_some() {
                row["clipboard"] = Value::Null;
            }
            let agent = guest.get("agent").unwrap_or_default();
            if agent.starts_with('1') || agent.contains("enabled=1") {
                row["agent"] = json!(1);
            }
            if guest.is_running() {
                let nics: Map<String, Value> = guest
                    .config
                    .keys()
                    .filter(|k| keys::is_net(k))
                    .filter_map(|k| keys::numbered(k).map(|(_, n)| n))
                    .map(|n| (format!("tap{vmid}i{n}"), json!({ "netin": 0, "netout": 0 })))
                    .collect();
                if !nics.is_empty() {
                    row["nics"] = Value::Object(nics);
                }
            }
        }
        Ok(row)
    }

    /// `GET /nodes/N/{qemu,lxc}`: the guests the caller may see.
    pub(crate) fn node_guests(&self, call: &Call<'_>, kind: GuestKind) -> Value {
        let full = call.p.flag("full");
        let rows: Vec<Value> = self
            .guests
            .iter()
            .filter(|(_, g)| g.kind == kind && g.node == call.node())
            .filter(|(vmid, _)| self.may(call.who, &format!("/vms/{vmid}"), "VM.Audit"))
            .map(|(vmid, g)| {
                let mut row = self.live_row(*vmid, g);
                if full && kind == GuestKind::Qemu {
                    row["qmpstatus"] = row["status"].clone();
                }
                row
            })
            .collect();
        json!(rows)
    }

    /// A guest in `/cluster/resources` and in a pool: late by up to a round of the status
    /// daemon, without name and size before the first.
    fn guest_row(&self, vmid: u32, guest: &Guest, pool: Option<&str>) -> Value {
        let kind = guest.kind.word();
        let mut row = json!({
            "id": format!("{kind}/{vmid}"), "type": kind, "vmid": vmid, "node": guest.node,
            "status": "unknown",
        });
        if let Some(tags) = guest.get("tags") {
            row["tags"] = json!(tags);
        }
        if let Some(lock) = guest.lock() {
            row["lock"] = json!(lock);
        }
        if let Some(pool) = pool {
            row["pool"] = json!(pool);
        }
        let old = self.world.lists_go_back && !self.lists.is_multiple_of(2);
        let before = old.then(|| self.seen_before.get(&vmid)).flatten();
        if let Some(seen) = before.or(guest.seen.as_ref()) {
            let online = self.nodes.get(&guest.node).is_some_and(|n| n.online);
            if online {
                row["status"] = json!(seen.status);
            }
            row["name"] = json!(seen.name);
            row["maxcpu"] = json!(seen.cpus);
            row["maxmem"] = json!(seen.memory);
            row["maxdisk"] = json!(seen.disk);
            row["template"] = json!(u8::from(seen.template));
            row["uptime"] = json!(seen.uptime);
            for key in [
                "cpu",
                "mem",
                "disk",
                "netin",
                "netout",
                "diskread",
                "diskwrite",
            ] {
                row[key] = json!(0);
            }
            if guest.kind == GuestKind::Qemu {
                row["memhost"] = json!(0);
            }
        }
        row
    }

    /// `GET /cluster/resources`.
    pub(crate) fn resources(&mut self, call: &Call<'_>) -> Value {
        self.lists += 1;
        let wanted = |kind: &str| call.p.get("type").is_none_or(|t| t == kind);
        let mut rows = Vec::new();
        if call.p.get("type").is_none() {
            for pool in self.pools.keys() {
                if self.may(call.who, &format!("/pool/{pool}"), "Pool.Audit") {
                    rows.push(
                        json!({ "id": format!("/pool/{pool}"), "pool": pool, "type": "pool" }),
                    );
                }
            }
        }
        if wanted("vm") {
            for (vmid, guest) in &self.guests {
                if !self.may(call.who, &format!("/vms/{vmid}"), "VM.Audit") {
                    continue;
                }
                let pool = self.pool_of(*vmid);
                let pool = pool.filter(|p| self.may(call.who, &format!("/pool/{p}"), "Pool.Audit"));
                rows.push(self.guest_row(*vmid, guest, pool));
            }
        }
        if wanted("node") {
            rows.extend(self.nodes.keys().map(|node| self.node_row(call, node)));
        }
        if wanted("storage") {
            self.storage_rows(call, &mut rows);
        }
        if wanted("sdn") {
            self.sdn_rows(call, &mut rows);
        }
        json!(rows)
    }

    /// A node as lists show it: little more than its name without Sys.Audit.
    pub(crate) fn node_row(&self, call: &Call<'_>, name: &str) -> Value {
        let Some(node) = self.nodes.get(name) else {
            return Value::Null;
        };
        let status = if node.online { "online" } else { "offline" };
        let mut row = json!({
            "id": format!("node/{name}"), "type": "node", "node": name, "status": status,
            "level": "", "cgroup-mode": 2,
        });
        if node.online && self.may(call.who, &format!("/nodes/{name}"), "Sys.Audit") {
            row["maxcpu"] = json!(node.cpus);
            row["maxmem"] = json!(node.memory);
            row["maxdisk"] = json!(64_u64 << 30);
            row["cpu"] = json!(0.01);
            row["mem"] = json!(node.memory / 8);
            row["disk"] = json!(4_u64 << 30);
            row["uptime"] = json!(self.now as u64 + 3600);
        }
        row
    }

    fn storage_rows(&self, call: &Call<'_>, rows: &mut Vec<Value>) {
        for (sid, storage) in &self.storages {
            if !self.may(call.who, &format!("/storage/{sid}"), "Datastore.Audit") {
                continue;
            }
            for node in self.nodes.keys().filter(|n| storage.is_on(n)) {
                let content: Vec<&str> = storage.content.iter().map(String::as_str).collect();
                let up = storage.enabled && self.nodes.get(node).is_some_and(|n| n.online);
                rows.push(json!({
                    "id": format!("storage/{node}/{sid}"), "type": "storage", "storage": sid,
                    "node": node, "shared": u8::from(storage.shared),
                    "plugintype": storage.kind.word(), "content": content.join(","),
                    "status": if up { "available" } else { "unknown" },
                    "disk": storage.used(node), "maxdisk": storage.total,
                }));
            }
        }
    }

    fn sdn_rows(&self, call: &Call<'_>, rows: &mut Vec<Value>) {
        for zone in self.sdn.running_zones() {
            let path = format!("/sdn/zones/{zone}");
            if !self.may_any(call.who, &path, &["SDN.Audit", "SDN.Use"]) {
                continue;
            }
            for node in self.nodes.keys() {
                rows.push(json!({
                    "id": format!("sdn/{node}/{zone}"), "type": "sdn", "sdn": zone, "node": node,
                    "status": "available",
                }));
            }
        }
    }

    /// The members of a pool, as its own call lists them.
    pub(crate) fn pool_members(&self, pool: &str) -> Vec<Value> {
        let Some(members) = self.pools.get(pool) else {
            return Vec::new();
        };
        let guests = members.guests.iter().filter_map(|vmid| {
            let guest = self.guests.get(vmid)?;
            let mut row = self.guest_row(*vmid, guest, None);
            if let Some(row) = row.as_object_mut() {
                row.remove("tags");
            }
            Some(row)
        });
        let storages = members.storages.iter().flat_map(|sid| {
            self.nodes.keys().map(move |node| {
                json!({ "id": format!("storage/{node}/{sid}"), "type": "storage",
                        "storage": sid, "node": node })
            })
        });
        guests.chain(storages).collect()
    }
}
