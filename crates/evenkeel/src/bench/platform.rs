//! The services of a benchmark as processes of their own, and users whose tokens they believe.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use ids::UserId;
use private_postgres::PrivatePostgres;
use proto::auth::v1::{GetJwksRequest, GetJwksResponse};
use token::{AccessClaims, Role, SigningKey, User};
use tokio::net::TcpListener;
use tonic::server::Grpc;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;

use crate::exit::Failure;
use crate::identity::{self, Identity};
use crate::own::{self, Process, Scratch};
use crate::wiring::database;
use crate::wiring::settings::Name;

pub(super) const ANY_PORT: &str = "127.0.0.1:0";
/// A service that does not answer after this time is not going to.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Life of a user's token: the longest that is believed, so that none ends within a measurement.
const TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);

/// A database, keys, and users. The server must be stopped with [`close`](Self::close).
pub(super) struct Platform {
    // Dropped in this order: the server lives in the directory.
    server: PrivatePostgres,
    users: Users,
    scratch: Scratch,
}

impl Platform {
    /// Starts a private Postgres with the schemas of some services.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn open(names: &[Name]) -> Result<Self, Failure> {
        let scratch = Scratch::new("bench")?;
        identity::ensure(&scratch.keys())?;
        let users = Users::serve().await?;
        let server = own::postgres(&scratch).await?;
        let platform = Self {
            server,
            users,
            scratch,
        };
        match database::migrate(&platform.database(), names).await {
            Ok(()) => Ok(platform),
            Err(failure) => {
                platform.close().await;
                Err(failure)
            }
        }
    }

    /// URL of the database.
    pub(super) fn database(&self) -> String {
        self.server.url("postgres")
    }

    /// Value of `authorization` of a user.
    pub(super) fn bearer(&self, user_id: UserId) -> String {
        self.users.bearer(user_id)
    }

    /// As whom the benchmark calls services.
    ///
    /// # Errors
    /// Its key cannot be read.
    pub(super) fn bench(&self) -> Result<Identity, Failure> {
        Ok(Identity::of(identity::open(&self.scratch.keys(), "bench")?))
    }

    /// As whom an operator calls services.
    ///
    /// # Errors
    /// Its key cannot be read.
    pub(super) fn operator(&self) -> Result<Identity, Failure> {
        Identity::operator(Some(&self.scratch.keys()))
    }

    /// Starts a service as production does: a process of its own, with its defaults.
    ///
    /// # Errors
    /// It ends before it listens.
    pub(super) async fn serve(&self, name: Name, envs: &[(&str, &str)]) -> Result<Process, Failure> {
        self.serve_at(name, ANY_PORT, ANY_PORT, &[], envs).await
    }

    /// The same at these addresses, the second for steps if it answers any, and with further arguments.
    ///
    /// # Errors
    /// It ends before it listens.
    pub(super) async fn serve_at(
        &self,
        name: Name,
        listen: &str,
        steps: &str,
        more: &[&str],
        envs: &[(&str, &str)],
    ) -> Result<Process, Failure> {
        let mut args = vec!["serve", name.text(), "--until-stdin-closes", "--listen", listen];
        if name.steps_port_offset().is_some() {
            args.extend(["--steps-listen", steps]);
        }
        args.extend(more);
        let (database, keys) = (self.database(), self.scratch.keys());
        let keys = keys.display().to_string();
        let mut all = vec![
            ("DATABASE_URL", database.as_str()),
            ("EVENKEEL_AUTH_URL", self.users.url.as_str()),
            ("EVENKEEL_TELEMETRY__LEVEL", "warn"),
            (identity::VARIABLE, keys.as_str()),
        ];
        all.extend(envs);
        Process::start(&args, &all, true).await
    }

    /// Makes the keys under which billing seals what it encrypts.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn sealing_keys(&self) -> Result<(), Failure> {
        let file = self.scratch.keys().join("kms.json");
        let made = kms::create_file(&file);
        made.map(drop)
            .map_err(|e| Failure::unavailable("the key file cannot be made").because(&e))
    }

    /// Directory for files of processes that the benchmark starts itself.
    pub(super) fn directory(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// Stops the server. Processes of the benchmark must have ended, or do not mind.
    pub(super) async fn close(self) {
        self.server.stop().await;
    }
}

/// Users, whose tokens are signed here, and what of the auth service others need to believe them: its public keys.
struct Users {
    key: SigningKey,
    url: String,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Drop for Users {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Users {
    async fn serve() -> Result<Self, Failure> {
        let failed = |e: &dyn std::error::Error| Failure::unavailable("cannot serve users' keys").because(e);
        let key = SigningKey::generate().map_err(|e| failed(&e))?;
        let answer = GetJwksResponse {
            keys: vec![key.jwk().into()],
        };
        let method = tower::service_fn(move |request: http::Request<Body>| {
            let answer = answer.clone();
            async move {
                let answer = tower::service_fn(move |_: tonic::Request<GetJwksRequest>| {
                    std::future::ready(Ok(tonic::Response::new(answer.clone())))
                });
                let codec = ProstCodec::<GetJwksResponse, GetJwksRequest>::default();
                Ok::<_, Infallible>(Grpc::new(codec).unary(answer, request).await)
            }
        });
        let router = axum::Router::new().route_service("/evenkeel.auth.v1.AuthService/GetJwks", method);
        let listener = TcpListener::bind(ANY_PORT).await.map_err(|e| failed(&e))?;
        let address = listener.local_addr().map_err(|e| failed(&e))?;
        let serving = tonic::transport::Server::builder()
            .add_routes(Routes::from(router))
            .serve_with_incoming(TcpIncoming::from(listener));
        Ok(Self {
            key,
            url: format!("http://{address}"),
            serving: tokio::spawn(serving),
        })
    }

    fn bearer(&self, user_id: UserId) -> String {
        let now = SystemTime::now();
        let claims = AccessClaims {
            user: User {
                user_id,
                session_id: "bench".into(),
                role: Role::User,
                epoch: 0,
            },
            token_id: "bench".into(),
            issued_at: now,
            expires_at: now + TOKEN_LIFE,
        };
        format!("Bearer {}", token::sign_access(&claims, &self.key))
    }
}

/// Repeats a call until it succeeds: what has been started may not be ready yet.
///
/// # Errors
/// The last failure, after 20 s.
pub(super) async fn until_answered<T>(
    mut call: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match call().await {
            Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(POLL).await,
            answer => return answer,
        }
    }
}
