//! Lists the calls on users, roles, ACL, pools and storages.

use crate::format;
use crate::routes::{Perm, Route, call, index};
use crate::schema::{COUNT, Kind, Param, TEXT, may, need};

const USER: &[Param] = &[
    may("comment", TEXT),
    may("email", TEXT),
    may("enable", Kind::Bool),
    may("expire", COUNT),
    may("firstname", TEXT),
    may("groups", TEXT),
    may("keys", TEXT),
    may("lastname", TEXT),
];
const NEW_USER: &[Param] = &[need("userid", format::USER), may("password", TEXT)];
const TOKEN: &[Param] = &[
    may("comment", TEXT),
    may("expire", COUNT),
    may("privsep", Kind::Bool),
];
const ACL: &[Param] = &[
    need("path", TEXT),
    need("roles", TEXT),
    may("delete", Kind::Bool),
    may("groups", TEXT),
    may("propagate", Kind::Bool),
    may("tokens", TEXT),
    may("users", TEXT),
];
const NEW_POOL: &[Param] = &[need("poolid", format::POOL), may("comment", TEXT)];
const POOL: &[Param] = &[
    may("allow-move", Kind::Bool),
    may("comment", TEXT),
    may("delete", Kind::Bool),
    may("storage", TEXT),
    may("vms", TEXT),
];
const POOL_ID: &[Param] = &[need("poolid", format::POOL)];
const STORAGE: &[Param] = &[
    need("storage", format::STORAGE),
    need(
        "type",
        Kind::Enum(&[
            "btrfs",
            "cephfs",
            "cifs",
            "dir",
            "esxi",
            "iscsi",
            "iscsidirect",
            "lvm",
            "lvmthin",
            "nfs",
            "pbs",
            "rbd",
            "zfs",
            "zfspool",
        ]),
    ),
    may("content", TEXT),
    may("disable", Kind::Bool),
    may("nodes", TEXT),
    may("path", TEXT),
    may("pool", TEXT),
    may("preallocation", TEXT),
    may("shared", Kind::Bool),
    may("thinpool", TEXT),
    may("vgname", TEXT),
];
const STORAGE_CHANGE: &[Param] = &[
    may("content", TEXT),
    may("delete", TEXT),
    may("digest", TEXT),
    may("disable", Kind::Bool),
    may("nodes", TEXT),
    may("preallocation", TEXT),
    may("shared", Kind::Bool),
];
const STORAGE_ADMIN: Perm = Perm::All("/storage", &["Datastore.Allocate"]);
const CONTENT: Perm = Perm::Any(
    "/storage/{storage}",
    &["Datastore.Audit", "Datastore.AllocateSpace"],
);
const ROLES: Perm = Perm::All("/access", &["Sys.Modify"]);
const POOL_ADMIN: Perm = Perm::All("/pool/{poolid}", &["Pool.Allocate"]);
const ALLOC: &[Param] = &[
    need("filename", TEXT),
    need("size", format::ALLOC_SIZE),
    need("vmid", format::VMID),
    may("format", Kind::Enum(&["raw", "qcow2", "subvol", "vmdk"])),
];

