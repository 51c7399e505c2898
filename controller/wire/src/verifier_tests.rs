//! Turns handshakes in memory, of servers right and wrong, into who is trusted.

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConnection, ConnectionCommon, ServerConnection, SideData, SupportedProtocolVersion,
};

use super::*;
use crate::Trust;

const NAME: &str = "r1.example";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate that signs itself, and a key that may be another's.
struct Server {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Server {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            key,
        }
    }

    fn sha256(&self) -> String {
        shown(&Sha256::digest(&self.der))
    }

    fn config(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        // Does not check that the key is that of the certificate.
        let shown = SingleCertAndKey::from(CertifiedKey::new(vec![self.der.clone()], key));
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown))
    }

    /// Speaks with a client that calls it `name`.
    fn greet(
        &self,
        version: &'static SupportedProtocolVersion,
        trust: &Trust,
        name: &'static str,
    ) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(name).unwrap();
        let config = Arc::new(trust.client_config().unwrap());
        let mut client = ClientConnection::new(config, name).unwrap();
        let mut server = ServerConnection::new(Arc::new(self.config(version))).unwrap();
        for _ in 0..8 {
            carry(&mut client, &mut server)?;
            carry(&mut server, &mut client)?;
            if !client.is_handshaking() && !server.is_handshaking() {
                return Ok(());
            }
        }
        panic!("the handshake does not end");
    }
}

fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn pins(prints: &[String]) -> Trust {
    Trust::Sha256(prints.to_vec())
}

#[test]
fn a_pinned_certificate_is_trusted_under_any_name() {
    let server = Server::new();
    let trust = pins(&["00".repeat(32), server.sha256()]);
    for version in VERSIONS {
        for name in [NAME, "localhost", "192.0.2.1"] {
            assert_eq!(server.greet(version, &trust, name), Ok(()), "{version:?}");
        }
    }
}

#[test]
fn a_pinned_certificate_without_its_key_is_refused() {
    let server = Server::new();
    let copied = Server {
        der: server.der.clone(),
        ..Server::new()
    };
    for version in VERSIONS {
        for trust in [pins(&[server.sha256()]), Trust::Ca(server.pem.clone())] {
            assert_eq!(server.greet(version, &trust, NAME), Ok(()));
            let error = copied.greet(version, &trust, NAME).unwrap_err();
            let bad = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
            assert_eq!(error, bad, "{version:?}");
        }
    }
}

#[test]
fn another_certificate_is_refused_and_shown() {
    let (server, other) = (Server::new(), Server::new());
    for version in VERSIONS {
        for trust in [pins(&[server.sha256()]), Trust::Ca(server.pem.clone())] {
            let error = other.greet(version, &trust, NAME).unwrap_err();
            let distrusted = Distrusted::find(&error).unwrap();
            assert_eq!(distrusted.seen, other.sha256());
            let text = distrusted.to_string();
            assert!(text.contains(&other.sha256()), "{text}");
        }
    }
}

#[test]
fn a_ca_is_trusted_for_the_names_in_the_certificate_only() {
    let server = Server::new();
    let trust = Trust::Ca(server.pem.clone());
    for version in VERSIONS {
        assert_eq!(server.greet(version, &trust, NAME), Ok(()));
        let error = server.greet(version, &trust, "r2.example").unwrap_err();
        let distrusted = Distrusted::find(&error).unwrap();
        assert_eq!(distrusted.seen, server.sha256());
        assert!(distrusted.why.contains("r2.example"), "{distrusted}");
    }
}

#[test]
fn what_was_seen_is_found_below_errors_of_io() {
    let (server, other) = (Server::new(), Server::new());
    let trust = pins(&[server.sha256()]);
    let error = other.greet(VERSIONS[1], &trust, NAME).unwrap_err();
    let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
    let found = Distrusted::find(&wrapped).unwrap();
    assert_eq!(found.seen, other.sha256());
    assert_eq!(found.why, "it is not the pinned one");
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(Distrusted::find(&reset), None);
}
