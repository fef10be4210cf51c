//! [`Tls`]: whom a connection through TLS trusts, and how it shows who we are.
//!
//! Not a protocol of our own: rustls speaks TLS 1.2 and 1.3, with ring, on whatever stream the
//! runtime connected. There is no way to trust everybody: a server's certificate is always checked
//! against authorities and against the host of the URL. No type of rustls is in the public API.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/management/security/encryption/>

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use clamator_engine::Loss;
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::pem::{self, PemObject};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::runtime::BoxedStream;

/// What stands in PEM text of a key that has a password.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Whom a connection through TLS trusts, and how it shows who we are. Cheap to clone.
///
/// For `Target::tls`. A `rediss://` target that was given none uses [`Tls::new`]. Everything is
/// read once: a certificate that is renewed needs a new target.
#[derive(Clone)]
pub struct Tls(Arc<Settings>);

struct Settings {
    /// `None` for those of the operating system.
    authorities: Option<RootCertStore>,
    identity: Option<Arc<CertifiedKey>>,
    /// Made for the first connection that the authorities can be read for.
    connector: OnceLock<TlsConnector>,
}

impl Tls {
    /// Trusts the certificate authorities of the operating system, or those in the files that the
    /// environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name. They are read for the first
    /// connection, which takes some milliseconds of the thread that makes it.
    #[must_use]
    pub fn new() -> Self {
        Self::from_parts(None, None)
    }

    /// Trusts the certificate authorities in this PEM text, and no others.
    ///
    /// # Errors
    /// [`InvalidTls::Authorities`] when there is none in it, or one cannot be read.
    pub fn trusting(authorities: &[u8]) -> Result<Self, InvalidTls> {
        let invalid = |detail| InvalidTls::Authorities { detail };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities).map_err(invalid)? {
            roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
        }
        Ok(Self::from_parts(Some(roots), None))
    }

    /// Shows a certificate to a server that asks for one: `chain` is the certificate with those
    /// that lead to its authority behind it, `key` its private key, both PEM text.
    ///
    /// # Errors
    /// [`InvalidTls::Identity`] when one of them is missing or cannot be read, or the key is not
    /// that of the certificate.
    pub fn identity(self, chain: &[u8], key: &[u8]) -> Result<Self, InvalidTls> {
        let invalid = |detail| InvalidTls::Identity { detail };
        let chain = certificates(chain).map_err(invalid)?;
        if key.windows(ENCRYPTED.len()).any(|text| text == ENCRYPTED) {
            return Err(invalid("private key: it is encrypted; decrypt it first".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|error| invalid(unread("private key", &error)))?;
        let identity = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let fault = explained(&error.to_string());
            invalid(format!("{fault} (keys may be Ed25519, ECDSA on P-256 or P-384, or RSA)"))
        })?;
        Ok(Self::from_parts(self.0.authorities.clone(), Some(Arc::new(identity))))
    }

    fn from_parts(authorities: Option<RootCertStore>, identity: Option<Arc<CertifiedKey>>) -> Self {
        Self(Arc::new(Settings { authorities, identity, connector: OnceLock::new() }))
    }

    /// Shakes hands on a connection to `host`; `address` is what an error calls it.
    pub(crate) async fn secure(
        &self,
        host: &str,
        address: &str,
        stream: BoxedStream,
    ) -> Result<BoxedStream, Loss> {
        let failed = |detail| Loss::Tls { address: address.to_owned(), detail };
        let connector = self.0.connector().map_err(failed)?;
        let name = server_name(host).ok_or_else(|| failed(format!("{host} is no host name")))?;
        let secured = connector.connect(name, stream).await;
        secured.map(|stream| Box::new(stream) as BoxedStream).map_err(|error| {
            if is_fault(&error) {
                failed(explained(&error.to_string()))
            } else {
                Loss::Closed { detail: format!("{error}, during the TLS handshake") }
            }
        })
    }
}

impl Settings {
    /// An error is not kept: the system's authorities may be there at the next try.
    fn connector(&self) -> Result<&TlsConnector, String> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector);
        }
        let connector = self.connect()?;
        Ok(self.connector.get_or_init(|| connector))
    }

    fn connect(&self) -> Result<TlsConnector, String> {
        let authorities = match &self.authorities {
            Some(authorities) => authorities.clone(),
            None => system_authorities()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(authorities);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let resolver = SingleCertAndKey::from(Arc::clone(identity));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

/// Says how many authorities are trusted, and nothing of the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorities = self.0.authorities.as_ref().map(RootCertStore::len);
        f.debug_struct("Tls")
            .field("authorities", &authorities)
            .field("identity", &self.0.identity.is_some())
            .finish()
    }
}

