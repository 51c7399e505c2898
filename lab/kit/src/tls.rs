//! Turns a list of names into a self-signed certificate and a TLS server that shows it.

use anyhow::Context as _;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, PoisonError, RwLock};

/// A certificate with its key. The certificate is its own trust anchor.
#[derive(Clone)]
pub struct Identity {
    /// The certificate; give it to a client as the CA to trust.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
    /// SHA-256 of the DER form, as `AA:BB:..`.
    pub sha256: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// Where pods on the lab's own node find what listens on this machine's loopback address.
pub const NODE_ADDRESS: &str = "10.88.0.1";

/// Makes a self-signed certificate for `names`, `localhost`, `127.0.0.1` and [`NODE_ADDRESS`].
///
/// It carries no CA flag: rustls refuses a CA certificate as a server's own, and neither
/// rustls nor OpenSSL asks for the flag on a certificate that is itself the trust anchor.
///
/// # Errors
/// A name is not a DNS name or an address.
pub fn identity(names: &[&str]) -> anyhow::Result<Identity> {
    let mut all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    for always in ["localhost", "127.0.0.1", NODE_ADDRESS] {
        if !all.iter().any(|name| name == always) {
            all.push(always.to_owned());
        }
    }
    let common_name = all[0].clone();
    let mut params = CertificateParams::new(all).context("a name does not fit a certificate")?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let key = KeyPair::generate().context("cannot make a key")?;
    let cert = params
        .self_signed(&key)
        .context("cannot sign the certificate")?;
    Ok(Identity {
        sha256: fingerprint(cert.der()),
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// SHA-256 of a certificate's DER form, as `AA:BB:..`.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(der)
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    pairs.join(":")
}

/// The certificate that a server shows; clones share it, and it may be exchanged while it runs.
#[derive(Clone, Debug)]
pub struct Shown(Arc<RwLock<Arc<CertifiedKey>>>);

impl Shown {
    /// Shows `id`.
    ///
    /// # Errors
    /// The identity is not a certificate with its key.
    pub fn new(id: &Identity) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(RwLock::new(certified(id)?))))
    }

    /// Shows `id` to every connection that begins from now on.
    ///
    /// # Errors
    /// The identity is not a certificate with its key.
    pub fn exchange(&self, id: &Identity) -> anyhow::Result<()> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified(id)?;
        Ok(())
    }

    /// The TLS side of a server that shows it: TLS 1.2 and 1.3, HTTP/1.1 only.
    ///
    /// # Errors
    /// There is no common TLS version.
    pub fn server_config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("no common TLS version")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        // A session that is resumed shows no certificate, also when there is another by now.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.0
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

fn certified(id: &Identity) -> anyhow::Result<Arc<CertifiedKey>> {
    let cert = rustls_pki_types::CertificateDer::from_pem_slice(id.cert_pem.as_bytes())
        .context("the certificate is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(id.key_pem.as_bytes()).context("the key is not PEM")?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(vec![cert], key, &provider)
        .context("the key does not fit the certificate")?;
    Ok(Arc::new(certified))
}

/// The TLS side of a server that shows `id` and nothing else.
///
/// # Errors
/// The identity is not a certificate with its key.
pub fn server_config(id: &Identity) -> anyhow::Result<Arc<ServerConfig>> {
    Shown::new(id)?.server_config()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_certificate() {
        let id = identity(&["r1"]).unwrap();
        let der = rustls_pki_types::CertificateDer::from_pem_slice(id.cert_pem.as_bytes()).unwrap();
        assert_eq!(id.sha256, fingerprint(&der));
        assert_eq!(id.sha256.len(), 32 * 3 - 1);
        assert!(!format!("{id:?}").contains("PRIVATE"));
        server_config(&id).unwrap();
    }
}
