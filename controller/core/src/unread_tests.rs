//! What stays, and what waits, while an object cannot be understood.

use serde_json::json;

use crate::proxmox::model::Fate;
use crate::render;
use crate::resolve::{Id, resolve};
use crate::testkit::{HERE, Kit, instance, network, provider, region, tenant, volume};
use crate::unread::{Holds, Unreadable};
use crate::vyos::Want;

/// Takes an object away as a controller meets it that never understood it.
fn unread(kit: &mut Kit, id: &Id) {
    let object = kit.get(id).unwrap();
    let one = Unreadable {
        uid: kit.uid(id),
        error: "unknown field".to_owned(),
        known: false,
        holds: Holds::of(&object),
    };
    kit.vanish(id);
    kit.world.unread.0.insert(id.clone(), one);
}

#[test]
fn the_numbers_of_what_cannot_be_understood_stay_taken() {
    let mut kit = Kit::acme();
    kit.machine("acme/www", "web");
    kit.settle();
    let vni = kit.status(&network("acme/db"), "/vni");
    let (vmid, address) = (
        kit.status(&instance("acme/www"), "/providerID"),
        kit.status(&instance("acme/www"), "/addresses/0/address"),
    );
    unread(&mut kit, &network("acme/db"));
    unread(&mut kit, &instance("acme/www"));
    // As after an old etcd: the cursors stand before what was given.
    for id in [
        region("lab"),
        provider("c1"),
        provider("c2"),
        network("acme/web"),
    ] {
        kit.edit(&id, |o| {
            let status = o["status"].as_object_mut().unwrap();
            for cursor in ["next", "nextVmid", "nextAddress"] {
                status.remove(cursor);
            }
        });
    }
    kit.network("acme/new", json!({"ipv4": {"prefix": "10.10.9.0/24"}}));
    kit.machine("acme/new", "web");
    kit.settle();
    assert_ne!(kit.status(&network("acme/new"), "/vni"), vni);
    assert_ne!(kit.status(&instance("acme/new"), "/providerID"), vmid);
    assert_ne!(
        kit.status(&instance("acme/new"), "/addresses/0/address"),
        address
    );
}

#[test]
fn what_it_may_use_does_not_go() {
    let mut kit = Kit::acme();
    kit.machine("acme/www", "web");
    kit.settle();
    unread(&mut kit, &instance("acme/www"));
    let before = kit.on_targets();
    kit.delete(&network("acme/web"));
    kit.delete(&region("lab"));
    kit.delete(&provider("r1"));
    kit.delete(&tenant("acme"));
    kit.settle();
    for id in [
        network("acme/web"),
        region("lab"),
        provider("r1"),
        tenant("acme"),
    ] {
        assert!(!kit.gone(&id), "{id:?}");
    }
    let says = kit.unready(&network("acme/web")).1;
    assert!(says.contains("www"), "{says}");
    assert_eq!(kit.on_targets().1, before.1);
}

#[test]
fn the_volume_of_an_instance_that_cannot_be_understood_stays_where_it_is() {
    let mut kit = Kit::acme();
    kit.volume("acme/data", json!({"size": "20Gi"}));
    kit.machine("acme/www", "web");
    kit.set(
        &instance("acme/www"),
        "volumes",
        json!([{"name": "data", "volume": "data"}]),
    );
    kit.settle();
    let cluster = kit.status(&volume("acme/data"), "/cluster");
    unread(&mut kit, &instance("acme/www"));
    let resolved = resolve(&kit.world);
    let name = cluster.as_str().unwrap();
    let desired = render::cluster(&kit.world, &resolved, name, HERE).unwrap();
    assert_eq!(desired.volumes[0].fate, Fate::Hold);
}

#[test]
fn the_vrf_of_a_tenant_stays_while_a_network_cannot_be_understood() {
    let mut kit = Kit::acme();
    unread(&mut kit, &network("acme/web"));
    unread(&mut kit, &network("acme/db"));
    let resolved = resolve(&kit.world);
    let desired = render::router(&kit.world, &resolved, "r1", HERE);
    let uid = kit.uid(&tenant("acme"));
    let vrf = desired.claims.iter().find(|c| c.owner == uid).unwrap();
    assert_eq!(vrf.want, Want::Untouched);
}

#[test]
fn one_that_was_understood_before_goes_on_and_is_not_written_to() {
    let mut kit = Kit::acme();
    let before = kit.on_targets();
    let id = network("acme/web");
    let one = Unreadable {
        uid: kit.uid(&id),
        known: true,
        ..Unreadable::default()
    };
    kit.world.unread.0.insert(id.clone(), one);
    // Something that would change its status.
    kit.machine("acme/www", "web");
    kit.settle();
    assert!(kit.changes().iter().all(|change| change.id != id));
    assert!(kit.ready(&instance("acme/www")));
    assert_eq!(kit.on_targets().0, before.0);
}
