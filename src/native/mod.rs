//! The native bodies of Bedrock's InvokeModel: what each model format is sent, and what its answers
//! say, whole or in stream chunks.
//! Must not know: clients, clocks, HTTP, errors' codes, the catalogue's rows.

mod claude;
mod gather;
mod llama;
mod mended;
mod mistral;
mod nova;
mod template;
#[cfg(test)]
mod tests;
mod usage;

use serde_json::{Map, Value};

use crate::catalogue::Format;
use crate::completion::{Message, StopReason, Usage};

pub use gather::Gather;
use template::Marks;

/// One call, as far as its body is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The system prompt; folded into the first user turn where the format has no place for it.
    pub system: Option<&'a str>,
    /// The turns; the first is the user's, roles alternate.
    pub messages: &'a [Message],
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// 0 to 1; absent where the model takes none.
    pub temperature: Option<f32>,
    /// 0 to 1; absent where the model takes none.
    pub top_p: Option<f32>,
    /// Strings that end the answer.
    pub stop: &'a [String],
}

/// What a format cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Refused {
    /// The job document's field: `stop`.
    pub field: &'static str,
    /// Why, and the way out.
    pub reason: String,
}

/// Why a part of an answer could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The answer outgrew the bytes allowed.
    #[error("the answer is longer than allowed")]
    TooLarge,
    /// The bytes are not what the format's answers look like.
    #[error("the answer is not of its format: {0}")]
    Form(String),
}

/// The token counts that stand beside a body: response headers of a whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// `x-amzn-bedrock-input-token-count`.
    pub input: Option<u64>,
    /// `x-amzn-bedrock-output-token-count`.
    pub output: Option<u64>,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// All text, joined.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// What the provider counted.
    pub usage: Usage,
}

/// The body of one call.
///
/// # Errors
/// Where the format has no way to say something that the call asks for.
pub fn body(format: Format, ask: &Ask<'_>) -> Result<Value, Refused> {
    check(format, ask)?;
    let fields = match format {
        Format::Claude => claude::body(ask),
        Format::Llama3 => llama::body(&llama::LLAMA_3, ask),
        Format::Llama4 => llama::body(&llama::LLAMA_4, ask),
        Format::MistralInstruct => mistral::instruct_body(ask),
        Format::MistralChat => mistral::chat_body(ask),
        Format::Nova => nova::body(ask),
    };
    Ok(Value::Object(fields))
}

/// Whether the format can say all that the call asks for. Looks at parameters and at no text, so
/// it is cheap, and an `ask` without turns will do.
///
/// # Errors
/// The first field that it cannot say.
pub fn check(format: Format, ask: &Ask<'_>) -> Result<(), Refused> {
    match format {
        Format::Llama3 | Format::Llama4 if !ask.stop.is_empty() => Err(Refused {
            field: "stop",
            reason: "Llama's native body has no stop strings; leave `stop` out and cut the answer \
                     yourself, or choose a model of another family"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// An upper bound of the tokens by which a format's care for special tokens lengthens these texts
/// beyond what their bytes suggest: what `estimate` has to be raised by.
#[must_use]
pub fn extra_tokens_max(format: Format, system: Option<&str>, messages: &[Message]) -> u64 {
    let Some(marks) = marks(format) else { return 0 };
    let texts = system.into_iter().chain(messages.iter().map(|turn| turn.text.as_str()));
    texts.fold(0, |sum, text| sum.saturating_add(template::extra_tokens_max(text, marks)))
}

/// The special tokens that texts must not hold; none where texts are fields of their own.
fn marks(format: Format) -> Option<Marks> {
    match format {
        Format::Llama3 | Format::Llama4 => Some(Marks::Llama),
        Format::MistralInstruct => Some(Marks::Mistral),
        Format::Claude | Format::MistralChat | Format::Nova => None,
    }
}

/// A blank system prompt is none: services refuse an empty text.
fn system<'a>(ask: &Ask<'a>) -> Option<&'a str> {
    ask.system.filter(|text| !text.trim().is_empty())
}

/// A field of a body.
fn set(body: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    body.insert(name.to_owned(), value.into());
}

/// A sampling parameter; one that the call does not have is absent.
fn set_number(body: &mut Map<String, Value>, name: &str, value: Option<f32>) {
    // By way of its shortest decimal form: widened as it is, 0.7 would read 0.699999988079071.
    let decimal = value.and_then(|number| number.to_string().parse::<f64>().ok());
    if let Some(number) = decimal.filter(|number| number.is_finite()) {
        set(body, name, number);
    }
}

/// The stop strings; absent where there are none.
fn set_stop(body: &mut Map<String, Value>, name: &str, stop: &[String]) {
    if !stop.is_empty() {
        set(body, name, stop.to_vec());
    }
}
