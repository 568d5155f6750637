//! An answer on its way from its content to its bytes: what every interface needs to spell it, and
//! what each of them makes of it. Must not know: any interface's own words, clocks, faults.

use std::iter;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Content};
use super::frames::write_event;
use super::tokens;

/// Stands in an answer's text for half of a character, which no Rust string can hold: it is sent as
/// the JSON escape `\ud800`. It is a code point that no model's text holds, because it is none.
pub(crate) const LONE_SURROGATE: char = '\u{10FFFE}';

/// A stream has at most this many events of text; those of very long answers are longer.
const CHUNKS_MAX: usize = 4_096;

/// What there is to say.
pub(crate) struct Said<'a> {
    pub(crate) answer: &'a Answer,
    /// The model's id, as the caller wrote it.
    pub(crate) model_id: &'a str,
    pub(crate) input_tokens: u64,
    /// How long the answer takes in all.
    pub(crate) latency_ms: u64,
    /// How long its first byte takes.
    pub(crate) first_ms: u64,
    /// The call's number.
    pub(crate) seq: u64,
    /// Output tokens in one event of a stream.
    pub(crate) chunk_tokens: u64,
}

/// The counts that InvokeModel's last chunk carries.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metrics {
    input_token_count: u64,
    output_token_count: u64,
    invocation_latency: u64,
    first_byte_latency: u64,
}

impl Said<'_> {
    /// The text, or a tool's input as JSON text.
    pub(crate) fn text(&self) -> &str {
        match &self.answer.content {
            Content::Nothing => "",
            Content::Text(text) => text,
            Content::Tool { input, .. } => input,
        }
    }

    /// The text in the parts that a stream sends, each with the output tokens sent by its end.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u64, &str)> {
        let step = tokens::bytes_of(self.chunk_tokens.max(1));
        let mut left = self.text();
        let step = step.max(left.len().div_ceil(CHUNKS_MAX));
        let mut sent = 0;
        iter::from_fn(move || {
            let (chunk, rest) = left.split_at(left.ceil_char_boundary(step));
            left = rest;
            sent += tokens::output_tokens(chunk.len());
            (!chunk.is_empty()).then_some((sent, chunk))
        })
    }

    /// The id of a tool's call, behind the interface's own prefix.
    pub(crate) fn tool_use_id(&self, prefix: &str) -> String {
        format!("{prefix}_simulated_{}", self.seq)
    }

    /// The counts for a stream's last chunk.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics {
            input_token_count: self.input_tokens,
            output_token_count: self.answer.output_tokens,
            invocation_latency: self.latency_ms,
            first_byte_latency: self.first_ms,
        }
    }

    /// What InvokeModel says where a guardrail intervened, beside the model's own words.
    pub(crate) fn guardrail(&self) -> Option<&'static str> {
        (self.answer.stop == "guardrail_intervened").then_some("INTERVENED")
    }
}

/// A tool's input as a document; an empty one where it was cut and is none.
pub(crate) fn document(input: &str) -> Option<&RawValue> {
    serde_json::from_str(input).or_else(|_| serde_json::from_str("{}")).ok()
}

/// JSON text, with the escapes that no Rust string can hold.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    if text.contains(LONE_SURROGATE) { text.replace(LONE_SURROGATE, "\\ud800") } else { text }
}

/// An answer as bytes.
pub(crate) enum Spelt {
    /// One body.
    Whole(String),
    /// The frames of an event stream.
    Stream(Events),
}

/// Frames in one buffer, sent at once or at their times.
#[derive(Debug)]
pub(crate) struct Events {
    buffer: BytesMut,
    list: Vec<Event>,
}

/// One frame in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// Output tokens sent when it has been sent.
    pub(crate) tokens: u64,
    /// Where it ends in the buffer.
    pub(crate) end: usize,
}

impl Events {
    /// An empty stream with room for this text.
    pub(crate) fn for_text(text: &str) -> Self {
        Self { buffer: BytesMut::with_capacity(1_024 + text.len() * 6), list: Vec::new() }
    }

    /// Writes one frame, due when so many output tokens are.
    pub(crate) fn push(&mut self, tokens: u64, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.buffer);
        self.list.push(Event { tokens, end: self.buffer.len() });
    }

    /// Writes one event of a kind of its own.
    pub(crate) fn event(&mut self, tokens: u64, name: &'static str, payload: &impl Serialize) {
        let payload = json(payload).into_bytes();
        self.push(tokens, |buffer| write_event(buffer, name, payload));
    }

    /// Writes one chunk of a model's own stream.
    pub(crate) fn chunk(&mut self, tokens: u64, chunk: &impl Serialize) {
        let encoded = aws_smithy_types::base64::encode(json(chunk));
        let mut payload = Vec::with_capacity(encoded.len() + 12);
        payload.extend_from_slice(b"{\"bytes\":\"");
        payload.extend_from_slice(encoded.as_bytes());
        payload.extend_from_slice(b"\"}");
        self.push(tokens, |buffer| write_event(buffer, "chunk", payload));
    }

    /// The bytes, and where each frame ends.
    pub(crate) fn into_parts(self) -> (Bytes, Vec<Event>) {
        (self.buffer.freeze(), self.list)
    }
}
