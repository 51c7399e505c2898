//! What a user may get wrong, and words that the answer must have.
#![allow(clippy::too_many_lines, reason = "a table is as long as it is")]

use serde_json::{Value, json};

use crate::objects::{cluster, instance, network, of, region, router};

/// What a user may get wrong, and words that the answer must have: the field and the remedy.
pub(crate) fn refused() -> Vec<(Value, &'static [&'static str])> {
    let nic = |change: Value| {
        let mut nic = json!({"name": "web", "network": "web"});
        for (key, value) in change.as_object().cloned().unwrap_or_default() {
            nic[key] = value;
        }
        instance(json!({"networks": [nic]}))
    };
    vec![
        (
            instance(json!({"adopt": {}})),
            &["spec.adopt.vmid", "Required"],
        ),
        (
            instance(json!({"adopt": {"vmid": 99}})),
            &["spec.adopt.vmid", "100"],
        ),
        (
            instance(json!({"adopt": {"vmid": 104, "mode": "Take"}})),
            &["spec.adopt.mode", "Preview", "Adopt"],
        ),
        (
            instance(json!({"managementPolicy": "Watch"})),
            &["spec.managementPolicy", "Observe"],
        ),
        (
            cluster(json!({"adoptable": [{"tenant": "acme", "vmids": ["99"]}]})),
            &["spec.proxmox.adoptable[0].vmids[0]"],
        ),
        (
            of(
                "Provider",
                "bad",
                json!({"region": "lab", "deleteGuard": {"window": "ten minutes"},
                    "vyos": router(json!({}))["spec"]["vyos"].clone()}),
            ),
            &["spec.deleteGuard.window"],
        ),
        (
            network(json!({"prefix": "10.0.0.5/24"})),
            &["spec.ipv4.prefix", "host bits", "10.0.0.0/24"],
        ),
        (
            network(json!({"prefix": "10.0.0.0"})),
            &["spec.ipv4.prefix", "IPv4 prefix"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/33"})),
            &["spec.ipv4.prefix"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/31"})),
            &["spec.ipv4.prefix", "/8 and /29"],
        ),
        (
            network(json!({"prefix": "8.0.0.0/5"})),
            &["spec.ipv4.prefix"],
        ),
        (
            network(json!({"prefix": "2001:db8::/64"})),
            &["spec.ipv4.prefix", "IPv4"],
        ),
        (
            network(json!({"prefix": "ten.0.0.0/24"})),
            &["spec.ipv4.prefix"],
        ),
        (network(json!({})), &["spec.ipv4.prefix", "Required"]),
        (
            network(json!({"prefix": "10.0.0.0/24", "gateway": "10.0.1.1"})),
            &["gateway", "inside prefix"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "gateway": "first"})),
            &["gateway"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "dhcp": {"from": "10.0.0.9"}})),
            &["dhcp.to", "Required"],
        ),
        (
            network(
                json!({"prefix": "10.0.0.0/24", "dhcp": {"from": "x.0.0.9.", "to": "10.0.0.10"}}),
            ),
            &["dhcp.from"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "reserved": ["10.0.0.5", "10.0.0.5"]})),
            &["reserved", "Duplicate"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "reserved": ["the-first"]})),
            &["reserved"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "vlan": 5})),
            &["vlan", "unknown field"],
        ),
        (
            of(
                "Network",
                "bad",
                json!({"ipv4": {"prefix": "10.0.0.0/24"}, "dns": {"servers": ["nine"]}}),
            ),
            &["dns.servers"],
        ),
        (
            of(
                "Network",
                &"n".repeat(64),
                json!({"ipv4": {"prefix": "10.0.0.0/24"}}),
            ),
            &["name", "63"],
        ),
        (
            of("Volume", "bad", json!({"size": "100Mi"})),
            &["spec.size", "between 1Gi and 64Ti"],
        ),
        (of("Volume", "bad", json!({"size": "ten"})), &["spec.size"]),
        (of("Volume", "bad", json!({"size": "-5Gi"})), &["spec.size"]),
        (
            of("Volume", "bad", json!({"size": "65Ti"})),
            &["spec.size", "64Ti"],
        ),
        (
            of("Volume", "bad", json!({"size": 10})),
            &["spec.size", "string"],
        ),
        (of("Volume", "bad", json!({})), &["spec.size", "Required"]),
        (
            of(
                "Volume",
                "bad",
                json!({"size": "1Gi", "reclaimPolicy": "Keep"}),
            ),
            &["reclaimPolicy", "Delete", "Retain"],
        ),
        (
            instance(json!({"memory": "1Mi"})),
            &["spec.memory", "between 64Mi and 4Ti"],
        ),
        (instance(json!({"memory": "lots"})), &["spec.memory"]),
        (
            instance(json!({"cpu": 0})),
            &["spec.cpu", "greater than or equal to 1"],
        ),
        (instance(json!({"cpu": 257})), &["spec.cpu", "256"]),
        (
            instance(json!({"disk": "10"})),
            &["spec.disk", "between 1Gi and 64Ti"],
        ),
        (
            instance(json!({"power": "on"})),
            &["spec.power", "Running", "Stopped"],
        ),
        (
            instance(json!({"type": "vm"})),
            &["spec.type", "VirtualMachine", "Container"],
        ),
        (instance(json!({"networks": []})), &["spec.networks"]),
        (
            instance(
                json!({"networks": [{"name": "a", "network": "w"}, {"name": "a", "network": "x"}]}),
            ),
            &["spec.networks", "Duplicate"],
        ),
        (
            instance(
                json!({"volumes": [{"name": "a", "volume": "v"}, {"name": "b", "volume": "v"}]}),
            ),
            &["volumes", "once only"],
        ),
        (
            instance(json!({"type": "Container", "volumes": [{"name": "a", "volume": "v"}]})),
            &["VirtualMachine only"],
        ),
        (instance(json!({"sshKeys": ["my key"]})), &["sshKeys"]),
        (
            instance(json!({"sshKeys": ["ssh-ed25519 AAAA\nssh-rsa BBBB"]})),
            &["sshKeys"],
        ),
        (nic(json!({"address": "10.0.0"})), &["address"]),
        (nic(json!({"address": "fe80::1"})), &["address", "IPv4"]),
        (
            nic(json!({"name": "a name with blanks"})),
            &["networks[0].name"],
        ),
        (
            of(
                "Instance",
                "has.dots",
                json!({"image": "d", "networks": [{"name": "a", "network": "w"}]}),
            ),
            &["host name", "no dots"],
        ),
        (of("Tenant", "kube-acme", json!({})), &["kube-*", "taken"]),
        (of("Tenant", "default", json!({})), &["default", "taken"]),
        (of("Tenant", &"t".repeat(51), json!({})), &["50 characters"]),
        (of("Tenant", "a.b", json!({})), &["no dots"]),
        (
            of(
                "Tenant",
                "acme",
                json!({"members": [{"name": "a", "role": "Owner"}]}),
            ),
            &["role", "View", "Edit", "Admin"],
        ),
        (
            of(
                "Tenant",
                "acme",
                json!({"members": [{"name": "a"}, {"name": "a"}]}),
            ),
            &["members", "Duplicate"],
        ),
        (region(json!({"asn": 0})), &["spec.asn"]),
        (region(json!({"asn": 4_294_967_295_i64})), &["spec.asn"]),
        (
            region(json!({"vnis": "20000-10000"})),
            &["spec.vnis", "first not above the last"],
        ),
        (
            region(json!({"vnis": "1-16777215"})),
            &["spec.vnis", "1-16777214"],
        ),
        (
            region(json!({"tables": "50-100"})),
            &["spec.tables", "100-65535"],
        ),
        (region(json!({"tables": "many"})), &["spec.tables"]),
        (region(json!({"mtu": 100})), &["spec.mtu", "1280"]),
        (
            region(json!({"attachments": [{"name": "a", "cluster": "c1"}]})),
            &["attachments[0]", "give `vlan`"],
        ),
        (
            region(
                json!({"attachments": [{"name": "a", "cluster": "c1", "vlan": {"router": "r1", "interface": "eth2", "bridge": "vmbr1", "vlans": "1-4095"}}]}),
            ),
            &["vlans", "2-4094"],
        ),
        (
            region(
                json!({"attachments": [{"name": "a", "cluster": "c1", "vlan": {"router": "r1", "interface": "eth2; reboot", "bridge": "vmbr1", "vlans": "100-200"}}]}),
            ),
            &["interface"],
        ),
        (
            of("Provider", "bad", json!({"region": "lab"})),
            &["exactly one of `vyos` and `proxmox`"],
        ),
        (
            router(json!({"endpoint": "http://192.0.2.1"})),
            &["vyos.endpoint"],
        ),
        (
            router(json!({"routerId": "300.0.0.1"})),
            &["routerId", "IPv4"],
        ),
        (
            router(json!({"tls": {}})),
            &["tls", "exactly one of `caSecret` and `sha256`"],
        ),
        (router(json!({"tls": {"sha256": ["abc"]}})), &["sha256"]),
        (
            router(json!({"key": "in clear"})),
            &["key", "unknown field"],
        ),
        (
            cluster(json!({"vmids": "50-90"})),
            &["vmids", "100-999999999"],
        ),
        (cluster(json!({"endpoints": []})), &["endpoints"]),
        (
            cluster(json!({"images": [{"name": "a"}]})),
            &["images[0]", "exactly one of `template`"],
        ),
        (
            cluster(
                json!({"images": [{"name": "a", "template": 9000, "archive": "local:vztmpl/a"}]}),
            ),
            &["images[0]", "exactly one of"],
        ),
        (
            cluster(json!({"limits": {"clones": 0}})),
            &["limits.clones"],
        ),
    ]
}
