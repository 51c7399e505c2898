//! Turns a tenant on two sites into the commands that a router gets for it, to be compared with a page.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use bb_core::render;
use bb_core::resolve::resolve;
use bb_core::vyos::Want;
use bb_core::world::{Key, NamespaceView, World};
use serde_json::Value;

use super::read;

/// A Region with two sites, and a tenant with a network in one and a network in both.
const TWO_SITES: &str = "
kind: Region
metadata: {name: home}
spec:
  asn: 65000
  vnis: 10000-19999
  tables: 1000-1999
  mtu: MTU
  attachments:
    - {name: north, cluster: c1, vlan: {router: r1, interface: eth2, bridge: vmbr1, vlans: 100-3999}}
    - {name: south, cluster: c2, vlan: {router: r2, interface: eth2, bridge: vmbr1, vlans: 100-3999}}
---
kind: Provider
metadata: {name: r1}
spec:
  region: home
  zone: north
  vyos: {endpoint: 'https://192.0.2.1', credentials: {secret: r1}, tls: {caSecret: r1}, routerId: 10.255.0.1}
---
kind: Provider
metadata: {name: r2}
spec:
  region: home
  zone: south
  vyos: {endpoint: 'https://192.0.2.2', credentials: {secret: r2}, tls: {caSecret: r2}, routerId: 10.255.0.2}
---
kind: Provider
metadata: {name: c1}
spec:
  region: home
  zone: north
  proxmox: {endpoints: ['https://192.0.2.3'], credentials: {secret: c1}, tls: {caSecret: c1}, vmids: 100000-199999, pool: p}
---
kind: Provider
metadata: {name: c2}
spec:
  region: home
  zone: south
  proxmox: {endpoints: ['https://192.0.2.4'], credentials: {secret: c2}, tls: {caSecret: c2}, vmids: 100000-199999, pool: p}
---
kind: Tenant
metadata: {name: acme, uid: acme}
spec: {}
status:
  routing:
    - {region: home, vrf: bb1000, table: 1000, l3vni: 10000, routeTarget: '65000:10000'}
---
kind: Network
metadata: {name: plain, namespace: acme, uid: plain}
spec: {zones: [north], ipv4: {prefix: 10.0.1.0/24}}
status: {region: home, vni: 10001, vlans: [{router: r1, interface: eth2, vlan: 101}]}
---
kind: Network
metadata: {name: stretched, namespace: acme, uid: stretched}
spec: {ipv4: {prefix: 10.0.2.0/24}}
status:
  region: home
  vni: 10002
  vlans: [{router: r1, interface: eth2, vlan: 102}, {router: r2, interface: eth2, vlan: 102}]
---
kind: Network
metadata: {name: pool, namespace: acme, uid: pool}
spec: {zones: [north], ipv4: {prefix: 10.0.3.0/24, dhcp: {from: 10.0.3.100, to: 10.0.3.199}}}
status: {region: home, vni: 10003, vlans: [{router: r1, interface: eth2, vlan: 103}]}
";

fn world(text: &str) -> Result<World> {
    let mut world = World::default();
    let owned = NamespaceView {
        tenant: Some("acme".to_owned()),
        owner: Some("acme".to_owned()),
        deleting: false,
    };
    world.namespaces.insert("acme".to_owned(), owned.into());
    for document in text.split("\n---\n") {
        let document = format!("apiVersion: bitbuilder.cloud/v1alpha1\n{document}");
        let value: Value = serde_saphyr::from_str(&document)?;
        let name = value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match value["kind"].as_str().unwrap_or_default() {
            "Region" => drop(
                world
                    .regions
                    .insert(name, Arc::new(serde_json::from_value(value)?)),
            ),
            "Provider" => drop(
                world
                    .providers
                    .insert(name, Arc::new(serde_json::from_value(value)?)),
            ),
            "Tenant" => drop(
                world
                    .tenants
                    .insert(name, Arc::new(serde_json::from_value(value)?)),
            ),
            "Network" => {
                let key = Key::new("acme", name);
                world
                    .networks
                    .insert(key, Arc::new(serde_json::from_value(value)?));
            }
            other => bail!("{other} is not in this world"),
        }
    }
    Ok(world)
}

/// Commands that bring an object to the router r1, and those that take it away.
fn commands(mtu: u16, owner: &str) -> Result<(usize, usize)> {
    let world = world(&TWO_SITES.replace("MTU", &mtu.to_string()))?;
    let resolved = resolve(&world);
    ensure!(resolved.problems.is_empty(), "{:?}", resolved.problems);
    let desired = render::router(&world, &resolved, "r1", "installation");
    let claim = desired.claims.iter().find(|claim| claim.owner == owner);
    match claim.map(|claim| &claim.want) {
        Some(Want::Present { roots, lines }) => Ok((lines.len(), roots.len())),
        other => bail!("{owner} is not on the router: {other:?}"),
    }
}

#[test]
fn what_things_cost_on_a_router_is_as_the_page_says() -> Result<()> {
    let page = read("docs/design/0008-networks-on-routers.md")?;
    let plain = commands(9000, "plain")?;
    let pool = commands(9000, "pool")?;
    let low = |owner: &str| -> Result<usize> { Ok(commands(1500, owner)?.0) };
    let rows = [
        (
            "tenant, on each router with a network of it",
            commands(9000, "acme")?,
            low("acme")?,
        ),
        ("network in one zone", plain, low("plain")?),
        (
            "network in several zones, on each router",
            commands(9000, "stretched")?,
            low("stretched")?,
        ),
        (
            "DHCP pool without resolvers, on one router",
            (pool.0 - plain.0, pool.1 - plain.1),
            low("pool")? - low("plain")?,
        ),
    ];
    for (what, (sets, deletes), low) in rows {
        let row = format!("| {what} | {sets} | {low} | {deletes} |");
        ensure!(page.contains(&row), "the page should say\n{row}");
    }
    Ok(())
}
