//! Lists the calls on QEMU guests.

use serde_json::Value;

use crate::format;
use crate::keys;
use crate::model::GuestKind::Qemu;
use crate::power::Verb;
use crate::refusal::Refusal;
use crate::routes::{Perm, Route, call};
use crate::schema::{COUNT, Kind, Param, TEXT, may, need};
use crate::snapshot::Deed;

const SKIPLOCK: Param = may("skiplock", Kind::Bool);
const AUDIT: Perm = Perm::All("/vms/{vmid}", &["VM.Audit"]);
const POWER: Perm = Perm::All("/vms/{vmid}", &["VM.PowerMgmt"]);
const ALLOCATE: Perm = Perm::All("/vms/{vmid}", &["VM.Allocate"]);
const DISK: Perm = Perm::All("/vms/{vmid}", &["VM.Config.Disk"]);
const SNAPSHOT: Perm = Perm::All("/vms/{vmid}", &["VM.Snapshot"]);
const CONFIG: Perm = Perm::Any(
    "/vms/{vmid}",
    &[
        "VM.Config.Disk",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.HWType",
        "VM.Config.Options",
        "VM.Config.Cloudinit",
    ],
);

const CREATE: &[Param] = &[
    need("vmid", format::VMID),
    may("archive", TEXT),
    may("bwlimit", COUNT),
    may("force", Kind::Bool),
    may("ha-managed", Kind::Bool),
    may("pool", format::POOL),
    may("start", Kind::Bool),
    may("storage", format::STORAGE),
    may("unique", Kind::Bool),
];
const UPDATE: &[Param] = &[
    may("delete", TEXT),
    may("digest", TEXT),
    may("force", Kind::Bool),
    may("revert", TEXT),
    SKIPLOCK,
];
const BACKGROUND: &[Param] = &[
    may("background_delay", Kind::Int(1, 30)),
    may("import-working-storage", TEXT),
];
const CLONE: &[Param] = &[
    need("newid", format::VMID),
    may("bwlimit", COUNT),
    may("description", TEXT),
    may("format", Kind::Enum(&["raw", "qcow2", "vmdk"])),
    may("full", Kind::Bool),
    may("name", format::DNS_NAME),
    may("pool", format::POOL),
    may("snapname", format::CONFIG_ID),
    may("storage", format::STORAGE),
    may("target", TEXT),
];
const START: &[Param] = &[
    may("force-cpu", TEXT),
    may("machine", TEXT),
    may("migratedfrom", TEXT),
    may("timeout", COUNT),
    may("targetstorage", TEXT),
    SKIPLOCK,
];
const STOP: &[Param] = &[
    may("keepActive", Kind::Bool),
    may("migratedfrom", TEXT),
    may("overrule-shutdown", Kind::Bool),
    may("timeout", COUNT),
    SKIPLOCK,
];
const SHUTDOWN: &[Param] = &[
    may("forceStop", Kind::Bool),
    may("keepActive", Kind::Bool),
    may("timeout", COUNT),
    SKIPLOCK,
];
const REBOOT: &[Param] = &[may("timeout", COUNT)];
const SUSPEND: &[Param] = &[
    may("statestorage", TEXT),
    may("todisk", Kind::Bool),
    SKIPLOCK,
];
const RESUME: &[Param] = &[may("nocheck", Kind::Bool), SKIPLOCK];
const DESTROY: &[Param] = &[
    may("destroy-unreferenced-disks", Kind::Bool),
    may("purge", Kind::Bool),
    SKIPLOCK,
];
const RESIZE: &[Param] = &[
    need("disk", Kind::Words(slot)),
    need("size", format::RESIZE),
    may("digest", TEXT),
    SKIPLOCK,
];
const MOVE: &[Param] = &[
    need("disk", Kind::Words(slot_or_unused)),
    may("target-disk", Kind::Words(slot_or_unused)),
    may("bwlimit", COUNT),
    may("delete", Kind::Bool),
    may("digest", TEXT),
    may("format", Kind::Enum(&["raw", "qcow2", "vmdk"])),
    may("storage", format::STORAGE),
    may("target-digest", TEXT),
    may("target-vmid", format::VMID),
];
const UNLINK: &[Param] = &[need("idlist", TEXT), may("force", Kind::Bool)];
const TAKE: &[Param] = &[
    need("snapname", format::CONFIG_ID),
    may("description", TEXT),
    may("vmstate", Kind::Bool),
];

const VM: &str = "/nodes/{node}/qemu/{vmid}";

/// A slot of a disk.
fn slot(_: &str, text: &str) -> Result<(), String> {
    if keys::is_drive(text) {
        return Ok(());
    }
    Err(not_among(text, &keys::drive_names()))
}

/// A slot of a disk, or an unused volume.
fn slot_or_unused(_: &str, text: &str) -> Result<(), String> {
    if keys::is_drive(text) || keys::is_unused(text) {
        return Ok(());
    }
    let mut names = keys::drive_names();
    names.extend((0..256).map(|n| format!("unused{n}")));
    Err(not_among(text, &names))
}

fn not_among(text: &str, names: &[String]) -> String {
    let names = names.join(", ");
    format!("value '{text}' does not have a value in the enumeration '{names}'")
}

