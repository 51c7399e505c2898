//! Lists the calls on containers.

use serde_json::Value;

use crate::format;
use crate::keys;
use crate::model::GuestKind::Lxc;
use crate::power::Verb;
use crate::routes::{Perm, Route, call};
use crate::schema::{COUNT, Kind, Param, TEXT, may, need};
use crate::snapshot::Deed;

const AUDIT: Perm = Perm::All("/vms/{vmid}", &["VM.Audit"]);
const POWER: Perm = Perm::All("/vms/{vmid}", &["VM.PowerMgmt"]);
const ALLOCATE: Perm = Perm::All("/vms/{vmid}", &["VM.Allocate"]);
const DISK: Perm = Perm::All("/vms/{vmid}", &["VM.Config.Disk"]);
const SNAPSHOT: Perm = Perm::All("/vms/{vmid}", &["VM.Snapshot"]);
const CONFIG: Perm = Perm::Any(
    "/vms/{vmid}",
    &[
        "VM.Config.Disk",
        "VM.Config.CPU",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
    ],
);
const SKIPLOCK: Param = may("skiplock", Kind::Bool);

const CREATE: &[Param] = &[
    need("ostemplate", TEXT),
    need("vmid", format::VMID),
    may("bwlimit", Kind::Num),
    may("force", Kind::Bool),
    may("ha-managed", Kind::Bool),
    may("ignore-unpack-errors", Kind::Bool),
    may("password", TEXT),
    may("pool", format::POOL),
    may("restore", Kind::Bool),
    may("ssh-public-keys", TEXT),
    may("start", Kind::Bool),
    may("storage", format::STORAGE),
    may("unique", Kind::Bool),
];
const UPDATE: &[Param] = &[
    may("delete", TEXT),
    may("digest", TEXT),
    may("revert", TEXT),
];
const CLONE: &[Param] = &[
    need("newid", format::VMID),
    may("bwlimit", Kind::Num),
    may("description", TEXT),
    may("full", Kind::Bool),
    may("hostname", format::DNS_NAME),
    may("pool", format::POOL),
    may("snapname", format::CONFIG_ID),
    may("storage", format::STORAGE),
    may("target", TEXT),
];
const DESTROY: &[Param] = &[
    may("destroy-unreferenced-disks", Kind::Bool),
    may("force", Kind::Bool),
    may("purge", Kind::Bool),
];
const RESIZE: &[Param] = &[
    need("disk", TEXT),
    need("size", format::RESIZE),
    may("digest", TEXT),
];
const SHUTDOWN: &[Param] = &[may("forceStop", Kind::Bool), may("timeout", COUNT)];

pub(crate) const ROUTES: &[Route] = &[
    call("GET", "/nodes/{node}/lxc", Perm::Anyone, &[], |c, q| {
        Ok(c.node_guests(q, Lxc).into())
    }),
    Route {
        method: "POST",
        path: "/nodes/{node}/lxc",
        perm: Perm::Anyone,
        params: &[CREATE],
        more: Some(keys::lxc),
        run: |c, q| c.create_lxc(q).map(Into::into),
    },
    call("GET", "/nodes/{node}/lxc/{vmid}", AUDIT, &[], |_, _| {
        crate::routes::index(
            "subdir",
            &["config", "pending", "status", "snapshot", "clone"],
        )
    }),
    call(
        "DELETE",
        "/nodes/{node}/lxc/{vmid}",
        ALLOCATE,
        &[DESTROY],
        |c, q| c.destroy(q, Lxc).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/lxc/{vmid}/config",
        AUDIT,
        &[&[may("current", Kind::Bool), may("snapshot", TEXT)]],
        |c, q| {
            let current = q.p.flag("current");
            Ok(c.guest_on(Lxc, q.node(), q.vmid())?
                .config_view(current)
                .into())
        },
    ),
    Route {
        method: "PUT",
        path: "/nodes/{node}/lxc/{vmid}/config",
        perm: CONFIG,
        params: &[UPDATE],
        more: Some(keys::lxc),
        run: |c, q| c.put_lxc_config(q).map(Into::into),
    },
    call(
        "GET",
        "/nodes/{node}/lxc/{vmid}/pending",
        AUDIT,
        &[],
        |c, q| Ok(c.guest_on(Lxc, q.node(), q.vmid())?.pending_view().into()),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/clone",
        Perm::Clone,
        &[CLONE],
        |c, q| c.clone_guest(q, Lxc).map(Into::into),
    ),
    call(
        "PUT",
        "/nodes/{node}/lxc/{vmid}/resize",
        DISK,
        &[RESIZE],
        |c, q| c.resize(q, Lxc).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/template",
        ALLOCATE,
        &[],
        |c, q| c.make_template(q, Lxc).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/lxc/{vmid}/status/current",
        AUDIT,
        &[],
        |c, q| c.current_status(q, Lxc).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/lxc/{vmid}/interfaces",
        AUDIT,
        &[],
        |c, q| {
            c.require(Lxc, q.node(), q.vmid())?;
            Ok(Value::Null.into())
        },
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/start",
        POWER,
        &[&[SKIPLOCK, may("debug", Kind::Bool)]],
        |c, q| c.power(q, Lxc, Verb::Start).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/stop",
        POWER,
        &[&[SKIPLOCK, may("overrule-shutdown", Kind::Bool)]],
        |c, q| c.power(q, Lxc, Verb::Stop).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/shutdown",
        POWER,
        &[SHUTDOWN],
        |c, q| c.power(q, Lxc, Verb::Shutdown).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/status/reboot",
        POWER,
        &[&[may("timeout", COUNT)]],
        |c, q| c.power(q, Lxc, Verb::Reboot).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/lxc/{vmid}/snapshot",
        AUDIT,
        &[],
        |c, q| c.snapshot_list(q, Lxc).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/snapshot",
        SNAPSHOT,
        &[&[
            need("snapname", format::CONFIG_ID),
            may("description", TEXT),
        ]],
        |c, q| c.snapshot_call(q, Lxc, Deed::Take).map(Into::into),
    ),
    call(
        "DELETE",
        "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}",
        SNAPSHOT,
        &[&[may("force", Kind::Bool)]],
        |c, q| c.snapshot_call(q, Lxc, Deed::Delete).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback",
        Perm::Any("/vms/{vmid}", &["VM.Snapshot", "VM.Snapshot.Rollback"]),
        &[&[may("start", Kind::Bool)]],
        |c, q| c.snapshot_call(q, Lxc, Deed::Rollback).map(Into::into),
    ),
];
