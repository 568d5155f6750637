//! Writes event-stream frames, byte for byte as the SDK reads them. Must not know: what the events
//! mean, when they are sent.

use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::str_bytes::StrBytes;
use bytes::{Bytes, BytesMut};

/// Appends one event. A payload that cannot be framed (larger than 16 MB) is left out: the
/// simulator writes none of that size.
pub(crate) fn write_event(buffer: &mut BytesMut, name: &'static str, payload: Vec<u8>) {
    let text = |value: &'static str| HeaderValue::String(StrBytes::from(value));
    let headers = vec![
        Header::new(":event-type", text(name)),
        Header::new(":content-type", text("application/json")),
        Header::new(":message-type", text("event")),
    ];
    let message = Message::new_from_parts(headers, Bytes::from(payload));
    let before = buffer.len();
    if aws_smithy_eventstream::frame::write_message_to(&message, buffer).is_err() {
        buffer.truncate(before);
    }
}
