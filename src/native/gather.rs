//! An answer as it grows, whatever its format: text, a tool's input, stop reason, counts.
//! Must not know: how a format spells them.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::mended::form;
use super::usage::{Counts, settle};
use super::{Answer, Counted, Unreadable, claude, llama, mistral, nova};
use crate::catalogue::Format;
use crate::completion::StopReason;

/// An answer as it grows.
#[derive(Debug)]
pub struct Gather {
    format: Format,
    bytes_max: usize,
    text: String,
    /// The first tool's input; a forced tool is called once, and two inputs joined are not JSON.
    tool: String,
    tool_block: Option<u64>,
    stop: Option<StopReason>,
    /// A guardrail's word stands beside the body and outweighs the model's own stop reason.
    guardrail: bool,
    counts: Counts,
    metrics: Counts,
    /// The format announces its end, and it has not come yet.
    open: bool,
}

impl Gather {
    /// Nothing yet; at most `bytes_max` of text are kept.
    #[must_use]
    pub fn new(format: Format, bytes_max: usize) -> Self {
        Self {
            format,
            bytes_max,
            text: String::new(),
            tool: String::new(),
            tool_block: None,
            stop: None,
            guardrail: false,
            counts: Counts::default(),
            metrics: Counts::default(),
            open: format == Format::Claude,
        }
    }

    /// Takes in one chunk of a stream and returns the text that it added: text, or a tool's input
    /// where no text came before. Joined, the pieces are the answer's text, except where a model
    /// speaks first and then calls a tool: the answer is the tool's input then.
    ///
    /// # Errors
    /// Where the chunk is not of the format, or the answer is too long. What came before is kept
    /// for `partial`.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<&str, Unreadable> {
        let (text, tool) = (self.text.len(), self.tool.len());
        match self.format {
            Format::Claude => claude::chunk(self, bytes),
            Format::Llama3 | Format::Llama4 => llama::chunk(self, bytes),
            Format::MistralInstruct | Format::MistralChat => mistral::chunk(self, bytes),
            Format::Nova => nova::chunk(self, bytes),
        }?;
        let (whole, known) =
            if self.text.is_empty() { (&self.tool, tool) } else { (&self.text, text) };
        Ok(whole.get(known..).unwrap_or(""))
    }

    /// Takes in a whole body.
    ///
    /// # Errors
    /// Where the body is not of the format, or the answer is too long.
    pub fn whole(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        match self.format {
            Format::Claude => claude::whole(self, bytes),
            Format::Llama3 | Format::Llama4 => llama::whole(self, bytes),
            Format::MistralInstruct | Format::MistralChat => mistral::whole(self, bytes),
            Format::Nova => nova::whole(self, bytes),
        }
    }

    /// True once a stream has said its stop reason and its token counts, and has ended where its
    /// format says so: a guardrail's word may come with the very last chunk.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let counts = settle(self.counts, self.metrics, Counted::default());
        !self.open && self.stopped_by().is_some() && counts.is_some()
    }

    /// The text so far, for the record of a call that failed.
    #[must_use]
    pub fn partial(self) -> Option<String> {
        let text = if self.text.is_empty() { self.tool } else { self.text };
        (!text.is_empty()).then_some(text)
    }

    /// The complete answer; what is missing in the body is taken from `counted`.
    ///
    /// # Errors
    /// The text so far, where the stop reason or the counts never came.
    pub fn finish(self, counted: Counted) -> Result<Answer, Option<String>> {
        let usage = settle(self.counts, self.metrics, counted);
        let (Some(stop), Some(usage)) = (self.stopped_by(), usage) else {
            return Err(self.partial());
        };
        // A forced tool cut at `max_tokens` leaves its input half said, and no text.
        let is_tool =
            self.text.is_empty() || (stop == StopReason::ToolUse && !self.tool.is_empty());
        Ok(Answer { text: if is_tool { self.tool } else { self.text }, stop, usage })
    }

    fn stopped_by(&self) -> Option<StopReason> {
        if self.guardrail { Some(StopReason::GuardrailIntervened) } else { self.stop }
    }

    // ---- What the formats report

    pub(super) fn add_text(&mut self, piece: &str) -> Result<(), Unreadable> {
        let room = self.room();
        push_within(&mut self.text, piece, room)
    }

    /// A piece of the input of the tool that block `block` calls.
    pub(super) fn add_tool(&mut self, block: u64, piece: &str) -> Result<(), Unreadable> {
        if *self.tool_block.get_or_insert(block) != block {
            return Ok(());
        }
        let room = self.room();
        push_within(&mut self.tool, piece, room)
    }

    /// A stop reason in the format's own word. An empty one is none yet.
    pub(super) fn stopped(&mut self, word: Option<&str>) {
        if let Some(word) = word.filter(|word| !word.is_empty()) {
            self.stop = Some(stop_of(word));
        }
    }

    pub(super) fn counted(&mut self, counts: Counts) {
        self.counts.grow(counts);
    }

    /// What the service puts beside any format's own fields.
    pub(super) fn beside(&mut self, metrics: Option<Counts>, guardrail: Option<&str>) {
        if let Some(metrics) = metrics {
            self.metrics.grow(metrics);
        }
        self.guardrail |= guardrail == Some("INTERVENED");
    }

    /// The format has said that nothing follows.
    pub(super) fn ended(&mut self) {
        self.open = false;
    }

    /// An answer without its content is none, unless a guardrail took it away.
    pub(super) fn lacks(&self, what: &str) -> Result<(), Unreadable> {
        if self.guardrail { Ok(()) } else { Err(form(&format!("it has no `{what}`"))) }
    }

    fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.text.len()).saturating_sub(self.tool.len())
    }
}

/// An error that stands where an answer should.
pub(super) fn refuse_error(error: Option<Value>) -> Result<(), Unreadable> {
    let Some(error) = error else { return Ok(()) };
    let word = |name: &str| error.get(name).and_then(Value::as_str);
    Err(form(&match (word("type"), word("message")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message.to_owned(),
        _ => error.as_str().map_or_else(|| error.to_string(), str::to_owned),
    }))
}

/// A tool's input, which is JSON in a string, or JSON itself.
pub(super) fn tool_input(raw: &RawValue) -> Cow<'_, str> {
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(raw.get()),
    }
}

/// Appends as much of `piece` as there is room for, whole characters only.
fn push_within(text: &mut String, piece: &str, room: usize) -> Result<(), Unreadable> {
    let fits = piece.floor_char_boundary(room);
    text.push_str(piece.get(..fits).unwrap_or(""));
    if fits < piece.len() { Err(Unreadable::TooLarge) } else { Ok(()) }
}

/// The formats' words for the end of an answer; none means two things in two formats.
fn stop_of(word: &str) -> StopReason {
    match word {
        "end_turn" | "stop" => StopReason::EndTurn,
        "stop_sequence" => StopReason::StopSequence,
        "max_tokens" | "length" | "model_length" | "model_context_window_exceeded" => {
            StopReason::MaxTokens
        }
        "tool_use" | "tool_calls" => StopReason::ToolUse,
        "refusal" => StopReason::Refusal,
        "content_filtered" | "content_filter" => StopReason::ContentFiltered,
        "guardrail_intervened" => StopReason::GuardrailIntervened,
        malformed if malformed.starts_with("malformed") => StopReason::Malformed,
        // `pause_turn` among them: the model waits for a tool of the provider's that no call here
        // asks for.
        _ => StopReason::Other,
    }
}
