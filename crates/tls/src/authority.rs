//! An authority for development and tests. In production certificates come from whoever runs the platform.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// Beginning of an authority's common name; the end is taken from its key, so that no two are mistaken for each other.
const NAME: &str = "Evenkeel development authority";

/// A certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made")]
pub struct IssueError(#[from] rcgen::Error);

/// Who issues certificates.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key in PEM (PKCS #8).
    pub key: Zeroizing<String>,
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The one URI, if any: an identity.
    pub uri: Option<&'a str>,
    /// DNS names and IP addresses under which the holder is reached.
    pub hosts: &'a [String],
    /// When it begins to be valid.
    pub from: SystemTime,
    /// When it ends.
    pub until: SystemTime,
}

impl Authority {
    /// Makes one, with a new key, that is valid for this time.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new(from: SystemTime, until: SystemTime) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = params(&key);
        params.not_before = OffsetDateTime::from(from);
        params.not_after = OffsetDateTime::from(until);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Takes one that was made here before, from its certificate and private key.
    ///
    /// # Errors
    /// The key is none.
    pub fn from_pem(certificate: String, key: &str) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(key)?;
        Ok(Self {
            certificate,
            issuer: Issuer::new(params(&key), key),
        })
    }

    /// Returns its certificate in PEM: a trust bundle.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Returns its private key in PEM.
    #[must_use]
    pub fn key(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Issues a certificate for a server that is a client too, with a new key.
    ///
    /// # Errors
    /// A host or the URI cannot stand in a certificate.
    pub fn issue(&self, subject: &Subject<'_>) -> Result<Issued, IssueError> {
        let mut params = CertificateParams::new(subject.hosts)?;
        if let Some(uri) = subject.uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        // Nothing that is checked is in the subject; the names are in the extension (RFC 9525).
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = OffsetDateTime::from(subject.from);
        params.not_after = OffsetDateTime::from(subject.until);
        let key = KeyPair::generate()?;
        Ok(Issued {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// What follows from the key alone, so that an authority is the same whenever it is read again.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = params.key_identifier(key);
    let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{NAME} {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, UnixTime};

    use super::*;

    #[test]
    fn an_authority_that_was_written_and_read_is_the_same() {
        let now = SystemTime::now();
        let until = now + Duration::from_secs(3600);
        let made = Authority::new(now, until).unwrap();
        let read = Authority::from_pem(made.certificate().to_owned(), &made.key()).unwrap();
        let subject = Subject {
            uri: Some("spiffe://evenkeel/task"),
            hosts: &["localhost".to_owned(), "127.0.0.1".to_owned()],
            from: now,
            until,
        };
        let issued = read.issue(&subject).unwrap();
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der(made.certificate())).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .unwrap();
        let certificate = der(&issued.certificate);
        verifier
            .verify_client_cert(&certificate, &[], UnixTime::now())
            .unwrap();
        assert_eq!(
            crate::Leaf::read(&certificate).unwrap().uris(),
            ["spiffe://evenkeel/task"]
        );
    }
}
