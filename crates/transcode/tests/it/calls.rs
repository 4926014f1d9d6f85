//! From HTTP to a gRPC service and back, without a network: tonic's client calls tonic's server in process.

use futures::stream::{self, BoxStream, StreamExt as _};
use http::Method;
use proto::task::v1 as pb;
use proto::task::v1::watch_service_server::{WatchService, WatchServiceServer};
use rpc::error::Reason;
use serde_json::json;
use tonic::client::Grpc;
use tonic::{Request, Response, Status};
use transcode::codec::DynamicCodec;
use transcode::{Lang, Problem, Transcoder};

/// Answers with what it was asked.
struct Echo;

#[tonic::async_trait]
impl WatchService for Echo {
    type WatchStream = BoxStream<'static, Result<pb::WatchResponse, Status>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = request.into_inner().last_seq.unwrap_or_default();
        let event = |seq| Ok(pb::WatchResponse { seq, event: None });
        let too_slow = Reason::WatchTooSlow.status("task.evenkeel", "resume");
        let events = stream::iter((first..first + 3).map(event)).chain(stream::iter([Err(too_slow)]));
        Ok(Response::new(events.boxed()))
    }

    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let request = request.into_inner();
        let title = format!("{request:?}");
        let notification = pb::Notification {
            title,
            ..pb::Notification::default()
        };
        let response = pb::ListNotificationsResponse {
            notifications: vec![notification],
            next_page_token: request.page_token,
            unread: request.page_size,
        };
        Ok(Response::new(response))
    }

    async fn mark_notifications_read(
        &self,
        _request: Request<pb::MarkNotificationsReadRequest>,
    ) -> Result<Response<pb::MarkNotificationsReadResponse>, Status> {
        Err(Reason::InvalidArgument.status("task.evenkeel", "name some"))
    }
}

fn transcoder() -> Transcoder {
    Transcoder::new(&proto::descriptor_pool(), &["evenkeel.task.v1.WatchService"]).unwrap()
}

#[tokio::test]
async fn a_request_over_http_reaches_the_service_and_its_answer_comes_back() {
    let transcoder = transcoder();
    let route = transcoder.route(&Method::GET, "/api/v1/notifications").unwrap();
    let request = route
        .request(Some("pageSize=7&page_token=x&unreadOnly=true"), None)
        .unwrap();
    let codec = DynamicCodec::new(route.method().output());
    let mut client = Grpc::new(WatchServiceServer::new(Echo));
    let reply = client
        .unary(Request::new(request), route.grpc_path().clone(), codec)
        .await
        .unwrap();
    let answer: serde_json::Value =
        serde_json::from_slice(&route.response(reply.get_ref()).unwrap()).unwrap();
    assert_eq!(
        (&answer["unread"], &answer["nextPageToken"]),
        (&json!(7), &json!("x"))
    );
    assert!(
        answer["notifications"][0]["title"]
            .as_str()
            .unwrap()
            .contains("unread_only: true"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_refusal_becomes_a_problem() {
    let transcoder = transcoder();
    let route = transcoder
        .route(&Method::POST, "/api/v1/notifications/read")
        .unwrap();
    let request = route.request(None, Some(b"{}")).unwrap();
    let codec = DynamicCodec::new(route.method().output());
    let mut client = Grpc::new(WatchServiceServer::new(Echo));
    let status = client
        .unary(Request::new(request), route.grpc_path().clone(), codec)
        .await
        .unwrap_err();
    let problem = Problem::from_status(&status, Lang::En, "req_1");
    assert_eq!(
        (problem.reason, problem.detail.as_str()),
        (Reason::InvalidArgument, "name some")
    );
}

#[tokio::test]
async fn a_stream_comes_message_by_message_and_ends_with_its_status() {
    let method = proto::descriptor_pool()
        .get_service_by_name("evenkeel.task.v1.WatchService")
        .unwrap();
    let method = method.methods().find(|method| method.name() == "Watch").unwrap();
    let mut request = prost_reflect::DynamicMessage::new(method.input());
    request.set_field_by_name("last_seq", prost_reflect::Value::U64(40));
    let path = http::uri::PathAndQuery::from_static("/evenkeel.task.v1.WatchService/Watch");
    let mut client = Grpc::new(WatchServiceServer::new(Echo));
    let codec = DynamicCodec::new(method.output());
    let mut stream = client
        .server_streaming(Request::new(request), path, codec)
        .await
        .unwrap()
        .into_inner();
    for seq in 40..43 {
        let message = stream.message().await.unwrap().unwrap();
        assert_eq!(
            transcode::to_json(&message).unwrap(),
            format!("{{\"seq\":{seq}}}").into_bytes()
        );
    }
    let status = stream.message().await.unwrap_err();
    assert_eq!(
        Problem::from_status(&status, Lang::En, "req_1").reason,
        Reason::WatchTooSlow
    );
}
