//! The ways of asking: six formats' models, through either interface, streamed or whole.

use quarrier::catalogue::{Family, Format};
use quarrier::check;
use quarrier::completion::{Api, Message, Role};
use quarrier::provider::{Clocks, GenerateRequest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) format: Format,
    pub(crate) api: Api,
    pub(crate) stream: bool,
}

/// Every way, those of one interface and mode beside each other.
pub(crate) fn all() -> impl Iterator<Item = Way> {
    columns().flat_map(|(api, stream)| {
        Format::ALL.into_iter().map(move |format| Way { format, api, stream })
    })
}

/// The interfaces, streamed and whole.
pub(crate) fn columns() -> impl Iterator<Item = (Api, bool)> {
    [Api::Converse, Api::Invoke].into_iter().flat_map(|api| [(api, true), (api, false)])
}

impl Way {
    pub(crate) fn operation(self) -> &'static str {
        match (self.api, self.stream) {
            (Api::Converse, true) => "converse-stream",
            (Api::Converse, false) => "converse",
            (Api::Invoke, true) => "invoke-with-response-stream",
            (Api::Invoke, false) => "invoke",
        }
    }

    /// A request that asks for JSON.
    pub(crate) fn request(self, clocks: Clocks) -> GenerateRequest {
        let (model_id, family) = match self.format {
            Format::Claude => ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Family::Claude),
            Format::Llama3 => ("us.meta.llama3-3-70b-instruct-v1:0", Family::Llama),
            Format::Llama4 => ("us.meta.llama4-scout-17b-instruct-v1:0", Family::Llama),
            Format::MistralInstruct => ("mistral.mixtral-8x7b-instruct-v0:1", Family::Mistral),
            Format::MistralChat => ("mistral.mistral-large-2407-v1:0", Family::Mistral),
            Format::Nova => ("us.amazon.nova-lite-v1:0", Family::Nova),
        };
        let schema = serde_json::from_str(&crate::schema_text()).unwrap();
        let instruction = check::schema_instruction(&schema);
        let text = format!("How is a simulator built?\n\n{instruction}");
        GenerateRequest {
            model_id: model_id.to_owned(),
            family,
            api: self.api,
            format: Some(self.format),
            stream: self.stream,
            system: None,
            messages: vec![Message { role: Role::User, text }],
            max_tokens: 2_000,
            temperature: None,
            top_p: None,
            stop: vec![],
            metadata: vec![("job_id".to_owned(), "conformance".to_owned())],
            clocks,
            answer_bytes_max: 1 << 20,
        }
    }
}
