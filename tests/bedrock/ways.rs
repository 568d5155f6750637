//! The ways of asking Bedrock, Converse and InvokeModel in each format, and how an answer is spelt
//! in each. Written from the service's documentation, not from the adapter's source.

use aws_smithy_types::base64;
use quarrier::catalogue::{Family, Format};
use quarrier::completion::{Api, StopReason, Usage};
use quarrier::provider::GenerateRequest;
use serde_json::{Value, json};

use crate::server::{self, Reply, Step, event};
use crate::usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Converse,
    Invoke(Format),
}

use Way::{Converse, Invoke};

/// Every way: Converse, and InvokeModel in the six formats.
pub(crate) fn ways() -> impl Iterator<Item = Way> {
    std::iter::once(Converse).chain(Format::ALL.map(Invoke))
}

/// One way of each interface, for what does not depend on the format.
pub(crate) const APIS: [Way; 2] = [Converse, Invoke(Format::Claude)];

/// A piece of a stream, and the text that it adds to the answer.
pub(crate) type Part = (Step, &'static str);

impl Way {
    pub(crate) fn request(self, stream: bool) -> GenerateRequest {
        let base = GenerateRequest { stream, ..crate::request() };
        match self {
            Converse => base,
            Invoke(format) => GenerateRequest {
                api: Api::Invoke,
                format: Some(format),
                family: family_of(format),
                // Llama's native body has no field for them.
                stop: if is_llama(format) { vec![] } else { base.stop.clone() },
                ..base
            },
        }
    }

    pub(crate) fn operation(self, stream: bool) -> &'static str {
        match (self, stream) {
            (Converse, true) => "converse-stream",
            (Converse, false) => "converse",
            (Invoke(_), true) => "invoke-with-response-stream",
            (Invoke(_), false) => "invoke",
        }
    }

    /// What the spelt answers say of their tokens; Llama and Mistral count no caches.
    pub(crate) fn usage(self) -> Usage {
        match self {
            Converse | Invoke(Format::Claude | Format::Nova) => usage(),
            Invoke(_) => Usage { cache_read: 0, cache_write: 0, ..usage() },
        }
    }

    /// The words for an answer's end, and what they mean.
    pub(crate) fn stops(self) -> Vec<(&'static str, StopReason)> {
        let newer = ("newer_than_this_program", StopReason::Other);
        let end_turn = ("end_turn", StopReason::EndTurn);
        let sequence = ("stop_sequence", StopReason::StopSequence);
        let max_tokens = ("max_tokens", StopReason::MaxTokens);
        let filtered = ("content_filtered", StopReason::ContentFiltered);
        let guardrail = ("guardrail_intervened", StopReason::GuardrailIntervened);
        let refusal = ("refusal", StopReason::Refusal);
        match self {
            Converse => vec![
                end_turn,
                sequence,
                max_tokens,
                filtered,
                guardrail,
                refusal,
                ("model_context_window_exceeded", StopReason::MaxTokens),
                ("malformed_model_output", StopReason::Malformed),
                ("malformed_tool_use", StopReason::Malformed),
                newer,
            ],
            Invoke(Format::Claude) => vec![end_turn, sequence, max_tokens, refusal, newer],
            Invoke(Format::Nova) => vec![end_turn, sequence, max_tokens, filtered, newer],
            Invoke(_) => {
                vec![("stop", StopReason::EndTurn), ("length", StopReason::MaxTokens), newer]
            }
        }
    }

    /// The word for an answer that ran to its end.
    pub(crate) fn done(self) -> &'static str {
        self.stops().first().unwrap().0
    }

    /// What a stream says before its text.
    pub(crate) fn opening(self) -> Vec<Step> {
        match self {
            Converse => vec![server::start()],
            Invoke(Format::Claude) => vec![
                chunk(&json!({ "type": "message_start", "message": {
                    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                    "content": [], "stop_reason": null, "stop_sequence": null,
                    "usage": { "input_tokens": 11, "output_tokens": 1,
                        "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1 }
                } })),
                chunk(&json!({ "type": "content_block_start", "index": 0,
                    "content_block": { "type": "text", "text": "" } })),
            ],
            Invoke(Format::Nova) => {
                vec![chunk(&json!({ "messageStart": { "role": "assistant" } }))]
            }
            Invoke(_) => vec![],
        }
    }

    /// A piece of text in a stream.
    pub(crate) fn text(self, piece: &str) -> Step {
        match self {
            Converse => server::text(piece),
            Invoke(Format::Claude) => chunk(&json!({ "type": "content_block_delta", "index": 0,
                "delta": { "type": "text_delta", "text": piece } })),
            Invoke(Format::Llama3 | Format::Llama4) => chunk(&json!({ "generation": piece,
                "prompt_token_count": 11, "generation_token_count": 3, "stop_reason": null })),
            Invoke(Format::MistralInstruct) => {
                chunk(&json!({ "outputs": [{ "text": piece, "stop_reason": null }] }))
            }
            Invoke(Format::MistralChat) => chunk(&json!({ "choices": [{ "index": 0,
                "message": { "role": "assistant", "content": piece }, "stop_reason": null }] })),
            Invoke(Format::Nova) => chunk(&json!({ "contentBlockDelta": {
                "contentBlockIndex": 0, "delta": { "text": piece } } })),
        }
    }

    /// What closes a stream: its stop reason and its counts. With the last of them the answer is
    /// whole.
    pub(crate) fn closing(self, stop: &str) -> Vec<Step> {
        let metrics = json!({ "inputTokenCount": 11, "outputTokenCount": 7,
            "invocationLatency": 5, "firstByteLatency": 2 });
        match self {
            Converse => vec![server::stop(stop), server::metadata()],
            Invoke(Format::Claude) => vec![
                chunk(&json!({ "type": "content_block_stop", "index": 0 })),
                chunk(&json!({ "type": "message_delta",
                    "delta": { "stop_reason": stop, "stop_sequence": null },
                    "usage": { "output_tokens": 7 } })),
            ],
            Invoke(Format::Llama3 | Format::Llama4) => vec![chunk(&json!({ "generation": "",
                "prompt_token_count": null, "generation_token_count": 7, "stop_reason": stop,
                "amazon-bedrock-invocationMetrics": metrics }))],
            Invoke(Format::MistralInstruct) => vec![chunk(&json!({
                "outputs": [{ "text": "", "stop_reason": stop }],
                "amazon-bedrock-invocationMetrics": metrics }))],
            Invoke(Format::MistralChat) => vec![chunk(&json!({ "choices": [{ "index": 0,
                "message": { "role": "assistant", "content": "" }, "stop_reason": stop }],
                "amazon-bedrock-invocationMetrics": metrics }))],
            Invoke(Format::Nova) => vec![
                chunk(&json!({ "contentBlockStop": { "contentBlockIndex": 0 } })),
                chunk(&json!({ "messageStop": { "stopReason": stop } })),
                chunk(&json!({ "metadata": { "usage": { "inputTokens": 11, "outputTokens": 7,
                    "cacheReadInputTokenCount": 2, "cacheWriteInputTokenCount": 1 },
                    "metrics": {}, "trace": {} },
                    "amazon-bedrock-invocationMetrics": metrics })),
            ],
        }
    }

    /// What still follows the closing parts.
    pub(crate) fn after(self) -> Vec<Step> {
        match self {
            Invoke(Format::Claude) => vec![chunk(&json!({ "type": "message_stop",
                "amazon-bedrock-invocationMetrics": { "inputTokenCount": 11,
                    "outputTokenCount": 7, "invocationLatency": 5, "firstByteLatency": 2 } }))],
            _ => vec![],
        }
    }

    /// A stream that says "Hello, world", up to the part that makes it whole.
    pub(crate) fn parts(self) -> Vec<Part> {
        let silent = |steps: Vec<Step>| steps.into_iter().map(|step| (step, ""));
        silent(self.opening())
            .chain(["Hello, ", "world"].map(|piece| (self.text(piece), piece)))
            .chain(silent(self.closing(self.done())))
            .collect()
    }

    pub(crate) fn happy(self) -> Vec<Step> {
        self.parts().into_iter().map(|(step, _)| step).chain(self.after()).collect()
    }

    /// An answer that is not streamed.
    pub(crate) fn whole(self, text: &str, stop: &str) -> Reply {
        let counts = vec![
            ("x-amzn-bedrock-input-token-count", "11"),
            ("x-amzn-bedrock-output-token-count", "7"),
        ];
        Reply::Whole(200, counts, self.whole_body(text, stop).to_string())
    }

    /// "Hello, world", streamed or whole.
    pub(crate) fn answer(self, stream: bool) -> Reply {
        if stream { Reply::Stream(self.happy()) } else { self.whole("Hello, world", self.done()) }
    }

    pub(crate) fn whole_body(self, text: &str, stop: &str) -> Value {
        match self {
            Converse => json!({
                "output": { "message": { "role": "assistant", "content": [{ "text": text }] } },
                "stopReason": stop,
                "usage": { "inputTokens": 11, "outputTokens": 7, "totalTokens": 21,
                           "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1 },
                "metrics": { "latencyMs": 5 } }),
            Invoke(Format::Claude) => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                "content": [{ "type": "text", "text": text }],
                "stop_reason": stop, "stop_sequence": null,
                "usage": { "input_tokens": 11, "output_tokens": 7,
                    "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1 } }),
            Invoke(Format::Llama3 | Format::Llama4) => json!({ "generation": text,
                "prompt_token_count": 11, "generation_token_count": 7, "stop_reason": stop }),
            Invoke(Format::MistralInstruct) => {
                json!({ "outputs": [{ "text": text, "stop_reason": stop }] })
            }
            Invoke(Format::MistralChat) => json!({ "choices": [{ "index": 0,
                "message": { "role": "assistant", "content": text }, "stop_reason": stop }] }),
            Invoke(Format::Nova) => json!({
                "output": { "message": { "role": "assistant", "content": [{ "text": text }] } },
                "stopReason": stop,
                "usage": { "inputTokens": 11, "outputTokens": 7, "totalTokens": 18,
                    "cacheReadInputTokenCount": 2, "cacheWriteInputTokenCount": 1 } }),
        }
    }
}

/// An event of InvokeModel's stream: the model's own bytes in base64.
pub(crate) fn chunk(own: &Value) -> Step {
    event("chunk", &json!({ "bytes": base64::encode(own.to_string()) }))
}

pub(crate) fn is_llama(format: Format) -> bool {
    matches!(format, Format::Llama3 | Format::Llama4)
}

fn family_of(format: Format) -> Family {
    match format {
        Format::Claude => Family::Claude,
        Format::Llama3 | Format::Llama4 => Family::Llama,
        Format::MistralInstruct | Format::MistralChat => Family::Mistral,
        Format::Nova => Family::Nova,
    }
}
