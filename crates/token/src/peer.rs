//! Services that prove who they are by the certificate of their connection (mutual TLS).

use std::time::SystemTime;

use http::Extensions;
use rustls_pki_types::CertificateDer;
use tls::Leaf;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::caller::ServiceName;

/// What stands before the name in the certificate (SPIFFE-ID, 2): `spiffe://evenkeel/task`.
const TRUST_DOMAIN: &str = "spiffe://evenkeel/";

/// Returns the service that holds a certificate: the one URI in it, whatever DNS names there are beside. With none, or several,
/// it is not an identity (X.509-SVID, 2).
#[must_use]
pub fn certified(leaf: &Leaf) -> Option<ServiceName> {
    let [uri] = leaf.uris() else { return None };
    uri.strip_prefix(TRUST_DOMAIN)?.parse().ok()
}

/// Returns the URI by which a certificate names a service.
#[must_use]
pub fn certificate_uri(name: &ServiceName) -> String {
    format!("{TRUST_DOMAIN}{name}")
}

/// Returns the service that holds the certificate of the connection, if the connection has one that names a service. That it
/// was issued by an authority that we trust, was checked when the connection was made; that it has not expired since, is checked
/// at each request, because connections live long.
pub(crate) fn service(extensions: &Extensions, now: SystemTime) -> Option<ServiceName> {
    let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
    let certificates = connection.peer_certs()?;
    name_in(certificates.first()?, now)
}

fn name_in(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<ServiceName> {
    let leaf = Leaf::read(certificate).ok()?;
    leaf.is_valid_at(now).then(|| certified(&leaf)).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd,
    };

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    /// The first of January 2026.
    const BEGIN: Duration = Duration::from_secs(1_767_225_600);

    fn params(uris: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["task.internal".to_owned()]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 1, 11);
        params
    }

    fn named(params: &CertificateParams, after: Duration) -> Option<ServiceName> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        name_in(certificate.der(), UNIX_EPOCH + BEGIN + after)
    }

    #[test]
    fn the_certificate_names_the_service() {
        let task: ServiceName = "task".parse().unwrap();
        let uri = certificate_uri(&task);
        assert_eq!(uri, "spiffe://evenkeel/task");
        assert_eq!(named(&params(&[&uri]), DAY), Some(task));
    }

    #[test]
    fn other_certificates_name_nobody() {
        for uris in [
            &[][..],
            &["https://evenkeel/task"],
            &["SPIFFE://evenkeel/task"],
            &["spiffe://elsewhere/task"],
            &["spiffe://evenkeel/ns/task"],
            &["spiffe://evenkeel/task?x"],
            &["spiffe://evenkeel/"],
            &["spiffe://evenkeel/task", "spiffe://evenkeel/saga"],
            &["spiffe://evenkeel/task", "https://elsewhere/"],
        ] {
            assert_eq!(named(&params(uris), DAY), None, "{uris:?}");
        }
    }

    #[test]
    fn a_name_holds_while_the_certificate_does() {
        let params = params(&["spiffe://evenkeel/task"]);
        assert!(named(&params, 10 * DAY).is_some());
        assert_eq!(named(&params, 10 * DAY + Duration::from_secs(1)), None);
    }

    #[test]
    fn neither_an_authority_nor_a_mere_server_is_a_service() {
        let mut authority = params(&["spiffe://evenkeel/task"]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert_eq!(named(&authority, DAY), None);
        for usages in [vec![], vec![ExtendedKeyUsagePurpose::ServerAuth]] {
            let mut server = params(&["spiffe://evenkeel/task"]);
            server.extended_key_usages = usages;
            assert_eq!(named(&server, DAY), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert_eq!(name_in(&CertificateDer::from(bytes), UNIX_EPOCH + BEGIN), None);
        }
    }
}
