//! Turns a CA or fingerprints into what decides whether a node's certificate is accepted.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::error::ClusterError;

/// How the certificate of a cluster's nodes is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By this CA alone, in PEM: a cluster's own is `/etc/pve/pve-root-ca.pem`.
    Ca(String),
    /// By the SHA-256 of the certificate itself, in hex with or without colons. Each node has
    /// a certificate of its own, so there is one for each endpoint.
    Sha256(Vec<String>),
}

/// The TLS side of a client.
///
/// # Errors
/// [`ClusterError::Setup`] when there is no certificate in the PEM, or a fingerprint is not one.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, ClusterError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let setup = |why: String| ClusterError::Setup(why);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(format!("TLS cannot be set up: {error}")))?;
    match trust {
        Trust::Ca(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate =
                    certificate.map_err(|error| setup(format!("the CA is not in PEM: {error}")))?;
                roots
                    .add(certificate)
                    .map_err(|error| setup(format!("the CA cannot be used: {error}")))?;
            }
            if roots.is_empty() {
                return Err(setup("the CA holds no certificate".to_owned()));
            }
            Ok(builder.with_root_certificates(roots).with_no_client_auth())
        }
        Trust::Sha256(texts) => {
            let accepted = texts
                .iter()
                .map(|text| {
                    fingerprint(text).ok_or_else(|| setup(format!("`{text}` is no SHA-256")))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let pin = Arc::new(Pin { accepted, provider });
            Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(pin)
                .with_no_client_auth())
        }
    }
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let hex: String = text.chars().filter(|c| *c != ':').collect();
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Accepts the certificates it was told of, and still has the other side prove that it holds
/// the key: without that a copied certificate would do.
#[derive(Debug)]
struct Pin {
    accepted: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen: [u8; 32] = Sha256::digest(end_entity.as_ref()).into();
        if self.accepted.contains(&seen) {
            return Ok(ServerCertVerified::assertion());
        }
        let hex: Vec<String> = seen.iter().map(|byte| format!("{byte:02X}")).collect();
        let text = format!(
            "the certificate's SHA-256 is {}, which is not accepted",
            hex.join(":")
        );
        Err(rustls::Error::General(text))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_hex_digits_with_or_without_colons() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(fingerprint(&plain), Some([0xab; 32]));
        assert_eq!(fingerprint(&colons), Some([0xab; 32]));
        for wrong in ["", "ab", &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_refused_when_it_is_set() {
        for trust in [
            Trust::Ca(String::new()),
            Trust::Ca("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
            Trust::Sha256(vec!["12".into()]),
        ] {
            assert!(
                matches!(client_config(&trust), Err(ClusterError::Setup(_))),
                "{trust:?}"
            );
        }
    }
}
