//! [`Authority`]: certificates that a test makes, and [`Folder`], where a server finds them.
//!
//! Not for anything but tests on loopback: keys are made on the spot and forgotten with them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// Somebody who vouches for others.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate, as PEM text.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM text.
#[derive(Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// Makes an authority that nobody has heard of.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Vouches for whoever has these host names and addresses.
    pub fn vouch(&self, names: &[&str]) -> Identity {
        self.sign(names, |_| {})
    }

    /// Vouches for whoever had these names in 2001.
    pub fn vouched(&self, names: &[&str]) -> Identity {
        self.sign(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2001, 12, 31);
        })
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be made");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder that is removed with its owner.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder with a short path, as a socket in it needs.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("clamator-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Writes what a server shows, and whom it trusts.
    pub fn write(&self, server: &Identity, trusted: &Authority) {
        let files =
            [("cert.pem", &server.certificate), ("key.pem", &server.key), ("ca.pem", &trusted.pem)];
        for (file, text) in files {
            std::fs::write(self.path(file), text).expect("a file can be written");
        }
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
