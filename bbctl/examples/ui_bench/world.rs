//! Turns numbers into instances as the API has them: one of seven is not ready.

use serde_json::{Value, json};

use super::OBJECTS;

/// The instance of a number, after so many rounds of changes.
pub(crate) fn instance(at: usize, round: usize) -> Value {
    let (status, reason, power) = match (at + round).is_multiple_of(7) {
        true => ("False", "Waiting", "Stopped"),
        false => ("True", "Ready", "Running"),
    };
    let types = ["Accepted", "ResolvedRefs", "Programmed", "Ready"];
    let conditions = types.map(|type_| {
        json!({"type": type_, "status": status, "reason": reason, "message": "it is as asked",
            "observedGeneration": 1, "lastTransitionTime": "2026-02-01T00:00:00Z"})
    });
    let address = format!("10.{}.{}.{}", at / 65536, at / 256 % 256, at % 256);
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
        "metadata": {"name": format!("www-{at}"), "namespace": format!("tenant-{}", at % 100),
            "uid": format!("00000000-0000-0000-0000-{at:012}"), "generation": 1,
            "resourceVersion": (1000 + OBJECTS * round + at).to_string(),
            "creationTimestamp": "2026-02-01T00:00:00Z", "finalizers": ["bitbuilder.cloud/targets"],
            "managedFields": [{"manager": "bbctl", "operation": "Apply",
                "apiVersion": "bitbuilder.cloud/v1alpha1", "time": "2026-02-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:image": {}, "f:cpu": {},
                    "f:memory": {}, "f:networks": {"k:{\"name\":\"web\"}": {".": {}, "f:network": {}}}}}}]},
        "spec": {"type": "VirtualMachine", "image": "debian-12", "cpu": 2, "memory": "2Gi",
            "power": "Running", "networks": [{"name": "web", "network": "web"}], "volumes": [],
            "sshKeys": [], "deletionProtection": false, "managementPolicy": "Manage"},
        "status": {"cluster": "c1", "zone": "north", "node": format!("pve{}", at % 8), "power": power,
            "providerID": format!("proxmox://c1/{}", 100_000 + at), "applied": "1f2e3d4c5b6a7988",
            "addresses": [{"name": "web", "network": "web", "address": address,
                "mac": "02:00:00:00:00:01"}],
            "conditions": conditions},
    })
}
