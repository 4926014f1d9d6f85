//! The services behind the gateway: fakes that write down what they are asked and answer as a test says.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use proto::auth::v1::auth_service_server::{AuthService, AuthServiceServer};
use proto::auth::v1::{self as auth};
use proto::billing::v1::notify_service_server::{NotifyService, NotifyServiceServer};
use proto::billing::v1::{ReceiveNotifyRequest, ReceiveNotifyResponse};
use proto::task::v1::task_service_server::{TaskService, TaskServiceServer};
use proto::task::v1::watch_service_server::{WatchService, WatchServiceServer};
use proto::task::v1::{self as task, WatchRequest, WatchResponse};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::support::within;

/// One call as a service saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: &'static str,
    pub(crate) metadata: HeaderMap,
    /// The message as Rust shows it.
    pub(crate) message: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What becomes of one call; without a plan it is answered.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    Fail(Status),
    /// Answers when a permit is given.
    Hold(Arc<Semaphore>),
    Never,
}

/// A stream that the gateway has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) request: WatchRequest,
    pub(crate) metadata: HeaderMap,
    frames: mpsc::Sender<Result<WatchResponse, Status>>,
}

impl Opened {
    pub(crate) async fn send(&self, frame: WatchResponse) {
        within("the gateway takes a frame", self.frames.send(Ok(frame)))
            .await
            .unwrap();
    }

    /// Sends a frame if the gateway still wants it; tells whether it does.
    pub(crate) async fn try_send(&self, frame: WatchResponse) -> bool {
        self.frames.send(Ok(frame)).await.is_ok()
    }

    /// Breaks the stream off.
    pub(crate) async fn fail(self, status: Status) {
        within("the gateway takes a status", self.frames.send(Err(status)))
            .await
            .unwrap();
    }

    /// Waits until the gateway has let the stream go.
    pub(crate) async fn closed(&self) {
        within("the gateway lets a stream go", self.frames.closed()).await;
    }
}

/// The services, on one port. They end with the runtime of their test.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    streams: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Opened>>>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    plans: Mutex<VecDeque<Plan>>,
    /// Answers to attempts at a stream, before it is opened.
    refusals: Mutex<VecDeque<Status>>,
    opened: mpsc::UnboundedSender<Opened>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (opened, streams) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            plans: Mutex::default(),
            refusals: Mutex::default(),
            opened,
        });
        let fake = Fake(Arc::clone(&shared));
        let server = Server::builder()
            .add_service(TaskServiceServer::new(fake.clone()))
            .add_service(WatchServiceServer::new(fake.clone()))
            .add_service(NotifyServiceServer::new(fake.clone()))
            .add_service(AuthServiceServer::new(fake));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(server.serve_with_incoming(incoming));
        Self {
            addr,
            shared,
            streams: Arc::new(tokio::sync::Mutex::new(streams)),
        }
    }

    /// Says what becomes of the next calls, in their order.
    pub(crate) fn plan(&self, plans: impl IntoIterator<Item = Plan>) {
        self.shared.plans.lock().unwrap().extend(plans);
    }

    /// The next attempts to open a stream are refused.
    pub(crate) fn refuse_streams(&self, refusals: impl IntoIterator<Item = Status>) {
        self.shared.refusals.lock().unwrap().extend(refusals);
    }

    /// Returns all calls so far; streams do not count.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a service was called")
    }

    /// Waits for the next stream.
    pub(crate) async fn stream(&self) -> Opened {
        let next = async { self.streams.lock().await.recv().await };
        within("the gateway opens a stream", next).await.unwrap()
    }

    /// Returns how many streams wait to be looked at.
    pub(crate) async fn streams_waiting(&self) -> usize {
        self.streams.lock().await.len()
    }
}

#[derive(Debug, Clone)]
struct Fake(Arc<Shared>);

impl Fake {
    async fn act<M: Debug, A>(
        &self,
        method: &'static str,
        request: Request<M>,
        answer: impl FnOnce(M) -> A,
    ) -> Result<Response<A>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.0.seen.lock().unwrap().push(Seen {
            method,
            metadata: metadata.into_headers(),
            message: format!("{message:?}"),
        });
        let plan = self.0.plans.lock().unwrap().pop_front();
        match plan {
            None => {}
            Some(Plan::Fail(status)) => return Err(status),
            Some(Plan::Hold(permits)) => permits.acquire().await.unwrap().forget(),
            Some(Plan::Never) => std::future::pending().await,
        }
        Ok(Response::new(answer(message)))
    }
}

/// Makes a task of every order, with a number of its own.
fn created(request: task::CreateTaskRequest) -> task::CreateTaskResponse {
    task::CreateTaskResponse {
        task: Some(task::Task {
            task_id: format!("task_{}", uuid::Uuid::new_v4().simple()),
            user_id: request.user_id,
            feature_id: request.feature_id,
            input_data: request.input_data,
            state: task::TaskState::Pending.into(),
            ..task::Task::default()
        }),
    }
}

/// Shows the task that was asked for; its input is as many bytes as its id says: `bytes-5000`.
fn got(request: task::GetTaskRequest) -> task::GetTaskResponse {
    let bytes = request
        .task_id
        .strip_prefix("bytes-")
        .and_then(|n| n.parse().ok());
    task::GetTaskResponse {
        task: Some(task::Task {
            error_message: "x".repeat(bytes.unwrap_or_default()),
            task_id: request.task_id,
            ..task::Task::default()
        }),
    }
}