/// Why certificates or a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTls {
    /// There is no certificate authority in the text, or one cannot be used.
    #[error("the certificate authorities cannot be used: {detail}")]
    Authorities {
        /// What is wrong.
        detail: String,
    },
    /// The certificate or its key is missing or cannot be used, or they do not belong together.
    #[error("the certificate and its key cannot be used: {detail}")]
    Identity {
        /// What is wrong.
        detail: String,
    },
}

/// Whether an error of a connection is one of TLS: the server's certificate, or what it said of
/// ours.
pub(crate) fn is_fault(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Adds what to do about it to what rustls says.
pub(crate) fn explained(fault: &str) -> String {
    let advice = [
        ("UnknownIssuer", "no trusted authority vouches for it; Tls::trusting names others"),
        ("CertificateRequired", "the server wants a client's certificate; see Tls::identity"),
        ("HandshakeFailure", "the server may want a client's certificate; see Tls::identity"),
        ("UnsupportedCertVersion", "a certificate must be of X.509 version 3, with subjectAltName"),
        ("CaUsedAsEndEntity", "the certificate is an authority's own"),
    ];
    let advice = advice.iter().find(|(word, _)| fault.contains(word));
    advice.map_or_else(|| fault.to_owned(), |(_, advice)| format!("{fault} ({advice})"))
}

/// What a certificate must be made out to; `None` when the host cannot be a name or an address.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// The implementation of cryptography, chosen here: programs need not install one.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn system_authorities() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut authorities = RootCertStore::empty();
    // One that rustls cannot read is one that nobody is trusted by.
    authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() {
        let errors = found.errors.iter().map(|error| format!(": {error}")).collect::<String>();
        return Err(format!("the system has no certificate authorities{errors}"));
    }
    Ok(authorities)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    // The reader skips what it does not recognise, such as a certificate that begins on the line on
    // which another one ends.
    let begun = String::from_utf8_lossy(pem).matches("CERTIFICATE-----").count().div_ceil(2);
    match certificates {
        Ok(certificates) if certificates.len() < begun => {
            let read = certificates.len();
            Err(format!("only {read} of {begun} certificates can be read"))
        }
        Ok(certificates) if certificates.is_empty() => {
            Err(unread("certificate", &pem::Error::NoItemsFound))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unread("certificate", &error)),
    }
}

/// Says why PEM text cannot be read. In words of our own: the reader's repeat the line that it
/// could not read, which can be the whole key.
fn unread(what: &str, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::NoItemsFound => "there is none in the text",
        pem::Error::MissingSectionEnd { .. } => "its END line is missing",
        pem::Error::IllegalSectionStart { .. } => "its BEGIN line is not one; are line ends lost?",
        pem::Error::Base64Decode(_) => "it is not Base64",
        pem::Error::Io(_) | pem::Error::SectionTooLarge | _ => "it cannot be read",
    };
    format!("{what}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        let noise = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [&b""[..], b"certificate", cut, noise] {
            let fault = Tls::trusting(text).unwrap_err();
            assert!(matches!(fault, InvalidTls::Authorities { .. }), "{fault}");
        }
        let fault = Tls::new().identity(b"", b"").unwrap_err();
        assert!(matches!(fault, InvalidTls::Identity { .. }), "{fault}");
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_without_the_key() {
        let secret = "MC4CAQAwBQYDK2VwBCIEIFNlY3JldFNlY3JldFNlY3JldFNlY3JldFNlY3JldA==";
        for between in [" ", "\\n", ""] {
            for end in ["-----END PRIVATE KEY-----", ""] {
                let pem = ["-----BEGIN PRIVATE KEY-----", secret, end].join(between);
                let chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
                let fault = Tls::new().identity(chain, pem.as_bytes()).unwrap_err();
                let said = format!("{fault} {fault:?}");
                let numbers = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
                assert!(
                    !said.contains(secret) && !said.contains(&numbers[..8].join(", ")),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        assert!(server_name("localhost").is_some());
        assert!(server_name("127.0.0.1").is_some());
        assert!(server_name("::1").is_some());
        assert!(server_name("a b").is_none());
    }
}
