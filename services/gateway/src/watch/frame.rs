//! What a watcher is sent.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, ReflectMessage as _};

/// One frame: an event of the feed as JSON.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) seq: u64,
    /// Name of the member that the event is in.
    pub(super) kind: String,
    /// `{"type":"task","seq":7,"task":{…}}`
    pub(super) json: Bytes,
}

impl Frame {
    /// Writes a `WatchResponse`; `None` for an event that this gateway does not know, which a newer one would show.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(super) fn new(response: &DynamicMessage) -> Result<Option<Self>, transcode::Unwritable> {
        let descriptor = response.descriptor();
        let known = descriptor
            .oneofs()
            .find(|oneof| oneof.name() == "event")
            .and_then(|oneof| oneof.fields().find(|field| response.has_field(field)));
        let Some(event) = known else { return Ok(None) };
        let seq = response
            .get_field_by_name("seq")
            .and_then(|seq| seq.as_u64())
            .unwrap_or_default();
        let kind = event.json_name().to_owned();
        let body = transcode::to_json(response)?;
        let mut json = format!("{{\"type\":\"{kind}\",").into_bytes();
        // An object that has at least `seq`.
        json.extend_from_slice(body.strip_prefix(b"{").unwrap_or(&body));
        Ok(Some(Self {
            seq,
            kind,
            json: json.into(),
        }))
    }

    /// Bytes that it takes while it waits.
    pub(super) fn size(&self) -> usize {
        self.json.len()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::task::v1::watch_response::Event;
    use proto::task::v1::{Notification, WatchHeartbeat, WatchResponse};

    use super::*;

    fn frame(response: &WatchResponse) -> Option<Frame> {
        let descriptor = proto::descriptor_pool()
            .get_message_by_name("evenkeel.task.v1.WatchResponse")
            .unwrap();
        let dynamic = DynamicMessage::decode(descriptor, response.encode_to_vec().as_slice()).unwrap();
        Frame::new(&dynamic).unwrap()
    }

    #[test]
    fn a_frame_says_its_type_before_all() {
        let notification = Notification {
            title: "t".to_owned(),
            ..Notification::default()
        };
        let frame = frame(&WatchResponse {
            seq: 7,
            event: Some(Event::Notification(notification)),
        })
        .unwrap();
        assert_eq!((frame.seq, frame.kind.as_str()), (7, "notification"));
        let json: serde_json::Value = serde_json::from_slice(&frame.json).unwrap();
        assert_eq!(json["type"], "notification");
        assert_eq!(json["seq"], 7);
        assert_eq!(json["notification"]["title"], "t");
        assert!(frame.json.starts_with(br#"{"type":"#));
    }

    #[test]
    fn a_heartbeat_before_any_event_has_number_nought() {
        let heartbeat = Event::Heartbeat(WatchHeartbeat::default());
        let frame = frame(&WatchResponse {
            seq: 0,
            event: Some(heartbeat),
        })
        .unwrap();
        assert_eq!((frame.seq, frame.kind.as_str()), (0, "heartbeat"));
    }

    #[test]
    fn an_event_of_a_kind_that_is_not_known_is_left_out() {
        assert!(frame(&WatchResponse { seq: 3, event: None }).is_none());
    }
}
