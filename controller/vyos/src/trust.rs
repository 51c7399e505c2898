//! Turns a CA or a list of fingerprints into the TLS side of a client.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

/// How a router's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is valid for the router's address and signed by one of these, in PEM. A certificate
    /// that signs itself may stand here as its own CA.
    Ca(String),
    /// It is one of these: SHA-256 of its DER form in hex, with or without colons. Name and dates
    /// are not looked at; VyOS shows a self-signed certificate of 'localhost' unless told other.
    Sha256(Vec<String>),
}

/// A certificate that is not trusted, as it travels through the layers of TLS and HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Distrusted {
    /// SHA-256 of what was shown, as `AA:BB:..`.
    pub(crate) seen: String,
    /// Why it is not trusted.
    pub(crate) why: String,
}

impl fmt::Display for Distrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} is not trusted: {}", self.seen, self.why)
    }
}

impl std::error::Error for Distrusted {}

/// The TLS settings of a client with this trust, or what is wrong with it.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let check = match trust {
        Trust::Ca(pem) => {
            let mut roots = RootCertStore::empty();
            for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let cert = cert.map_err(|error| format!("the CA is not PEM: {error}"))?;
                roots
                    .add(cert)
                    .map_err(|error| format!("the CA is no certificate: {error}"))?;
            }
            let roots =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            Check::Ca(
                roots
                    .build()
                    .map_err(|error| format!("the CA cannot be used: {error}"))?,
            )
        }
        Trust::Sha256(pins) => {
            if pins.is_empty() {
                return Err("no fingerprint is given".to_owned());
            }
            Check::Pins(
                pins.iter()
                    .map(|pin| parse_pin(pin))
                    .collect::<Result<_, _>>()?,
            )
        }
    };
    let verifier = Verifier {
        check,
        provider: Arc::clone(&provider),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS version is usable: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Reads a fingerprint as openssl and browsers print it.
fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let fault = || format!("`{text}` is no SHA-256 fingerprint: 64 hex digits are needed");
    let hex = text.rsplit_once('=').map_or(text, |(_, hex)| hex);
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| *c != ':' && !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(fault)?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|d| d[0] << 4 | d.get(1).unwrap_or(&0))
        .collect();
    if digits.len() != 64 {
        return Err(fault());
    }
    bytes.try_into().map_err(|_| fault())
}

fn shown(hash: &[u8]) -> String {
    hash.iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

#[derive(Debug)]
enum Check {
    Ca(Arc<WebPkiServerVerifier>),
    Pins(Vec<[u8; 32]>),
}

/// Checks the certificate in one of two ways, and always that the server has its key.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
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

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let hex = "0a".repeat(32);
        let colons = vec!["0A"; 32].join(":");
        for text in [
            hex.clone(),
            colons.clone(),
            format!("sha256 Fingerprint={colons}\n"),
        ] {
            assert_eq!(parse_pin(&text), Ok([10; 32]), "{text}");
        }
        for text in [
            "",
            "0a",
            &hex[1..],
            &format!("{hex}0a"),
            &hex.replace('a', "g"),
            "\u{e9}",
        ] {
            assert!(parse_pin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn trust_that_trusts_nothing_is_refused() {
        let ca = |pem: &str| client_config(&Trust::Ca(pem.to_owned())).unwrap_err();
        assert!(ca("").contains("CA"), "{}", ca(""));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(ca(broken).contains("no certificate"), "{}", ca(broken));
        assert!(client_config(&Trust::Sha256(vec![])).is_err());
    }
}
