//! Turns the certificate that a server shows into trust, or into who was seen and why not.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// A certificate that is not trusted, as it travels through the layers of TLS and HTTP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {seen} is not trusted: {why}")]
pub struct Distrusted {
    /// SHA-256 of what was shown, as `AA:BB:..`, ready to be compared and pinned.
    pub seen: String,
    /// Why it is not trusted.
    pub why: String,
}

impl Distrusted {
    /// Finds what was said of a certificate below layers that each wrap it in their own way.
    /// Where there is something, the handshake was given up and nothing of a request was sent.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut layer = Some(error);
        while let Some(error) = layer {
            if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) =
                error.downcast_ref()
            {
                return other.0.downcast_ref();
            }
            // An I/O error passes over the one inside it when asked for its source.
            let inside = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            layer = match inside {
                Some(inside) => Some(inside),
                None => error.source(),
            };
        }
        None
    }
}

/// What a certificate is held against.
#[derive(Debug)]
pub(crate) enum Check {
    /// Name, dates and signatures up to a CA.
    Ca(Arc<WebPkiServerVerifier>),
    /// The SHA-256 of its DER form, nothing else.
    Pins(Vec<[u8; 32]>),
}

/// Checks the certificate in one of two ways, and always that the server has its key: without
/// that a copied certificate would do.
#[derive(Debug)]
pub(crate) struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(crate) const fn new(check: Check, provider: Arc<CryptoProvider>) -> Self {
        Self { check, provider }
    }
}

fn shown(hash: &[u8]) -> String {
    let pairs: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let hash: [u8; 32] = Sha256::digest(end_entity).into();
        let why = match &self.check {
            Check::Pins(pins) if pins.contains(&hash) => {
                return Ok(ServerCertVerified::assertion());
            }
            Check::Pins(_) => "it is not the pinned one".to_owned(),
            Check::Ca(ca) => {
                let checked = ca.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                );
                match checked {
                    Ok(verified) => return Ok(verified),
                    Err(error) => error.to_string(),
                }
            }
        };
        let distrusted = Distrusted {
            seen: shown(&hash),
            why,
        };
        Err(CertificateError::Other(OtherError(Arc::new(distrusted))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
