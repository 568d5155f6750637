//! Llama 3's and Llama 4's prompt templates, and the answers that both give.
//! Must not know: other formats, the service's headers.
//!
//! ```text
//! <|begin_of_text|><|start_header_id|>user<|end_header_id|>
//!
//! {text}<|eot_id|><|start_header_id|>assistant<|end_header_id|>
//!
//! ```
//!
//! The template is Meta's own: two line breaks after a header, none after the end of a turn. The
//! prompt ends with an open turn of the assistant's, which the model fills. Llama 4 says the same
//! in other tokens. There is no way to name stop strings.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::gather::{Gather, refuse_error};
use super::mended::read;
use super::template::{Marks, push_text};
use super::usage::{Counts, count};
use super::{Ask, Unreadable, set, set_number, system};
use crate::completion::Role;

/// The tokens of a template.
pub(super) struct Template {
    begin: &'static str,
    header: [&'static str; 2],
    end_of_turn: &'static str,
}

pub(super) const LLAMA_3: Template = Template {
    begin: "<|begin_of_text|>",
    header: ["<|start_header_id|>", "<|end_header_id|>\n\n"],
    end_of_turn: "<|eot_id|>",
};

pub(super) const LLAMA_4: Template = Template {
    begin: "<|begin_of_text|>",
    header: ["<|header_start|>", "<|header_end|>\n\n"],
    end_of_turn: "<|eot|>",
};

impl Template {
    fn prompt(&self, ask: &Ask<'_>) -> String {
        let mut prompt = String::from(self.begin);
        if let Some(text) = system(ask) {
            self.push_turn(&mut prompt, "system", text);
        }
        for turn in ask.messages {
            let role = match turn.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            self.push_turn(&mut prompt, role, &turn.text);
        }
        self.push_header(&mut prompt, "assistant");
        prompt
    }

    fn push_turn(&self, prompt: &mut String, role: &str, text: &str) {
        self.push_header(prompt, role);
        push_text(prompt, text, Marks::Llama);
        prompt.push_str(self.end_of_turn);
    }

    fn push_header(&self, prompt: &mut String, role: &str) {
        let [start, end] = self.header;
        prompt.push_str(start);
        prompt.push_str(role);
        prompt.push_str(end);
    }
}

pub(super) fn body(template: &Template, ask: &Ask<'_>) -> Map<String, Value> {
    let mut body = Map::new();
    set(&mut body, "prompt", template.prompt(ask));
    set(&mut body, "max_gen_len", ask.max_tokens);
    set_number(&mut body, "temperature", ask.temperature);
    set_number(&mut body, "top_p", ask.top_p);
    body
}

/// A whole answer, or a chunk of a stream: they have the same fields.
#[derive(Deserialize)]
struct Part {
    generation: Option<String>,
    #[serde(default, deserialize_with = "count")]
    prompt_token_count: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    generation_token_count: Option<u64>,
    stop_reason: Option<String>,
    error: Option<Value>,
    #[serde(rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<Counts>,
    #[serde(rename = "amazon-bedrock-guardrailAction")]
    guardrail: Option<String>,
}

pub(super) fn whole(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    let part: Part = read(bytes)?;
    if part.generation.is_none() && part.error.is_none() {
        gather.beside(None, part.guardrail.as_deref());
        gather.lacks("generation")?;
    }
    take(gather, part)
}

pub(super) fn chunk(gather: &mut Gather, bytes: &[u8]) -> Result<(), Unreadable> {
    take(gather, read(bytes)?)
}

fn take(gather: &mut Gather, part: Part) -> Result<(), Unreadable> {
    refuse_error(part.error)?;
    gather.beside(part.metrics, part.guardrail.as_deref());
    let stop = part.stop_reason.as_deref().filter(|word| !word.is_empty());
    gather.stopped(stop);
    gather.counted(Counts {
        input: part.prompt_token_count,
        // It counts what has been written so far: only the last chunk knows the whole.
        output: part.generation_token_count.filter(|_| stop.is_some()),
        ..Counts::default()
    });
    gather.add_text(part.generation.as_deref().unwrap_or(""))
}
