//! The Bedrock adapter over real HTTP and real event-stream frames, against a server that says
//! exactly what each test tells it to. Knows nothing of quotas or stores.
#![cfg(test)]

mod answers;
mod clocks;
mod connections;
mod credentials;
mod cuts;
mod refusals;
mod server;
mod streaming;
mod ways;

use quarrier::catalogue::Family;
use quarrier::completion::{Completion, Message, Role, Usage};
use quarrier::provider::{Api, CallError, Clocks, GenerateRequest, Provider as _};

use crate::server::{Reply, Server};

const HAIKU: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";

fn request() -> GenerateRequest {
    GenerateRequest {
        model_id: HAIKU.to_owned(),
        family: Family::Claude,
        api: Api::Converse,
        format: None,
        stream: true,
        system: Some("Be brief.".to_owned()),
        messages: vec![
            Message { role: Role::User, text: "Hi".to_owned() },
            Message { role: Role::Assistant, text: "Yes?".to_owned() },
            Message { role: Role::User, text: "Say \"hello\".".to_owned() },
        ],
        max_tokens: 64,
        temperature: Some(0.7),
        top_p: Some(0.5),
        stop: vec!["END".to_owned()],
        metadata: vec![
            ("job_id".to_owned(), "0190-ab".to_owned()),
            ("attempt".to_owned(), "1".to_owned()),
            ("tenant".to_owned(), "Müller & Co".to_owned()),
        ],
        // Long enough that only a test which shortens one of them can see it run out.
        clocks: Clocks { first_token_ms: 20_000, idle_ms: 20_000, total_ms: 20_000 },
        answer_bytes_max: 1 << 20,
    }
}

fn whole_request() -> GenerateRequest {
    GenerateRequest { stream: false, ..request() }
}

async fn ask(reply: Reply, request: GenerateRequest) -> Result<Completion, CallError> {
    let server = Server::start(reply).await;
    server.provider().await.generate(&request).await
}

async fn fails(reply: Reply, request: GenerateRequest) -> CallError {
    ask(reply, request).await.unwrap_err()
}

fn usage() -> Usage {
    Usage { input: 11, output: 7, cache_read: 2, cache_write: 1 }
}
