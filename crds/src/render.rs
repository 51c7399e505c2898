//! Turns the types into the YAML that is installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{Instance, Network, Plan, Provider, Region, Tenant, Volume};

/// Every custom resource definition, in the order in which a person would meet them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        Region::crd(),
        Provider::crd(),
        Tenant::crd(),
        Network::crd(),
        Volume::crd(),
        Instance::crd(),
        Plan::crd(),
    ]
}

/// One definition as YAML.
///
/// # Errors
/// When the serializer refuses the definition, which no type of this crate makes it do.
pub fn render_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}