pub(crate) const ROUTES: &[Route] = &[
    call(
        "GET",
        "/nodes/{node}/qemu",
        Perm::Anyone,
        &[&[may("full", Kind::Bool)]],
        |c, q| Ok(c.node_guests(q, Qemu).into()),
    ),
    Route {
        method: "POST",
        path: "/nodes/{node}/qemu",
        perm: Perm::Anyone,
        params: &[CREATE],
        more: Some(keys::qemu),
        run: |c, q| c.create_qemu(q).map(Into::into),
    },
    call("GET", VM, AUDIT, &[], |_, _| {
        crate::routes::index(
            "subdir",
            &[
                "config",
                "pending",
                "status",
                "unlink",
                "rrd",
                "monitor",
                "agent",
                "snapshot",
                "firewall",
                "clone",
                "resize",
                "move_disk",
                "template",
                "migrate",
                "cloudinit",
            ],
        )
    }),
    call("DELETE", VM, ALLOCATE, &[DESTROY], |c, q| {
        c.destroy(q, Qemu).map(Into::into)
    }),
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/config",
        AUDIT,
        &[&[may("current", Kind::Bool), may("snapshot", TEXT)]],
        |c, q| {
            if q.p.get("snapshot").is_some() {
                return c.snapshot_config(q, Qemu).map(Into::into);
            }
            let current = q.p.flag("current");
            Ok(c.guest_on(Qemu, q.node(), q.vmid())?
                .config_view(current)
                .into())
        },
    ),
    Route {
        method: "PUT",
        path: "/nodes/{node}/qemu/{vmid}/config",
        perm: CONFIG,
        params: &[UPDATE],
        more: Some(keys::qemu),
        run: |c, q| c.put_config(q, q.p.clone()).map(Into::into),
    },
    Route {
        method: "POST",
        path: "/nodes/{node}/qemu/{vmid}/config",
        perm: CONFIG,
        params: &[UPDATE, BACKGROUND],
        more: Some(keys::qemu),
        run: |c, q| c.post_config(q).map(Into::into),
    },
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/pending",
        AUDIT,
        &[],
        |c, q| Ok(c.guest_on(Qemu, q.node(), q.vmid())?.pending_view().into()),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/clone",
        Perm::Clone,
        &[CLONE],
        |c, q| c.clone_guest(q, Qemu).map(Into::into),
    ),
    call(
        "PUT",
        "/nodes/{node}/qemu/{vmid}/resize",
        DISK,
        &[RESIZE],
        |c, q| c.resize(q, Qemu).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/move_disk",
        DISK,
        &[MOVE],
        |c, q| c.move_disk(q).map(Into::into),
    ),
    call(
        "PUT",
        "/nodes/{node}/qemu/{vmid}/unlink",
        DISK,
        &[UNLINK],
        |c, q| c.unlink(q).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/template",
        ALLOCATE,
        &[&[may("disk", TEXT)]],
        |c, q| c.make_template(q, Qemu).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/status",
        AUDIT,
        &[],
        |_, _| crate::routes::index("subdir", &["current", "start", "stop", "shutdown", "reset"]),
    ),
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/status/current",
        AUDIT,
        &[],
        |c, q| c.current_status(q, Qemu).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/start",
        POWER,
        &[START],
        |c, q| c.power(q, Qemu, Verb::Start).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/stop",
        POWER,
        &[STOP],
        |c, q| c.power(q, Qemu, Verb::Stop).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/shutdown",
        POWER,
        &[SHUTDOWN],
        |c, q| c.power(q, Qemu, Verb::Shutdown).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/reboot",
        POWER,
        &[REBOOT],
        |c, q| c.power(q, Qemu, Verb::Reboot).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/reset",
        POWER,
        &[&[SKIPLOCK]],
        |c, q| c.power(q, Qemu, Verb::Reset).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/suspend",
        POWER,
        &[SUSPEND],
        |c, q| c.power(q, Qemu, Verb::Suspend).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/status/resume",
        POWER,
        &[RESUME],
        |c, q| c.power(q, Qemu, Verb::Resume).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/snapshot",
        AUDIT,
        &[],
        |c, q| c.snapshot_list(q, Qemu).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/snapshot",
        SNAPSHOT,
        &[TAKE],
        |c, q| c.snapshot_call(q, Qemu, Deed::Take).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config",
        AUDIT,
        &[],
        |c, q| c.snapshot_config(q, Qemu).map(Into::into),
    ),
    call(
        "DELETE",
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
        SNAPSHOT,
        &[&[may("force", Kind::Bool)]],
        |c, q| c.snapshot_call(q, Qemu, Deed::Delete).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
        Perm::Any("/vms/{vmid}", &["VM.Snapshot", "VM.Snapshot.Rollback"]),
        &[&[may("start", Kind::Bool)]],
        |c, q| c.snapshot_call(q, Qemu, Deed::Rollback).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/qemu/{vmid}/agent/ping",
        AUDIT,
        &[],
        agent,
    ),
    call(
        "GET",
        "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        Perm::Any(
            "/vms/{vmid}",
            &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"],
        ),
        &[],
        agent,
    ),
    call(
        "PUT",
        "/nodes/{node}/qemu/{vmid}/cloudinit",
        Perm::Any("/vms/{vmid}", &["VM.Config.Cloudinit"]),
        &[],
        |c, q| {
            c.require(Qemu, q.node(), q.vmid())?;
            Ok(Value::Null.into())
        },
    ),
];

/// No guest here has an agent: what is missing is said as there.
fn agent(
    c: &mut crate::model::Cluster,
    q: &crate::call::Call<'_>,
) -> crate::refusal::Answer<crate::routes::Out> {
    let guest = c.guest_on(Qemu, q.node(), q.vmid())?;
    let on = guest
        .get("agent")
        .is_some_and(|a| a.starts_with('1') || a.contains("enabled=1"));
    let text = match (on, guest.is_running()) {
        (false, _) => "No QEMU guest agent configured".to_owned(),
        (true, false) => format!("VM {} is not running", q.vmid()),
        (true, true) => "QEMU guest agent is not running".to_owned(),
    };
    Err(Refusal::fail(text))
}
