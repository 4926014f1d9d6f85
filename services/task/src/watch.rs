//! WatchService: decode, operate, encode.

use futures::stream::BoxStream;
use ids::UserId;
use proto::task::v1 as pb;
use proto::task::v1::watch_service_server::WatchService;
use tonic::{Request, Response, Status};

use crate::app::list_notifications::{Page, list_notifications};
use crate::app::mark_notifications_read::{Which, mark_notifications_read};
use crate::app::{App, Error};
use crate::{DOMAIN, encode};

/// WatchService, as in `proto/evenkeel/task/v1/watch_service.proto`.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) app: App,
}

#[tonic::async_trait]
impl WatchService for Watch {
    type WatchStream = BoxStream<'static, Result<pb::WatchResponse, Status>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let user_id = subject(&request, &request.get_ref().user_id)?;
        let request = request.into_inner();
        let stream = self.app.feeds.watch(user_id, request.last_seq);
        Ok(Response::new(stream.map_err(Error::from)?))
    }

    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let user_id = subject(&request, &request.get_ref().user_id)?;
        let request = request.into_inner();
        let page = Page::parse(
            user_id,
            request.page_size,
            &request.page_token,
            request.unread_only,
        )?;
        let listed = list_notifications(&self.app, &page).await?;
        let notifications = listed.notifications.into_iter();
        Ok(Response::new(pb::ListNotificationsResponse {
            notifications: notifications.map(encode::notification).collect(),
            next_page_token: listed.next_page_token,
            unread: count(listed.unread),
        }))
    }

    async fn mark_notifications_read(
        &self,
        request: Request<pb::MarkNotificationsReadRequest>,
    ) -> Result<Response<pb::MarkNotificationsReadResponse>, Status> {
        let user_id = subject(&request, &request.get_ref().user_id)?;
        let request = request.into_inner();
        let which = Which::parse(&request.notification_ids, request.all)?;
        let unread = mark_notifications_read(&self.app, user_id, &which).await?;
        Ok(Response::new(pb::MarkNotificationsReadResponse {
            unread: count(unread),
        }))
    }
}

/// Returns whose feed a request is about: the user it names, or its caller.
fn subject<T>(request: &Request<T>, named: &str) -> Result<UserId, Status> {
    token::caller(request).subject_user(named, DOMAIN)
}

/// Encodes a count, which is never below zero.
fn count(rows: i64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
