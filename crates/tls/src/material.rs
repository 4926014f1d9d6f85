//! The files as they are read, and what listeners and channels make of them.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use zeroize::Zeroizing;

use crate::config::{CERTIFICATE, KEY, Paths, TRUST};
use crate::error::{Error, Problem};
use crate::leaf::{self, Leaf};

/// gRPC is HTTP/2 (RFC 9113, 3.2).
pub(crate) const PROTOCOL: &[u8] = b"h2";
/// Largest file, in bytes: some hundred certificates.
const MAX_FILE_BYTES: u64 = 512 * 1024;
/// Most certificates in a chain: longer ones are not verified anyway.
const MAX_CHAIN: usize = 10;
/// Most authorities in a bundle.
const MAX_AUTHORITIES: usize = 256;

/// The contents of the three files. Compared to see whether they have changed.
#[derive(PartialEq, Eq)]
pub(crate) struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    trust: Vec<u8>,
}

impl Contents {
    /// Reads the files.
    pub(crate) fn read(paths: &Paths) -> Result<Self, Error> {
        Ok(Self {
            certificate: read(&paths.certificate).map_err(about(CERTIFICATE, &paths.certificate))?,
            key: Zeroizing::new(read(&paths.key).map_err(about(KEY, &paths.key))?),
            trust: read(&paths.trust).map_err(about(TRUST, &paths.trust))?,
        })
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There is a private key in it.
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// What is in use.
#[derive(Debug)]
pub(crate) struct Material {
    /// Number of the change that brought it; the first is 0.
    pub(crate) generation: u64,
    /// What it was made of.
    pub(crate) contents: Contents,
    pub(crate) leaf: Leaf,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Material {
    /// Checks what was read, all that others would refuse at a handshake included.
    pub(crate) fn make(
        contents: Contents,
        paths: &Paths,
        generation: u64,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let of_trust = about(TRUST, &paths.trust);
        let roots = roots(&contents.trust).map_err(of_trust)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| Problem::Unusable(error.to_string()))
            .map_err(about(TRUST, &paths.trust))?;
        let chain = certificates(&contents.certificate, "certificate", MAX_CHAIN)
            .map_err(about(CERTIFICATE, &paths.certificate))?;
        let leaf = check_chain(&chain, &*verifier, now).map_err(about(CERTIFICATE, &paths.certificate))?;
        let certified = certified(chain, &contents.key, &provider).map_err(about(KEY, &paths.key))?;
        let configs = configs(certified, verifier, roots, &provider);
        let (server, client) = configs
            .map_err(|error| Problem::Unusable(error.to_string()))
            .map_err(about(CERTIFICATE, &paths.certificate))?;
        Ok(Self {
            generation,
            contents,
            leaf,
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

/// Says once, at the start, that a key lies open.
pub(crate) fn warn_of_open_key(paths: &Paths) {
    let mode = std::fs::metadata(&paths.key).map_or(0, |file| file.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(path = %paths.key.display(), "this private key can be read by everybody on this machine");
    }
}

/// Adds setting and file to a problem.
pub(crate) fn about(setting: &'static str, path: &Path) -> impl FnOnce(Problem) -> Error {
    let path: PathBuf = path.to_owned();
    move |problem| Error::File {
        setting,
        path,
        problem,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::TooLarge(MAX_FILE_BYTES));
    }
    Ok(bytes)
}

fn certificates(
    pem: &[u8],
    what: &'static str,
    most: usize,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .take(most + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| Problem::Empty(what))?;
    match all.len() {
        0 => Err(Problem::Empty(what)),
        found if found > most => Err(Problem::TooMany(most)),
        _ => Ok(all),
    }
}

fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, Problem> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem, "authority", MAX_AUTHORITIES)? {
        roots.add(authority).map_err(|_| Problem::NoAuthority)?;
    }
    Ok(Arc::new(roots))
}

/// Checks the own chain as those will whom it is shown to.
fn check_chain(
    chain: &[CertificateDer<'static>],
    verifier: &dyn ClientCertVerifier,
    now: SystemTime,
) -> Result<Leaf, Problem> {
    let (own, between) = chain.split_first().ok_or(Problem::Empty("certificate"))?;
    let leaf = Leaf::read(own).map_err(Problem::Leaf)?;
    if !leaf.is_for_servers() {
        return Err(Problem::Leaf(leaf::LeafError::NoServerAuth));
    }
    let seconds = leaf::seconds(now);
    if seconds < leaf.not_before() {
        return Err(Problem::NotYetValid(leaf.not_before()));
    }
    if seconds > leaf.not_after() {
        return Err(Problem::Expired(leaf.not_after()));
    }
    let since = Duration::from_secs(seconds.unsigned_abs());
    verifier
        .verify_client_cert(own, between, UnixTime::since_unix_epoch(since))
        .map_err(Problem::Untrusted)?;
    Ok(leaf)
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    pem: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Problem> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| Problem::Empty("private key"))?;
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(Problem::Key)
}

fn configs(
    certified: Arc<CertifiedKey>,
    verifier: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<(ServerConfig, ClientConfig), rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certified))));
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A resumed session would bring along the certificate of an earlier connection, unchecked.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    Ok((server, client))
}
