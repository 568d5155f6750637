//! What Converse answers, gathered: text blocks, tool input, stop reason, usage.
//! Must not know: clients, clocks, errors' codes.

use aws_sdk_bedrockruntime::operation::converse::ConverseOutput as Answer;
use aws_sdk_bedrockruntime::types::{
    self, ContentBlock, ContentBlockDelta, ConverseStreamOutput as Event, TokenUsage,
};
use aws_smithy_types::{Document, Number};
use serde_json::Value;

use crate::catalogue::Family;
use crate::completion::{StopReason, Usage};
use crate::native;

/// The answer outgrew `answer_bytes_max`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// An answer as it grows.
#[derive(Debug)]
pub(super) struct Gather {
    family: Family,
    bytes_max: usize,
    text: String,
    /// The first tool's input; a forced tool is called once, and two inputs joined are not JSON.
    tool: String,
    tool_block: Option<i32>,
    stop: Option<StopReason>,
    usage: Option<Usage>,
}

impl Gather {
    pub(super) fn new(family: Family, bytes_max: usize) -> Self {
        Self {
            family,
            bytes_max,
            text: String::new(),
            tool: String::new(),
            tool_block: None,
            stop: None,
            usage: None,
        }
    }

    /// Takes in one event of a stream, and gives the answer's text that it added. Reasoning,
    /// citations and events newer than this program are passed over; their tokens are in the
    /// usage. Of text and a tool's input only what came first is given out.
    pub(super) fn event(&mut self, event: Event) -> Result<&str, TooLarge> {
        match event {
            Event::ContentBlockDelta(delta) => {
                let block = delta.content_block_index;
                match delta.delta {
                    Some(ContentBlockDelta::Text(piece)) => {
                        let before = self.text.len();
                        self.add_text(&piece)?;
                        return Ok(if self.tool.is_empty() {
                            since(&self.text, before)
                        } else {
                            ""
                        });
                    }
                    Some(ContentBlockDelta::ToolUse(tool)) => {
                        let before = self.tool.len();
                        self.add_tool(block, &tool.input)?;
                        return Ok(if self.text.is_empty() {
                            since(&self.tool, before)
                        } else {
                            ""
                        });
                    }
                    _ => {}
                }
            }
            Event::MessageStop(stop) => self.stop = Some(stop_of(&stop.stop_reason)),
            Event::Metadata(metadata) => {
                self.usage = metadata.usage.map(|usage| usage_of(&usage, self.family));
            }
            _ => {}
        }
        Ok("")
    }

    /// Takes in a whole answer that was not streamed.
    pub(super) fn whole(&mut self, answer: Answer) -> Result<(), TooLarge> {
        self.stop = Some(stop_of(&answer.stop_reason));
        self.usage = answer.usage.map(|usage| usage_of(&usage, self.family));
        // The SDK fills in what is missing; an answer without its message is no answer.
        let Some(types::ConverseOutput::Message(message)) = answer.output else {
            self.stop = None;
            return Ok(());
        };
        for (block, content) in (0_i32..).zip(message.content) {
            match content {
                ContentBlock::Text(piece) => self.add_text(&piece)?,
                ContentBlock::ToolUse(tool) => {
                    self.add_tool(block, &json_of(&tool.input).to_string())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// True once the closing events have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.stop.is_some() && self.usage.is_some()
    }

    /// The text so far, for the record of a call that failed.
    pub(super) fn partial(self) -> Option<String> {
        let text = if self.text.is_empty() { self.tool } else { self.text };
        (!text.is_empty()).then_some(text)
    }

    /// The complete answer, or what there is of it.
    pub(super) fn finish(self) -> Result<native::Answer, Option<String>> {
        match (self.stop, self.usage) {
            (Some(stop), Some(usage)) => Ok(native::Answer {
                // A forced tool cut at `max_tokens` leaves its input half said, and no text.
                text: if self.text.is_empty()
                    || (stop == StopReason::ToolUse && !self.tool.is_empty())
                {
                    self.tool
                } else {
                    self.text
                },
                stop,
                usage,
            }),
            _ => Err(self.partial()),
        }
    }

    fn add_text(&mut self, piece: &str) -> Result<(), TooLarge> {
        let room = self.room();
        push_within(&mut self.text, piece, room)
    }

    fn add_tool(&mut self, block: i32, piece: &str) -> Result<(), TooLarge> {
        if *self.tool_block.get_or_insert(block) != block {
            return Ok(());
        }
        let room = self.room();
        push_within(&mut self.tool, piece, room)
    }

    fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.text.len()).saturating_sub(self.tool.len())
    }
}

fn since(text: &str, start: usize) -> &str {
    text.get(start..).unwrap_or_default()
}

/// Appends as much of `piece` as there is room for, whole characters only.
fn push_within(text: &mut String, piece: &str, room: usize) -> Result<(), TooLarge> {
    let fits = piece.floor_char_boundary(room);
    text.push_str(piece.get(..fits).unwrap_or(""));
    if fits < piece.len() {
        return Err(TooLarge);
    }
    Ok(())
}

fn stop_of(reason: &types::StopReason) -> StopReason {
    match reason {
        types::StopReason::EndTurn => StopReason::EndTurn,
        types::StopReason::StopSequence => StopReason::StopSequence,
        types::StopReason::MaxTokens | types::StopReason::ModelContextWindowExceeded => {
            StopReason::MaxTokens
        }
        types::StopReason::ToolUse => StopReason::ToolUse,
        types::StopReason::ContentFiltered => StopReason::ContentFiltered,
        types::StopReason::GuardrailIntervened => StopReason::GuardrailIntervened,
        types::StopReason::MalformedModelOutput | types::StopReason::MalformedToolUse => {
            StopReason::Malformed
        }
        // Claude's own word, which the service's model does not list.
        newer if newer.as_str() == "refusal" => StopReason::Refusal,
        _ => StopReason::Other,
    }
}

fn usage_of(usage: &TokenUsage, family: Family) -> Usage {
    let count = |tokens: i32| u64::try_from(tokens).unwrap_or(0);
    let cache_read = usage.cache_read_input_tokens.map_or(0, count);
    let cache_write = usage.cache_write_input_tokens.map_or(0, count);
    let input = count(usage.input_tokens);
    Usage {
        // OpenAI's models report their input with the caches inside; everybody else without.
        input: match family {
            Family::OpenAi => input.saturating_sub(cache_read).saturating_sub(cache_write),
            _ => input,
        },
        output: count(usage.output_tokens),
        cache_read,
        cache_write,
    }
}

fn json_of(document: &Document) -> Value {
    match document {
        Document::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), json_of(value))).collect())
        }
        Document::Array(items) => Value::Array(items.iter().map(json_of).collect()),
        Document::Number(Number::PosInt(n)) => Value::from(*n),
        Document::Number(Number::NegInt(n)) => Value::from(*n),
        Document::Number(Number::Float(n)) => Value::from(*n),
        Document::String(text) => Value::from(text.as_str()),
        Document::Bool(truth) => Value::Bool(*truth),
        Document::Null => Value::Null,
    }
}
