//! Turns a Provider and its Secrets into what a client needs to connect.

use bb_crds::provider::{Proxmox, Tls, Vyos};
use bb_wire::{Secret, Trust};
use k8s_openapi::api::core::v1::Secret as Stored;
use kube::Api;

use crate::api::{ApiError, call};
use crate::shared::Shared;

/// Why a Provider's credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(
        "cannot read Secret {namespace}/{name}; create it, or correct the name in the Provider"
    )]
    Read {
        namespace: String,
        name: String,
        source: ApiError,
    },
    #[error("Secret {namespace}/{name} has no entry `{entry}`")]
    Entry {
        namespace: String,
        name: String,
        entry: String,
    },
}

/// One entry after another of one Secret.
struct Entries {
    namespace: String,
    name: String,
    secret: Stored,
}

impl Entries {
    async fn read(shared: &Shared, name: &str) -> Result<Self, SecretError> {
        let namespace = shared.args.namespace.clone();
        let api: Api<Stored> = Api::namespaced(shared.clients.request.clone(), &namespace);
        let secret = call(format!("read secret {namespace}/{name}"), api.get(name)).await;
        let name = name.to_owned();
        match secret {
            Ok(secret) => Ok(Self {
                namespace,
                name,
                secret,
            }),
            Err(source) => Err(SecretError::Read {
                namespace,
                name,
                source,
            }),
        }
    }

    fn get(&self, entry: &str) -> Option<String> {
        let bytes = self.secret.data.as_ref()?.get(entry)?;
        Some(String::from_utf8_lossy(&bytes.0).trim().to_owned())
    }

    fn need(&self, entry: &str) -> Result<String, SecretError> {
        self.get(entry).ok_or_else(|| SecretError::Entry {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            entry: entry.to_owned(),
        })
    }
}

/// What connects to a router.
pub(crate) async fn router(
    shared: &Shared,
    name: &str,
    spec: &Vyos,
) -> Result<bb_vyos::Endpoint, SecretError> {
    let key = Entries::read(shared, &spec.credentials.secret)
        .await?
        .need("key")?;
    let trust = trust(shared, &spec.tls).await?;
    let url = spec.endpoint.clone();
    Ok(bb_vyos::Endpoint {
        name: name.to_owned(),
        url,
        key: Secret::new(key),
        trust,
    })
}

/// What connects to a cluster.
pub(crate) async fn cluster(
    shared: &Shared,
    spec: &Proxmox,
) -> Result<bb_proxmox::Endpoint, SecretError> {
    let entries = Entries::read(shared, &spec.credentials.secret).await?;
    let credentials = match entries.get("token") {
        Some(token) => bb_proxmox::Credentials::Token(Secret::new(token)),
        None => bb_proxmox::Credentials::Password {
            user: entries.need("username")?,
            password: Secret::new(entries.need("password")?),
        },
    };
    let trust = trust(shared, &spec.tls).await?;
    Ok(bb_proxmox::Endpoint {
        mandate: shared.clients.mandate.clone(),
        ..bb_proxmox::Endpoint::new(spec.endpoints.clone(), credentials, trust)
    })
}

async fn trust(shared: &Shared, tls: &Tls) -> Result<Trust, SecretError> {
    match &tls.ca_secret {
        Some(name) => Ok(Trust::Ca(
            Entries::read(shared, name).await?.need("ca.crt")?,
        )),
        None => Ok(Trust::Sha256(tls.sha256.clone().unwrap_or_default())),
    }
}