#[tonic::async_trait]
impl TaskService for Fake {
    async fn create_task(
        &self,
        request: Request<task::CreateTaskRequest>,
    ) -> Result<Response<task::CreateTaskResponse>, Status> {
        self.act("create_task", request, created).await
    }

    async fn get_task(
        &self,
        request: Request<task::GetTaskRequest>,
    ) -> Result<Response<task::GetTaskResponse>, Status> {
        self.act("get_task", request, got).await
    }

    async fn list_tasks(
        &self,
        request: Request<task::ListTasksRequest>,
    ) -> Result<Response<task::ListTasksResponse>, Status> {
        self.act("list_tasks", request, |_| task::ListTasksResponse::default())
            .await
    }

    async fn cancel_task(
        &self,
        request: Request<task::CancelTaskRequest>,
    ) -> Result<Response<task::CancelTaskResponse>, Status> {
        self.act("cancel_task", request, |_| task::CancelTaskResponse::default())
            .await
    }

    async fn list_features(
        &self,
        request: Request<task::ListFeaturesRequest>,
    ) -> Result<Response<task::ListFeaturesResponse>, Status> {
        self.act("list_features", request, |_| {
            task::ListFeaturesResponse::default()
        })
        .await
    }
}

#[tonic::async_trait]
impl AuthService for Fake {
    async fn send_sms_code(
        &self,
        request: Request<auth::SendSmsCodeRequest>,
    ) -> Result<Response<auth::SendSmsCodeResponse>, Status> {
        self.act("send_sms_code", request, |_| auth::SendSmsCodeResponse::default())
            .await
    }

    async fn login(
        &self,
        request: Request<auth::LoginRequest>,
    ) -> Result<Response<auth::LoginResponse>, Status> {
        self.act("login", request, |_| auth::LoginResponse::default())
            .await
    }

    async fn register(
        &self,
        request: Request<auth::RegisterRequest>,
    ) -> Result<Response<auth::RegisterResponse>, Status> {
        self.act("register", request, |_| auth::RegisterResponse::default())
            .await
    }

    async fn wechat_login(
        &self,
        request: Request<auth::WechatLoginRequest>,
    ) -> Result<Response<auth::WechatLoginResponse>, Status> {
        self.act("wechat_login", request, |_| auth::WechatLoginResponse::default())
            .await
    }

    async fn refresh(
        &self,
        request: Request<auth::RefreshRequest>,
    ) -> Result<Response<auth::RefreshResponse>, Status> {
        self.act("refresh", request, |_| auth::RefreshResponse::default())
            .await
    }

    async fn logout(
        &self,
        request: Request<auth::LogoutRequest>,
    ) -> Result<Response<auth::LogoutResponse>, Status> {
        self.act("logout", request, |_| auth::LogoutResponse::default())
            .await
    }

    async fn logout_everywhere(
        &self,
        request: Request<auth::LogoutEverywhereRequest>,
    ) -> Result<Response<auth::LogoutEverywhereResponse>, Status> {
        self.act("logout_everywhere", request, |_| {
            auth::LogoutEverywhereResponse::default()
        })
        .await
    }

    async fn reset_password(
        &self,
        request: Request<auth::ResetPasswordRequest>,
    ) -> Result<Response<auth::ResetPasswordResponse>, Status> {
        self.act("reset_password", request, |_| {
            auth::ResetPasswordResponse::default()
        })
        .await
    }

    async fn get_jwks(
        &self,
        request: Request<auth::GetJwksRequest>,
    ) -> Result<Response<auth::GetJwksResponse>, Status> {
        self.act("get_jwks", request, |_| auth::GetJwksResponse::default())
            .await
    }
}

#[tonic::async_trait]
impl WatchService for Fake {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if let Some(status) = self.0.refusals.lock().unwrap().pop_front() {
            return Err(status);
        }
        let (metadata, _, request) = request.into_parts();
        let (frames, stream) = mpsc::channel(1);
        let opened = Opened {
            request,
            metadata: metadata.into_headers(),
            frames,
        };
        // A test that does not look at streams may have dropped its end.
        let _ = self.0.opened.send(opened);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_notifications(
        &self,
        request: Request<task::ListNotificationsRequest>,
    ) -> Result<Response<task::ListNotificationsResponse>, Status> {
        self.act("list_notifications", request, |_| {
            task::ListNotificationsResponse::default()
        })
        .await
    }

    async fn mark_notifications_read(
        &self,
        request: Request<task::MarkNotificationsReadRequest>,
    ) -> Result<Response<task::MarkNotificationsReadResponse>, Status> {
        self.act("mark_notifications_read", request, |_| {
            task::MarkNotificationsReadResponse::default()
        })
        .await
    }
}

/// Takes every notification, and says how many bytes it had.
#[tonic::async_trait]
impl NotifyService for Fake {
    async fn receive_notify(
        &self,
        request: Request<ReceiveNotifyRequest>,
    ) -> Result<Response<ReceiveNotifyResponse>, Status> {
        self.act("ReceiveNotify", request, |request| ReceiveNotifyResponse {
            status: 202,
            content_type: "text/plain".to_owned(),
            body: request.body.len().to_string().into(),
        })
        .await
    }
}
