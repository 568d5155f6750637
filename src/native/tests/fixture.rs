//! The files below `tests/native/fixtures`: `FORMAT/CASE.json`, written by hand from the providers'
//! documentation. Must not know: what is tested with them.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::catalogue::Format;
use crate::completion::{Message, StopReason, Usage};
use crate::native::{Ask, Counted};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    #[serde(skip)]
    pub(super) case: String,
    #[serde(rename = "about")]
    _about: String,
    pub(super) ask: Option<Asked>,
    /// What the call sends.
    pub(super) body: Option<Value>,
    /// Why it cannot be sent.
    pub(super) refused: Option<String>,
    #[serde(default)]
    pub(super) answers: Vec<Said>,
}

/// A call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    system: Option<String>,
    messages: Vec<Message>,
    max_tokens: u32,
    temperature: Option<f32>,
    top_p: Option<f32>,
    #[serde(default)]
    stop: Vec<String>,
}

impl Asked {
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            system: self.system.as_deref(),
            messages: &self.messages,
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            stop: &self.stop,
        }
    }
}

/// What a service sends, and what is to be made of it: one of `answer`, `incomplete` and
/// `unreadable`; the last two leave `partial`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) whole: Option<Box<RawValue>>,
    pub(super) chunks: Option<Vec<Box<RawValue>>>,
    /// Bytes that are no JSON: the last chunk, or the whole.
    pub(super) text: Option<String>,
    pub(super) counted: Option<Headers>,
    pub(super) answer: Option<Expected>,
    #[serde(default)]
    pub(super) incomplete: bool,
    pub(super) unreadable: Option<String>,
    pub(super) partial: Option<String>,
}

/// A complete answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    pub(super) text: String,
    pub(super) stop: StopReason,
    pub(super) usage: Usage,
}

/// The counts in a whole answer's headers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Headers {
    input: Option<u64>,
    output: Option<u64>,
}

impl Said {
    /// The bytes that arrive, in order.
    pub(super) fn arrivals(&self) -> Vec<&[u8]> {
        let whole = self.whole.iter().map(|body| body.get());
        let chunks = self.chunks.iter().flatten().map(|chunk| chunk.get());
        let texts = whole.chain(chunks).chain(self.text.as_deref());
        texts.map(str::as_bytes).collect()
    }

    pub(super) fn counted(&self) -> Counted {
        self.counted
            .map_or_else(Counted::default, |Headers { input, output }| Counted { input, output })
    }
}

/// All files of a format, by name.
pub(super) fn fixtures(format: Format) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/fixtures");
    let folder = folder.join(format.as_str());
    let mut found: Vec<Fixture> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let fixture: Fixture = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
            Fixture { case, ..fixture }
        })
        .collect();
    found.sort_by(|a, b| a.case.cmp(&b.case));
    found
}
