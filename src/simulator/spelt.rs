//! An answer on its way from its content to its bytes: what every interface needs to spell it, and
//! what each of them makes of it. Must not know: any interface's own words, clocks, faults.

use std::iter;

use bytes::{Bytes, BytesMut};

use super::answer::{Answer, Content};
use super::tokens;

/// What there is to say.
pub(super) struct Said<'a> {
    pub(super) answer: &'a Answer,
    pub(super) input_tokens: u64,
    /// How long the answer takes in all.
    pub(super) latency_ms: u64,
    /// The call's number.
    pub(super) seq: u64,
    /// Output tokens in one event of a stream.
    pub(super) chunk_tokens: u64,
}

impl Said<'_> {
    /// The text, or a tool's input as JSON text.
    pub(super) fn text(&self) -> &str {
        match &self.answer.content {
            Content::Nothing => "",
            Content::Text(text) => text,
            Content::Tool { input, .. } => input,
        }
    }

    /// The text in the parts that a stream sends.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &str> {
        let step = tokens::bytes_of(self.chunk_tokens.max(1));
        let mut left = self.text();
        iter::from_fn(move || {
            let (chunk, rest) = left.split_at(left.ceil_char_boundary(step));
            left = rest;
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// The id of a tool's call.
    pub(super) fn tool_use_id(&self) -> String {
        format!("tooluse_simulated_{}", self.seq)
    }
}

/// An answer as bytes.
pub(super) enum Spelt {
    /// One body.
    Whole(String),
    /// The frames of an event stream.
    Stream(Events),
}

/// Frames in one buffer, sent at once or at their times.
#[derive(Debug)]
pub(super) struct Events {
    buffer: BytesMut,
    list: Vec<Event>,
}

/// One frame in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Output tokens sent when it has been sent.
    pub(super) tokens: u64,
    /// Where it ends in the buffer.
    pub(super) end: usize,
}

impl Events {
    /// An empty stream with room for this text.
    pub(super) fn for_text(text: &str) -> Self {
        Self { buffer: BytesMut::with_capacity(1_024 + text.len() * 6), list: Vec::new() }
    }

    /// Writes one frame, due when so many output tokens are.
    pub(super) fn push(&mut self, tokens: u64, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.buffer);
        self.list.push(Event { tokens, end: self.buffer.len() });
    }

    /// The bytes, and where each frame ends.
    pub(super) fn into_parts(self) -> (Bytes, Vec<Event>) {
        (self.buffer.freeze(), self.list)
    }
}
