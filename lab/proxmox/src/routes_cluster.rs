//! Lists the calls on the cluster, its nodes, tasks and SDN.

use serde_json::{Value, json};

use crate::call::Call;
use crate::format;
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};
use crate::routes::{Out, Perm, Route, call, index};
use crate::schema::{COUNT, Kind, Param, TEXT, may, need};
use crate::sdn::What;

const TASKS: &[Param] = &[
    may("errors", Kind::Bool),
    may("limit", COUNT),
    may("since", COUNT),
    may("source", Kind::Enum(&["archive", "active", "all"])),
    may("start", COUNT),
    may("statusfilter", TEXT),
    may("typefilter", TEXT),
    may("until", COUNT),
    may("userfilter", TEXT),
    may("vmid", format::VMID),
];
const LOG: &[Param] = &[
    may("download", Kind::Bool),
    may("limit", COUNT),
    may("start", COUNT),
];
const VIEW: &[Param] = &[may("pending", Kind::Bool), may("running", Kind::Bool)];
const LOCK_TOKEN: Param = may("lock-token", TEXT);
const RELEASE: &[Param] = &[LOCK_TOKEN, may("release-lock", Kind::Bool)];
const ZONE_TYPES: Kind = Kind::Enum(&["evpn", "faucet", "qinq", "simple", "vlan", "vxlan"]);
const SDN_ID: Kind = Kind::Words(sdn_id);
const ZONE: &[Param] = &[
    may("bridge", TEXT),
    may("controller", TEXT),
    may("dhcp", TEXT),
    may("dns", TEXT),
    may("exitnodes", TEXT),
    may("fabric", TEXT),
    may("ipam", TEXT),
    may("mac", TEXT),
    may("mtu", COUNT),
    may("nodes", TEXT),
    may("peers", TEXT),
    may("tag", COUNT),
    may("vrf-vxlan", COUNT),
    may("vxlan-port", COUNT),
    LOCK_TOKEN,
];
const VNET: &[Param] = &[
    may("alias", Kind::Text(256)),
    may("isolate-ports", Kind::Bool),
    may("tag", Kind::Int(1, (1 << 24) - 1)),
    may("vlanaware", Kind::Bool),
    LOCK_TOKEN,
];
const SUBNET: &[Param] = &[
    may("dhcp-dns-server", TEXT),
    may("dhcp-range", TEXT),
    may("dnszoneprefix", TEXT),
    may("gateway", TEXT),
    may("snat", Kind::Bool),
    LOCK_TOKEN,
];
const CHANGE: &[Param] = &[may("delete", TEXT), may("digest", TEXT)];
const SDN_ADMIN: Perm = Perm::All("/sdn", &["SDN.Allocate"]);
const ZONE_ADMIN: Perm = Perm::All("/sdn/zones/{zone}", &["SDN.Allocate"]);
const VNET_PATH: &str = "/cluster/sdn/vnets/{vnet}";
const SUBNETS: &str = "/cluster/sdn/vnets/{vnet}/subnets";
const SUBNET_PATH: &str = "/cluster/sdn/vnets/{vnet}/subnets/{subnet}";

/// A zone's or vnet's name. The words are those of a length or a pattern, not of a format.
fn sdn_id(_: &str, text: &str) -> Result<(), String> {
    if text.len() > 8 {
        return Err("value may only be 8 characters long".to_owned());
    }
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric());
    good.then_some(())
        .ok_or_else(|| "value does not match the regex pattern".to_owned())
}

fn next_id(c: &mut Cluster, q: &Call<'_>) -> Answer<Out> {
    if q.p.get("vmid").is_none() {
        let free = (100..).find(|id| !c.guests.contains_key(id)).unwrap_or(100);
        return Ok(json!(free.to_string()).into());
    }
    let vmid = q.vmid();
    if c.guests.contains_key(&vmid) {
        return Err(Refusal::param("vmid", format!("VM {vmid} already exists")));
    }
    Ok(json!(vmid.to_string()).into())
}

