//! Services that prove who they are by the certificate of their connection (mutual TLS).

use http::Extensions;
use rustls_pki_types::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use webpki::EndEntityCert;

use crate::caller::ServiceName;

/// What stands before the name in the certificate (SPIFFE-ID, 2): `spiffe://evenkeel/task`.
const TRUST_DOMAIN: &str = "spiffe://evenkeel/";

/// Returns the service that holds the certificate of the connection, if the connection has one that names a service. That it
/// was issued by an authority that we trust, was checked when the connection was made.
pub(crate) fn service(extensions: &Extensions) -> Option<ServiceName> {
    let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
    let certificates = connection.peer_certs()?;
    name_in(certificates.first()?)
}

/// Reads the one URI of a certificate; with none, or several, it is not an identity (X.509-SVID, 2).
fn name_in(certificate: &CertificateDer<'_>) -> Option<ServiceName> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    let uri = uris.next()?;
    if uris.next().is_some() {
        return None;
    }
    uri.strip_prefix(TRUST_DOMAIN)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["task.internal".to_owned()]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_certificate_names_the_service() {
        let name = name_in(&certificate(&["spiffe://evenkeel/task"]));
        assert_eq!(name, Some("task".parse().unwrap()));
    }

    #[test]
    fn other_certificates_name_nobody() {
        for uris in [
            &[][..],
            &["https://evenkeel/task"],
            &["spiffe://elsewhere/task"],
            &["spiffe://evenkeel/ns/task"],
            &["spiffe://evenkeel/"],
            &["spiffe://evenkeel/task", "spiffe://evenkeel/saga"],
        ] {
            assert_eq!(name_in(&certificate(uris)), None, "{uris:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert_eq!(name_in(&CertificateDer::from(bytes)), None);
        }
    }
}