pub(crate) const ROUTES: &[Route] = &[
    call("GET", "/access", Perm::Anyone, &[], |_, _| {
        index(
            "subdir",
            &[
                "users",
                "groups",
                "roles",
                "acl",
                "domains",
                "ticket",
                "permissions",
            ],
        )
    }),
    call(
        "GET",
        "/access/permissions",
        Perm::Anyone,
        &[&[may("path", TEXT), may("userid", TEXT)]],
        |c, q| c.permissions(q).map(Into::into),
    ),
    call(
        "GET",
        "/access/users",
        Perm::Anyone,
        &[&[may("enabled", Kind::Bool), may("full", Kind::Bool)]],
        |c, q| Ok(c.user_list(q).into()),
    ),
    call(
        "POST",
        "/access/users",
        Perm::Anyone,
        &[NEW_USER, USER],
        |c, q| c.user_add(q).map(Into::into),
    ),
    call(
        "PUT",
        "/access/users/{userid}",
        Perm::Anyone,
        &[USER, &[may("append", Kind::Bool)]],
        |c, q| c.user_change(q).map(Into::into),
    ),
    call(
        "DELETE",
        "/access/users/{userid}",
        Perm::Anyone,
        &[],
        |c, q| c.user_remove(q).map(Into::into),
    ),
    call(
        "GET",
        "/access/users/{userid}/token",
        Perm::Anyone,
        &[],
        |c, q| c.token_list(q).map(Into::into),
    ),
    call(
        "POST",
        "/access/users/{userid}/token/{tokenid}",
        Perm::Anyone,
        &[TOKEN],
        |c, q| c.token_add(q).map(Into::into),
    ),
    call(
        "PUT",
        "/access/users/{userid}/token/{tokenid}",
        Perm::Anyone,
        &[TOKEN],
        |c, q| c.token_change(q).map(Into::into),
    ),
    call(
        "DELETE",
        "/access/users/{userid}/token/{tokenid}",
        Perm::Anyone,
        &[],
        |c, q| c.token_remove(q).map(Into::into),
    ),
    call(
        "POST",
        "/access/groups",
        Perm::All("/access/groups", &["Group.Allocate"]),
        &[&[need("groupid", TEXT), may("comment", TEXT)]],
        |c, q| c.group_add(q).map(Into::into),
    ),
    call(
        "DELETE",
        "/access/groups/{groupid}",
        Perm::All("/access/groups", &["Group.Allocate"]),
        &[],
        |c, q| c.group_remove(q).map(Into::into),
    ),
    call("GET", "/access/roles", Perm::Anyone, &[], |c, _| {
        Ok(c.role_list().into())
    }),
    call(
        "POST",
        "/access/roles",
        ROLES,
        &[&[need("roleid", TEXT), may("privs", format::PRIVILEGES)]],
        |c, q| c.role_add(q).map(Into::into),
    ),
    call(
        "GET",
        "/access/roles/{roleid}",
        Perm::Anyone,
        &[],
        |c, q| c.role_get(q).map(Into::into),
    ),
    call(
        "PUT",
        "/access/roles/{roleid}",
        ROLES,
        &[&[may("append", Kind::Bool), may("privs", format::PRIVILEGES)]],
        |c, q| c.role_change(q).map(Into::into),
    ),
    call("DELETE", "/access/roles/{roleid}", ROLES, &[], |c, q| {
        c.role_remove(q).map(Into::into)
    }),
    call("GET", "/access/acl", Perm::Anyone, &[], |c, q| {
        Ok(c.acl_list(q).into())
    }),
    call("PUT", "/access/acl", Perm::Anyone, &[ACL], |c, q| {
        c.acl_change(q).map(Into::into)
    }),
    call(
        "GET",
        "/pools",
        Perm::Anyone,
        &[&[
            may("poolid", format::POOL),
            may("type", Kind::Enum(&["qemu", "lxc", "storage"])),
        ]],
        |c, q| c.pool_list(q).map(Into::into),
    ),
    call("POST", "/pools", POOL_ADMIN, &[NEW_POOL], |c, q| {
        c.pool_add(q).map(Into::into)
    }),
    call("PUT", "/pools", POOL_ADMIN, &[POOL_ID, POOL], |c, q| {
        c.pool_change(q).map(Into::into)
    }),
    call("DELETE", "/pools", POOL_ADMIN, &[POOL_ID], |c, q| {
        c.pool_remove(q).map(Into::into)
    }),
    call("GET", "/pools/{poolid*}", Perm::Anyone, &[], |c, q| {
        c.pool_get(q).map(Into::into)
    }),
    call("PUT", "/pools/{poolid*}", POOL_ADMIN, &[POOL], |c, q| {
        c.pool_change(q).map(Into::into)
    }),
    call("DELETE", "/pools/{poolid*}", POOL_ADMIN, &[], |c, q| {
        c.pool_remove(q).map(Into::into)
    }),
    call(
        "GET",
        "/storage",
        Perm::Anyone,
        &[&[may("type", TEXT)]],
        |c, q| c.storage_config(q).map(Into::into),
    ),
    call("POST", "/storage", STORAGE_ADMIN, &[STORAGE], |c, q| {
        c.storage_add(q).map(Into::into)
    }),
    call(
        "GET",
        "/storage/{storage}",
        Perm::All("/storage/{storage}", &["Datastore.Audit"]),
        &[],
        |c, q| c.storage_config(q).map(Into::into),
    ),
    call(
        "PUT",
        "/storage/{storage}",
        STORAGE_ADMIN,
        &[STORAGE_CHANGE],
        |c, q| c.storage_change(q).map(Into::into),
    ),
    call(
        "DELETE",
        "/storage/{storage}",
        STORAGE_ADMIN,
        &[],
        |c, q| c.storage_remove(q).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/storage",
        Perm::Anyone,
        &[&[
            may("content", TEXT),
            may("enabled", Kind::Bool),
            may("format", Kind::Bool),
            may("storage", format::STORAGE),
            may("target", TEXT),
        ]],
        |c, q| Ok(c.node_storages(q).into()),
    ),
    call(
        "GET",
        "/nodes/{node}/storage/{storage}/status",
        CONTENT,
        &[],
        |c, q| c.storage_status(q).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/storage/{storage}/content",
        CONTENT,
        &[&[may("content", TEXT), may("vmid", format::VMID)]],
        |c, q| c.content_list(q).map(Into::into),
    ),
    call(
        "POST",
        "/nodes/{node}/storage/{storage}/content",
        Perm::All("/storage/{storage}", &["Datastore.AllocateSpace"]),
        &[ALLOC],
        |c, q| c.content_alloc(q).map(Into::into),
    ),
    call(
        "GET",
        "/nodes/{node}/storage/{storage}/content/{volume*}",
        Perm::Anyone,
        &[],
        |c, q| c.content_info(q).map(Into::into),
    ),
    call(
        "PUT",
        "/nodes/{node}/storage/{storage}/content/{volume*}",
        Perm::Anyone,
        &[&[may("notes", TEXT), may("protected", Kind::Bool)]],
        |c, q| c.content_update(q).map(Into::into),
    ),
    call(
        "DELETE",
        "/nodes/{node}/storage/{storage}/content/{volume*}",
        Perm::Anyone,
        &[&[may("delay", Kind::Int(1, 30))]],
        |c, q| c.content_delete(q).map(Into::into),
    ),
];