fn cluster_status(c: &mut Cluster, _: &Call<'_>) -> Answer<Out> {
    let mut rows = vec![json!({
        "type": "cluster", "id": "cluster", "name": c.name, "nodes": c.nodes.len(),
        "quorate": 1, "version": 1,
    })];
    for (i, (name, node)) in c.nodes.iter().enumerate() {
        rows.push(json!({
            "type": "node", "id": format!("node/{name}"), "name": name, "nodeid": i + 1,
            "online": u8::from(node.online), "ip": format!("192.0.2.{}", i + 1), "level": "",
            "local": u8::from(i == 0),
        }));
    }
    Ok(json!(rows).into())
}

fn nodes(c: &mut Cluster, q: &Call<'_>) -> Answer<Out> {
    let rows: Vec<Value> = c
        .nodes
        .keys()
        .map(|name| {
            let mut row = c.node_row(q, name);
            row["ssl_fingerprint"] = json!(c.fingerprint);
            if let Some(row) = row.as_object_mut() {
                row.remove("cgroup-mode");
            }
            row
        })
        .collect();
    Ok(json!(rows).into())
}

fn node_status(c: &mut Cluster, q: &Call<'_>) -> Answer<Out> {
    let node = c.nodes.get(q.node()).cloned().unwrap_or_default();
    Ok(json!({
        "uptime": c.now as u64 + 3600, "pveversion": "pve-manager/9.1.7/0307225d",
        "cpuinfo": { "cpus": node.cpus, "sockets": 1 }, "cpu": 0.01, "wait": 0, "idle": 0,
        "memory": { "total": node.memory, "used": node.memory / 8, "free": node.memory / 8 * 7 },
        "loadavg": ["0.10", "0.10", "0.10"],
        "rootfs": { "total": 64_u64 << 30, "used": 4_u64 << 30, "avail": 60_u64 << 30 },
    })
    .into())
}

fn network(c: &mut Cluster, q: &Call<'_>) -> Answer<Out> {
    let bridges = c
        .nodes
        .get(q.node())
        .map(|n| n.bridges.clone())
        .unwrap_or_default();
    let mut rows: Vec<Value> = bridges
        .iter()
        .map(|b| json!({ "iface": b, "type": "bridge", "active": 1, "autostart": 1 }))
        .collect();
    for vnet in c.sdn.running.iter().flat_map(|r| r.vnets.keys()) {
        rows.push(json!({ "iface": vnet, "type": "vnet", "active": 1 }));
    }
    Ok(json!(rows).into())
}

/// A list with nothing in it: this cluster has none of these.
fn none(_: &mut Cluster, _: &Call<'_>) -> Answer<Out> {
    Ok(json!([]).into())
}

fn version(_: &mut Cluster, _: &Call<'_>) -> Answer<Out> {
    Ok(json!({ "version": "9.1.7", "release": "9.1", "repoid": "0307225d" }).into())
}

fn task_log(c: &mut Cluster, q: &Call<'_>) -> Answer<Out> {
    let lines = c.task_log(q)?;
    if q.p.flag("download") {
        return Ok(Out::Text(lines.iter().map(|l| format!("{l}\n")).collect()));
    }
    let first = q.p.int("start").unwrap_or(0) + 1;
    let total = c
        .tasks
        .find(q.p.text("upid"))
        .map_or(1, |(_, t)| t.log.len().max(1));
    let rows = lines
        .iter()
        .zip(first..)
        .map(|(t, n)| json!({ "n": n, "t": t }));
    Ok(Out::Total(json!(rows.collect::<Vec<_>>()), total))
}

