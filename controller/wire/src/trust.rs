//! Turns a CA or a list of fingerprints into the TLS side of a client.

use std::sync::Arc;

use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use crate::verifier::{Check, Verifier};

/// How the certificate of a target is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is valid for the target's address and signed by one of these, in PEM; a Proxmox VE
    /// cluster's own is `/etc/pve/pve-root-ca.pem`. A certificate that signs itself may stand
    /// here as its own CA.
    Ca(String),
    /// It is one of these: SHA-256 of its DER form in hex, with or without colons. Name and dates
    /// are not looked at: VyOS shows a self-signed certificate of 'localhost' unless told other.
    /// Each node of a Proxmox VE cluster has a certificate of its own, so there is one for each
    /// endpoint.
    Sha256(Vec<String>),
}

/// Why a [`Trust`] cannot be used. The cause is part of the text, so there is no `source`.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A part of the CA begins as PEM and does not go on so.
    #[error("the CA is not PEM: {0}")]
    NotPem(pem::Error),
    /// A part of the CA is PEM and holds something else.
    #[error("the CA is no certificate: {0}")]
    NotACertificate(rustls::Error),
    /// There is no certificate in the CA.
    #[error("the CA holds no certificate")]
    Empty,
    /// Nothing can be checked by the CA.
    #[error("the CA cannot be used: {0}")]
    Unusable(VerifierBuilderError),
    /// The list of fingerprints is empty.
    #[error("no fingerprint is given")]
    NoFingerprint,
    /// A fingerprint is not one.
    #[error("`{0}` is no SHA-256 fingerprint: 64 hex digits are needed")]
    NotAFingerprint(String),
    /// The TLS library has no version of TLS to offer.
    #[error("no TLS version is usable: {0}")]
    NoVersion(rustls::Error),
}

impl Trust {
    /// The TLS settings of a client with this trust: TLS 1.2 and 1.3, no certificate of its own.
    /// The error of a handshake with anybody else holds a [`crate::Distrusted`].
    ///
    /// # Errors
    /// The CA or a fingerprint cannot be read, or there is none: it would trust nobody.
    pub fn client_config(&self) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let check = match self {
            Self::Ca(pem) => Check::Ca(ca(pem, &provider)?),
            Self::Sha256(prints) => Check::Pins(pins(prints)?),
        };
        let verifier = Verifier::new(check, Arc::clone(&provider));
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::NoVersion)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth())
    }
}

fn ca(pem: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(TrustError::NotPem)?;
        roots
            .add(certificate)
            .map_err(TrustError::NotACertificate)?;
    }
    if roots.is_empty() {
        return Err(TrustError::Empty);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(TrustError::Unusable)
}

fn pins(texts: &[String]) -> Result<Vec<[u8; 32]>, TrustError> {
    if texts.is_empty() {
        return Err(TrustError::NoFingerprint);
    }
    let pin =
        |text: &String| fingerprint(text).ok_or_else(|| TrustError::NotAFingerprint(text.clone()));
    texts.iter().map(pin).collect()
}

/// Reads a fingerprint as openssl and browsers print it.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let hex = text.rsplit_once('=').map_or(text, |(_, hex)| hex);
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| *c != ':' && !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let digits: [u8; 64] = digits.try_into().ok()?;
    Some(std::array::from_fn(|at| {
        digits[2 * at] << 4 | digits[2 * at + 1]
    }))
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
            assert_eq!(fingerprint(&text), Some([10; 32]), "{text}");
        }
        for text in [
            "",
            "0a",
            &hex[1..],
            &format!("{hex}0a"),
            &hex.replace('a', "g"),
            "\u{e9}",
        ] {
            assert_eq!(fingerprint(text), None, "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_64_hex_digits_with_or_without_colons() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(fingerprint(&plain), Some([0xab; 32]));
        assert_eq!(fingerprint(&colons), Some([0xab; 32]));
        for wrong in ["", "ab", &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
        let counting: Vec<String> = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let bytes = std::array::from_fn(|at| u8::try_from(at).unwrap());
        assert_eq!(fingerprint(&counting.concat()), Some(bytes));
    }

    fn refused(trust: &Trust) -> String {
        trust.client_config().unwrap_err().to_string()
    }

    #[test]
    fn trust_that_trusts_nothing_is_refused() {
        let ca = |pem: &str| refused(&Trust::Ca(pem.to_owned()));
        assert_eq!(ca(""), "the CA holds no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(ca(broken).contains("no certificate"), "{}", ca(broken));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(ca(cut).contains("not PEM"), "{}", ca(cut));
        let none = refused(&Trust::Sha256(Vec::new()));
        assert_eq!(none, "no fingerprint is given");
    }

    #[test]
    fn a_fingerprint_that_is_none_is_named_when_it_is_set() {
        let prints = vec!["ab".repeat(32), "12".to_owned()];
        let text = refused(&Trust::Sha256(prints));
        assert!(text.starts_with("`12` is no SHA-256"), "{text}");
    }
}
