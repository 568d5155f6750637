//! What a program asks.
//! Must not know: how it is called.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::completion::Message;
use crate::job::JobDocument;
use crate::prompt::{self, ContextItem, Parts};

/// The named queue of calls that say no other.
const QUEUE: &str = "direct";

/// One question, with what differs from the client's defaults. A text is an ask, too:
/// `client.generate("Say hello.")`.
///
/// ```
/// use quarrier::client::Ask;
///
/// let ask = Ask::new("Name three rivers.").system("Answer in one line.").max_tokens(60);
/// # let _ = ask;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    document: JobDocument,
    wait_ms_max: Option<u64>,
}

impl From<&str> for Ask {
    fn from(prompt: &str) -> Self {
        Self::new(prompt)
    }
}

impl From<String> for Ask {
    fn from(prompt: String) -> Self {
        Self::new(prompt)
    }
}

impl From<Vec<Message>> for Ask {
    fn from(messages: Vec<Message>) -> Self {
        Self::chat(messages)
    }
}

impl Ask {
    /// A single question.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        let document = JobDocument { prompt: Some(prompt.into()), ..JobDocument::default() };
        Self { document, wait_ms_max: None }
    }

    /// A conversation: turns alternate, the first and the last are the user's.
    #[must_use]
    pub fn chat(messages: Vec<Message>) -> Self {
        let document = JobDocument { messages: Some(messages), ..JobDocument::default() };
        Self { document, wait_ms_max: None }
    }

    /// The system prompt. A model without one gets it at the head of the first turn.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Self {
        self.with(|document| document.system = Some(text.into()))
    }

    /// The model: an alias (`claude-haiku-4.5`), a model id, an inference-profile id or an ARN.
    #[must_use]
    pub fn model(self, name: impl Into<String>) -> Self {
        self.with(|document| document.model = Some(name.into()))
    }

    /// Documents to read before answering; they stand before the last turn's text.
    #[must_use]
    pub fn context(self, sources: impl IntoIterator<Item = ContextItem>) -> Self {
        self.with(|document| document.context = Some(sources.into_iter().collect()))
    }

    /// The JSON Schema (draft 2020-12) that the answer must fit.
    #[must_use]
    pub fn schema(self, schema: Value) -> Self {
        self.with(|document| document.schema = Some(schema))
    }

    /// The longest answer, in tokens. The budget reserves all of it: as small as the work allows.
    #[must_use]
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.with(|document| document.max_tokens = Some(tokens))
    }

    /// Sampling temperature, 0 to 1; left out for models that take none.
    #[must_use]
    pub fn temperature(self, temperature: f32) -> Self {
        self.with(|document| document.temperature = Some(temperature))
    }

    /// Nucleus sampling, 0 to 1; left out for models that take none.
    #[must_use]
    pub fn top_p(self, top_p: f32) -> Self {
        self.with(|document| document.top_p = Some(top_p))
    }

    /// Strings that end the answer, at most 16.
    #[must_use]
    pub fn stop<S: Into<String>>(self, strings: impl IntoIterator<Item = S>) -> Self {
        let strings = strings.into_iter().map(Into::into).collect();
        self.with(|document| document.stop = Some(strings))
    }

    /// On whose behalf: limits are kept by tenant, too.
    #[must_use]
    pub fn tenant(self, name: impl Into<String>) -> Self {
        self.with(|document| document.tenant = Some(name.into()))
    }

    /// The named queue, for limits, lists and costs; `direct` unless said.
    #[must_use]
    pub fn queue(self, name: impl Into<String>) -> Self {
        self.with(|document| document.queue = Some(name.into()))
    }

    /// What is kept with the call in the store; one more name and value.
    #[must_use]
    pub fn metadata(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|document| {
            document.metadata.get_or_insert_default().insert(name.into(), value.into());
        })
    }

    /// The longest wait for room in the budget, in milliseconds, for each call of this ask; 0 never
    /// waits. The setting `client.wait_ms_max` unless said.
    #[must_use]
    pub fn wait_ms_max(mut self, ms: u64) -> Self {
        self.wait_ms_max = Some(ms);
        self
    }

    /// No call begins after this time, and none waits past it. One that is in flight is paid for,
    /// and comes to its end.
    #[must_use]
    pub fn deadline(self, at: Timestamp) -> Self {
        self.with(|document| document.deadline = Some(at))
    }

    fn with(mut self, change: impl FnOnce(&mut JobDocument)) -> Self {
        change(&mut self.document);
        self
    }

    pub(super) fn wait_ms(&self) -> Option<u64> {
        self.wait_ms_max
    }

    /// The document of the next call. `first_job_id` names the ask's first job, where this is not
    /// it; `reask` are the turns that show the model its own answer and its mistakes.
    pub(super) fn document(&self, first_job_id: Option<String>, reask: &[Message]) -> JobDocument {
        let mut document = self.document.clone();
        document.queue.get_or_insert_with(|| QUEUE.to_owned());
        if let Some(id) = first_job_id {
            document.labels = Some(BTreeMap::from([("first_job_id".to_owned(), id)]));
        }
        if !reask.is_empty() {
            // What stood in the first question stays there. The schema's instruction governs the
            // answer's form, and is rendered at the end of the last turn.
            let rendered = prompt::render(Parts {
                system: None,
                prompt: document.prompt.as_deref(),
                messages: document.messages.as_deref().unwrap_or_default(),
                context: document.context.as_deref().unwrap_or_default(),
                schema: None,
                supports_system: true,
            });
            let turns = rendered.messages.into_iter().chain(reask.iter().cloned());
            document.messages = Some(turns.collect());
            document.prompt = None;
            document.context = None;
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Role;

    #[test]
    fn a_reask_shows_the_question_the_answer_and_the_mistakes_in_turn() {
        let source = ContextItem { title: None, text: "Rivers flow.".to_owned(), source: None };
        let ask = Ask::new("Name it.").context([source]).schema(serde_json::json!(true));
        let turn = |role, text: &str| Message { role, text: text.to_owned() };
        let reask = [turn(Role::Assistant, "no"), turn(Role::User, "wrong")];
        let document = ask.document(Some("a".to_owned()), &reask);
        let turns = document.messages.as_deref().unwrap();
        assert_eq!(turns.len(), 3);
        assert!(turns[0].text.contains("Rivers flow.") && turns[0].text.ends_with("Name it."));
        assert_eq!(turns[1..], reask);
        assert_eq!((document.prompt, document.context), (None, None));
        assert_eq!(document.labels.unwrap()["first_job_id"], "a");
    }

    #[test]
    fn an_ask_is_a_document_of_the_queue_direct_unless_it_says_another() {
        let queue = |ask: Ask| ask.document(None, &[]).queue;
        assert_eq!(queue(Ask::new("a")).as_deref(), Some("direct"));
        assert_eq!(queue(Ask::new("a").queue("chat")).as_deref(), Some("chat"));
    }
}