pub(crate) const ROUTES: &[Route] = &[
    call("GET", "/", Perm::Anyone, &[], |_, _| {
        index(
            "subdir",
            &["version", "cluster", "nodes", "storage", "access", "pools"],
        )
    }),
    call("GET", "/version", Perm::Anyone, &[], version),
    call("GET", "/cluster", Perm::Anyone, &[], |_, _| {
        index(
            "name",
            &[
                "resources",
                "nextid",
                "tasks",
                "status",
                "sdn",
                "ha",
                "options",
            ],
        )
    }),
    call(
        "GET",
        "/cluster/resources",
        Perm::Anyone,
        &[&[may("type", Kind::Enum(&["vm", "storage", "node", "sdn"]))]],
        |c, q| Ok(c.resources(q).into()),
    ),
    call(
        "GET",
        "/cluster/nextid",
        Perm::Anyone,
        &[&[may("vmid", format::VMID)]],
        next_id,
    ),
    call("GET", "/cluster/tasks", Perm::Anyone, &[], |c, q| {
        Ok(c.cluster_tasks(q).into())
    }),
    call(
        "GET",
        "/cluster/status",
        Perm::All("/", &["Sys.Audit"]),
        &[],
        cluster_status,
    ),
    call("GET", "/nodes", Perm::Anyone, &[], nodes),
    call("GET", "/nodes/{node}", Perm::Anyone, &[], |_, _| {
        index(
            "name",
            &[
                "qemu", "lxc", "storage", "tasks", "status", "network", "version",
            ],
        )
    }),
    call("GET", "/nodes/{node}/version", Perm::Anyone, &[], version),
    call(
        "GET",
        "/nodes/{node}/status",
        Perm::All("/nodes/{node}", &["Sys.Audit"]),
        &[],
        node_status,
    ),
    call(
        "GET",
        "/nodes/{node}/network",
        Perm::Anyone,
        &[&[may("type", TEXT)]],
        network,
    ),
    call(
        "PUT",
        "/nodes/{node}/config",
        Perm::All("/", &["Sys.Modify"]),
        &[&[may("description", TEXT)]],
        |_, _| Ok(Value::Null.into()),
    ),
    call(
        "GET",
        "/nodes/{node}/tasks",
        Perm::Anyone,
        &[TASKS],
        |c, q| {
            let (rows, total) = c.node_tasks(q);
            Ok(if total == 0 {
                json!(rows).into()
            } else {
                Out::Total(json!(rows), total)
            })
        },
    ),
    call(
        "DELETE",
        "/nodes/{node}/tasks/{upid}",
        Perm::Anyone,
        &[],
        |c, q| c.task_stop(q).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/tasks/{upid}/status",
        Perm::Anyone,
        &[],
        |c, q| c.task_status(q).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/tasks/{upid}/log",
        Perm::Anyone,
        &[LOG],
        task_log,
    ),
    call(
        "GET",
        "/nodes/{node}/sdn/zones",
        Perm::Anyone,
        &[],
        |c, q| Ok(c.sdn_node_zones(q).into()),
    ),
    call(
        "GET",
        "/nodes/{node}/sdn/zones/{zone}/content",
        Perm::Anyone,
        &[],
        |c, q| Ok(c.sdn_zone_content(q).into()),
    ),
    call("GET", "/cluster/sdn", Perm::Anyone, &[], |_, _| {
        index(
            "id",
            &["vnets", "zones", "controllers", "ipams", "dns", "fabrics"],
        )
    }),
    call("PUT", "/cluster/sdn", SDN_ADMIN, &[RELEASE], |c, q| {
        c.sdn_apply(q).map(Into::into)
    }),
    call(
        "GET",
        "/cluster/sdn/controllers",
        Perm::Anyone,
        &[VIEW],
        none,
    ),
    call("GET", "/cluster/sdn/dns", Perm::Anyone, &[], none),
    call("GET", "/cluster/sdn/fabrics", Perm::Anyone, &[], |_, _| {
        index("subdir", &["fabric", "node", "all"])
    }),
    call("GET", "/cluster/sdn/ipams", Perm::Anyone, &[], |_, _| {
        Ok(json!([{ "ipam": "pve", "type": "pve" }]).into())
    }),
    call(
        "GET",
        "/cluster/ha/resources",
        Perm::All("/", &["Sys.Audit"]),
        &[],
        none,
    ),
    call(
        "POST",
        "/cluster/sdn/lock",
        SDN_ADMIN,
        &[&[may("allow-pending", Kind::Bool)]],
        |c, q| c.sdn_lock(q).map(Into::into),
    ),
    call(
        "DELETE",
        "/cluster/sdn/lock",
        SDN_ADMIN,
        &[&[may("force", Kind::Bool), LOCK_TOKEN]],
        |c, q| c.sdn_unlock(q).map(Into::into),
    ),
    call(
        "POST",
        "/cluster/sdn/rollback",
        SDN_ADMIN,
        &[RELEASE],
        |c, q| c.sdn_rollback(q).map(Into::into),
    ),
    call(
        "GET",
        "/cluster/sdn/zones",
        Perm::Anyone,
        &[VIEW, &[may("type", ZONE_TYPES)]],
        |c, q| Ok(c.sdn_list(q, What::Zone).into()),
    ),
    call(
        "POST",
        "/cluster/sdn/zones",
        Perm::All("/sdn/zones", &["SDN.Allocate"]),
        &[&[need("zone", SDN_ID), need("type", ZONE_TYPES)], ZONE],
        |c, q| c.sdn_create(q, What::Zone).map(Into::into),
    ),
    call(
        "GET",
        "/cluster/sdn/zones/{zone}",
        Perm::Anyone,
        &[VIEW],
        |c, q| c.sdn_get(q, What::Zone).map(Into::into),
    ),
    call(
        "PUT",
        "/cluster/sdn/zones/{zone}",
        ZONE_ADMIN,
        &[ZONE, CHANGE],
        |c, q| c.sdn_update(q, What::Zone).map(Into::into),
    ),
    call(
        "DELETE",
        "/cluster/sdn/zones/{zone}",
        ZONE_ADMIN,
        &[&[LOCK_TOKEN]],
        |c, q| c.sdn_delete(q, What::Zone).map(Into::into),
    ),
    call(
        "GET",
        "/cluster/sdn/vnets",
        Perm::Anyone,
        &[VIEW],
        |c, q| Ok(c.sdn_list(q, What::Vnet).into()),
    ),
    call(
        "POST",
        "/cluster/sdn/vnets",
        ZONE_ADMIN,
        &[
            &[
                need("vnet", SDN_ID),
                need("zone", SDN_ID),
                may("type", Kind::Enum(&["vnet"])),
            ],
            VNET,
        ],
        |c, q| c.sdn_create(q, What::Vnet).map(Into::into),
    ),
    call("GET", VNET_PATH, Perm::Anyone, &[VIEW], |c, q| {
        c.sdn_get(q, What::Vnet).map(Into::into)
    }),
    call(
        "PUT",
        VNET_PATH,
        Perm::Anyone,
        &[VNET, CHANGE, &[may("zone", SDN_ID)]],
        |c, q| {
            check_vnet_right(c, q)?;
            c.sdn_update(q, What::Vnet).map(Into::into)
        },
    ),
    call(
        "DELETE",
        VNET_PATH,
        Perm::Anyone,
        &[&[LOCK_TOKEN]],
        |c, q| {
            check_vnet_right(c, q)?;
            c.sdn_delete(q, What::Vnet).map(Into::into)
        },
    ),
    call("GET", SUBNETS, Perm::Anyone, &[VIEW], |c, q| {
        Ok(c.sdn_list(q, What::Subnet).into())
    }),
    call(
        "POST",
        SUBNETS,
        Perm::Anyone,
        &[
            &[
                need("subnet", Kind::Format(cidr)),
                need("type", Kind::Enum(&["subnet"])),
            ],
            SUBNET,
        ],
        |c, q| {
            check_vnet_right(c, q)?;
            c.sdn_create(q, What::Subnet).map(Into::into)
        },
    ),
    call("GET", SUBNET_PATH, Perm::Anyone, &[VIEW], |c, q| {
        c.sdn_get(q, What::Subnet).map(Into::into)
    }),
    call(
        "DELETE",
        SUBNET_PATH,
        Perm::Anyone,
        &[&[LOCK_TOKEN]],
        |c, q| {
            check_vnet_right(c, q)?;
            c.sdn_delete(q, What::Subnet).map(Into::into)
        },
    ),
];

/// The right to change a vnet is that of its zone.
fn check_vnet_right(c: &Cluster, q: &Call<'_>) -> Answer<()> {
    let vnet = q.p.text("vnet");
    let zone = c.sdn.zone_of(vnet).unwrap_or_default();
    c.check(
        q.who,
        &format!("/sdn/zones/{zone}/{vnet}"),
        &["SDN.Allocate"],
    )
}

fn cidr(_: &str, text: &str) -> Result<(), String> {
    let good = text.split_once('/').is_some_and(|(address, mask)| {
        let address = address.parse::<std::net::IpAddr>();
        address.is_ok_and(|a| {
            let max = if a.is_ipv6() { 128 } else { 32 };
            mask.parse::<u8>().is_ok_and(|m| m <= max)
        })
    });
    good.then_some(())
        .ok_or_else(|| "value does not look like a valid CIDR network".to_owned())
}
