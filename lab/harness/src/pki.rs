//! Turns a folder into the keys and certificates that a control plane starts with.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bb_lab_kit::tls::NODE_ADDRESS;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Where the key material of one control plane is kept.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    /// The certificate authority that clients trust.
    pub(crate) ca: PathBuf,
    /// The API server's certificate.
    pub(crate) cert: PathBuf,
    /// The key of that certificate.
    pub(crate) key: PathBuf,
    /// Signs service account tokens.
    pub(crate) accounts: PathBuf,
    /// The public half of that key: the API server reads no elliptic curve key from a private one.
    pub(crate) accounts_public: PathBuf,
}

impl Pki {
    /// Makes what is missing below `dir`; what is there stays, so that clients and tokens of an
    /// earlier start go on working.
    pub(crate) fn ensure(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let pki = Self {
            ca: dir.join("ca.crt"),
            cert: dir.join("apiserver.crt"),
            key: dir.join("apiserver.key"),
            accounts: dir.join("accounts.key"),
            accounts_public: dir.join("accounts.pub"),
        };
        if ![&pki.ca, &pki.cert, &pki.key]
            .into_iter()
            .all(|file| file.is_file())
        {
            pki.make_certificates()
                .context("cannot make the certificates of the API server")?;
        }
        if ![&pki.accounts, &pki.accounts_public]
            .into_iter()
            .all(|file| file.is_file())
        {
            let key = KeyPair::generate().context("cannot make a key for service accounts")?;
            write_private(&pki.accounts, &key.serialize_pem())?;
            write_private(&pki.accounts_public, &key.public_key_pem())?;
        }
        Ok(pki)
    }

    fn make_certificates(&self) -> Result<()> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name
            .push(DnType::CommonName, "bitbuilder lab CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let ca_cert = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate()?;
        let names = [
            "127.0.0.1",
            NODE_ADDRESS,
            "10.0.0.1",
            "localhost",
            "kubernetes.default.svc",
        ];
        let mut leaf = CertificateParams::new(names.map(str::to_owned))?;
        leaf.distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let cert = leaf.signed_by(&key, &issuer)?;

        write_private(&self.ca, &ca_cert.pem())?;
        write_private(&self.cert, &cert.pem())?;
        write_private(&self.key, &key.serialize_pem())
    }
}

/// Returns a word that nobody can guess, in the form of a UUID: the form of the secrets that
/// Proxmox gives to its tokens.
pub(crate) fn random_word() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    Ok(format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..]))
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
