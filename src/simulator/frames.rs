//! Writes event-stream frames, byte for byte as the SDK reads them. Must not know: what the events
//! mean, when they are sent.

use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use aws_smithy_types::str_bytes::StrBytes;
use bytes::{Bytes, BytesMut};

/// Appends one event. A payload that cannot be framed (larger than 16 MB) is left out: the
/// simulator writes none of that size.
pub(crate) fn write_event(buffer: &mut BytesMut, name: &'static str, payload: Vec<u8>) {
    let headers = vec![
        Header::new(":event-type", text(name)),
        Header::new(":content-type", text("application/json")),
        Header::new(":message-type", text("event")),
    ];
    write(buffer, headers, payload);
}

/// Appends the exception that ends a stream, named as errors are: here with a small first letter.
pub(crate) fn write_exception(buffer: &mut BytesMut, code: &'static str, payload: Vec<u8>) {
    let mut letters = code.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let name: String = first.into_iter().chain(letters).collect();
    let headers = vec![
        Header::new(":exception-type", HeaderValue::String(StrBytes::from(name))),
        Header::new(":content-type", text("application/json")),
        Header::new(":message-type", text("exception")),
    ];
    write(buffer, headers, payload);
}

fn text(value: &'static str) -> HeaderValue {
    HeaderValue::String(StrBytes::from(value))
}

fn write(buffer: &mut BytesMut, headers: Vec<Header>, payload: Vec<u8>) {
    let message = Message::new_from_parts(headers, Bytes::from(payload));
    let before = buffer.len();
    if aws_smithy_eventstream::frame::write_message_to(&message, buffer).is_err() {
        buffer.truncate(before);
    }
}
