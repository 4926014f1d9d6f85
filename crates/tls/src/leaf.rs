//! What a certificate says of its holder.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// A certificate is not that of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// It is not X.509, or an extension that matters is broken or there twice.
    #[error("it is no certificate")]
    Malformed,
    /// It could issue others.
    #[error("it is an authority's")]
    Authority,
    /// It may not be shown to a server.
    #[error("its extended key usage is without clientAuth")]
    NoClientAuth,
    /// It may not be shown to a client.
    #[error("its extended key usage is without serverAuth")]
    NoServerAuth,
}

/// A certificate of a process: not an authority's, and made for being shown to servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    uris: Vec<String>,
    hosts: Vec<String>,
    is_for_servers: bool,
    not_before: i64,
    not_after: i64,
}

impl Leaf {
    /// Reads a certificate. Who issued it is not checked here.
    ///
    /// # Errors
    /// It is none, an authority's (basic constraints, or the right to sign certificates or lists; X.509-SVID, 4), or its
    /// extended key usage does not name clientAuth (RFC 5280, 4.2.1.12): one without that extension is good for anything, which
    /// is too much.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, LeafError> {
        let (rest, certificate) = X509Certificate::from_der(certificate).map_err(|_| LeafError::Malformed)?;
        if !rest.is_empty() {
            return Err(LeafError::Malformed);
        }
        let constraints = certificate
            .basic_constraints()
            .map_err(|_| LeafError::Malformed)?;
        let usage = certificate.key_usage().map_err(|_| LeafError::Malformed)?;
        let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
        if signs || constraints.is_some_and(|constraints| constraints.value.ca) {
            return Err(LeafError::Authority);
        }
        let purposes = certificate
            .extended_key_usage()
            .map_err(|_| LeafError::Malformed)?;
        if !purposes
            .as_ref()
            .is_some_and(|purposes| purposes.value.client_auth)
        {
            return Err(LeafError::NoClientAuth);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| LeafError::Malformed)?;
        let mut leaf = Self {
            uris: Vec::new(),
            hosts: Vec::new(),
            is_for_servers: purposes.is_some_and(|purposes| purposes.value.server_auth),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        };
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => leaf.uris.push((*uri).to_owned()),
                GeneralName::DNSName(host) => leaf.hosts.push((*host).to_owned()),
                // An identity could hide in what was not understood.
                GeneralName::Invalid(..) => return Err(LeafError::Malformed),
                GeneralName::OtherName(..)
                | GeneralName::RFC822Name(_)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        Ok(leaf)
    }

    /// Returns the URIs it names, of which an identity is the only one (X.509-SVID, 2).
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Returns the DNS names it names.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Tells whether it may be shown to clients, too.
    #[must_use]
    pub const fn is_for_servers(&self) -> bool {
        self.is_for_servers
    }

    /// Returns the last second in which it is valid, in seconds since 1970.
    #[must_use]
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Returns the first second in which it is valid, in seconds since 1970.
    #[must_use]
    pub const fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Tells whether it is valid at a time.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&seconds(now))
    }
}

/// Unix time in whole seconds; 0 for a clock before 1970, at which no certificate of ours is valid.
pub(crate) fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
    use rcgen::{CustomExtension, ExtendedKeyUsagePurpose};

    use super::*;

    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(vec!["task.internal".to_owned()]).unwrap();
        let uri = "spiffe://evenkeel/task".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    fn read(params: &CertificateParams) -> Result<Leaf, LeafError> {
        let key = KeyPair::generate().unwrap();
        Leaf::read(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn names_and_purposes_are_read() {
        let leaf = read(&params()).unwrap();
        assert_eq!(leaf.uris(), ["spiffe://evenkeel/task"]);
        assert_eq!(leaf.hosts(), ["task.internal"]);
        assert!(!leaf.is_for_servers());
        let mut both = params();
        both.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        assert!(read(&both).unwrap().is_for_servers());
    }

    #[test]
    fn an_authority_is_no_process() {
        let mut authority = params();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert_eq!(read(&authority), Err(LeafError::Authority));
        let mut signer = params();
        signer.is_ca = IsCa::ExplicitNoCa;
        signer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        assert_eq!(read(&signer), Err(LeafError::Authority));
    }

    #[test]
    fn a_certificate_must_be_made_for_clients() {
        let mut any = params();
        any.extended_key_usages.clear();
        assert_eq!(read(&any), Err(LeafError::NoClientAuth));
        any.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        assert_eq!(read(&any), Err(LeafError::NoClientAuth));
        any.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        assert_eq!(read(&any), Err(LeafError::NoClientAuth));
    }

    #[test]
    fn a_broken_extension_is_not_passed_over() {
        let mut broken = params();
        broken.subject_alt_names.clear();
        let names = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x05, 0x01]);
        broken.custom_extensions.push(names);
        assert_eq!(read(&broken), Err(LeafError::Malformed));
        let mut twice = params();
        let names = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x00]);
        twice.custom_extensions.push(names);
        assert_eq!(read(&twice), Err(LeafError::Malformed));
    }

    #[test]
    fn it_is_valid_from_its_first_second_to_its_last() {
        let leaf = read(&params()).unwrap();
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        assert!(leaf.is_valid_at(at(leaf.not_before())));
        assert!(!leaf.is_valid_at(at(leaf.not_before() - 1)));
        assert!(leaf.is_valid_at(at(leaf.not_after())));
        assert!(!leaf.is_valid_at(at(leaf.not_after() + 1)));
        assert!(!leaf.is_valid_at(UNIX_EPOCH - Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert_eq!(Leaf::read(&CertificateDer::from(bytes)), Err(LeafError::Malformed));
        }

        #[test]
        fn no_flipped_byte_makes_it_panic(place: prop::sample::Index, value: u8) {
            let key = KeyPair::generate().unwrap();
            let mut bytes = params().self_signed(&key).unwrap().der().to_vec();
            let at = place.index(bytes.len());
            bytes[at] = value;
            let _ = Leaf::read(&CertificateDer::from(bytes));
        }
    }
}
