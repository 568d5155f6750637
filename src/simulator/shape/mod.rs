//! The forms in which a call is spelt and answered: Converse, and each model family's own. Must not
//! know: quotas, faults, clocks, who asked.

mod chat;
mod claude;
mod converse;
mod instruct;
mod llama;
mod nova;
mod template;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::heard::{Heard, Text};
use super::malformed;
use super::models;
use super::request::{Facts, Refusal};
use super::spelt::{Events, Said, Spelt};

/// A form of body and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Converse and ConverseStream, the same for all models.
    Converse,
    /// Anthropic's messages.
    Claude,
    /// A prompt in Llama 3's template.
    Llama3,
    /// A prompt in Llama 4's template.
    Llama4,
    /// A prompt in Mistral's instruct template.
    Instruct,
    /// Mistral's chat completion.
    Chat,
    /// Nova's messages.
    Nova,
}

impl Shape {
    /// The shape of a call: of the model where the id names one whose form is known, else of the
    /// body's own fields.
    pub(crate) fn of(invokes: bool, model_id: &str, bytes: &[u8]) -> Result<Self, Refusal> {
        if !invokes {
            return Ok(Self::Converse);
        }
        match models::named(model_id).and_then(|named| Self::of_model(named.base)) {
            Some(shape) => Ok(shape),
            None => Self::of_fields(bytes),
        }
    }

    fn of_model(base: &str) -> Option<Self> {
        let (vendor, name) = base.split_once('.')?;
        let prompts = ["mistral-7b", "mixtral-", "mistral-small-2402", "mistral-large-2402"];
        match vendor {
            "anthropic" => Some(Self::Claude),
            "meta" if name.starts_with("llama4") => Some(Self::Llama4),
            "meta" => Some(Self::Llama3),
            "mistral" if prompts.iter().any(|prompt| name.starts_with(prompt)) => {
                Some(Self::Instruct)
            }
            "mistral" => Some(Self::Chat),
            "amazon" if name.starts_with("nova") => Some(Self::Nova),
            _ => None,
        }
    }

    /// The shape that the names of the body's fields fit.
    fn of_fields(bytes: &[u8]) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Names<'a> {
            #[serde(borrow)]
            prompt: Option<Text<'a>>,
            messages: Option<IgnoredAny>,
            anthropic_version: Option<IgnoredAny>,
            max_gen_len: Option<IgnoredAny>,
            #[serde(rename = "schemaVersion")]
            schema_version: Option<IgnoredAny>,
            #[serde(rename = "inferenceConfig")]
            inference_config: Option<IgnoredAny>,
        }
        let unreadable = Refusal::validation(
            "Malformed input request, please reformat your input and try again.",
        );
        let names: Names<'_> = serde_json::from_slice(bytes).map_err(|_| unreadable)?;
        if names.anthropic_version.is_some() {
            return Ok(Self::Claude);
        }
        if names.schema_version.is_some() || names.inference_config.is_some() {
            return Ok(Self::Nova);
        }
        match names.prompt {
            Some(prompt) if prompt.contains("<|header_start|>") => Ok(Self::Llama4),
            Some(prompt) if prompt.contains("<|start_header_id|>") => Ok(Self::Llama3),
            Some(_) if names.max_gen_len.is_some() => Ok(Self::Llama3),
            Some(_) => Ok(Self::Instruct),
            None if names.messages.is_some() => Ok(Self::Chat),
            None => Err(malformed::refusal("#: required key [messages] not found")),
        }
    }

    /// Reads and checks a body. Its metadata goes into the facts.
    pub(crate) fn read<'a>(self, bytes: &'a [u8], facts: &mut Facts) -> Result<Heard<'a>, Refusal> {
        match self {
            Self::Converse => converse::read(bytes, facts),
            Self::Claude => claude::read(bytes, &facts.model_id),
            Self::Llama3 => llama::read(bytes, template::llama3),
            Self::Llama4 => llama::read(bytes, template::llama4),
            Self::Instruct => instruct::read(bytes),
            Self::Chat => chat::read(bytes),
            Self::Nova => nova::read(bytes),
        }
    }

    /// The answer as bytes: one body, or the frames of a stream.
    pub(crate) fn spell(self, said: &Said<'_>, stream: bool) -> Spelt {
        type Whole = fn(&Said<'_>) -> String;
        type Stream = fn(&Said<'_>) -> Events;
        let (whole, events): (Whole, Stream) = match self {
            Self::Converse => (converse::whole, converse::events),
            Self::Claude => (claude::whole, claude::events),
            Self::Llama3 | Self::Llama4 => (llama::whole, llama::events),
            Self::Instruct => (instruct::whole, instruct::events),
            Self::Chat => (chat::whole, chat::events),
            Self::Nova => (nova::whole, nova::events),
        };
        if stream { Spelt::Stream(events(said)) } else { Spelt::Whole(whole(said)) }
    }
}

#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod spell_tests;
