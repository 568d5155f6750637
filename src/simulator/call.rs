//! One call from its body to its reply: read, planned, admitted, answered. Must not know: sockets,
//! how paths are routed, how an answer is spelt or sent.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::admission::End;
use super::answer::{self, Plan};
use super::deliver::Run;
use super::matching;
use super::pace::Pace;
use super::quota::Shortage;
use super::reply;
use super::request::{self, Facts, Refusal};
use super::spelt::Said;
use super::state::{Shared, Verdict};
use super::tokens;

/// Runs one call.
pub(crate) async fn run(shared: Arc<Shared>, mut facts: Facts, bytes: Bytes) -> Response {
    let read = request::read(&bytes, &mut facts, &shared.options);
    let planned = read.and_then(|ask| Plan::new(&ask.wanted, &shared.schemas).map(|p| (ask, p)));
    let (ask, plan) = match planned {
        Ok(planned) => planned,
        Err(refusal) => {
            let seq = shared.refuse(&facts, refusal.code);
            return reply::refusal(&refusal, reply::request_id(&shared, seq));
        }
    };
    let text = if shared.reads_text() { matching::text_of(&bytes) } else { String::new() };
    let (mut admission, chosen) = match shared.admit(&facts, ask.content, &text) {
        Verdict::Run(admission, chosen) => (admission, chosen),
        Verdict::Throttled(shortage, seq) => {
            return reply::refusal(&throttle(shortage), reply::request_id(&shared, seq));
        }
        Verdict::Refused(problem, seq) => {
            return reply::problem(&shared, &problem, &facts.model_id, seq);
        }
    };
    let fault = chosen.fault;
    let (streams, invokes) = (facts.api.streams(), facts.api.invokes());
    if let Some(problem) = fault.and_then(|fault| fault.before(streams, invokes)) {
        let seq = admission.seq();
        admission.end(End::Failed(problem.code));
        return reply::problem(&shared, &problem, &facts.model_id, seq);
    }
    let request_id = reply::request_id(&shared, admission.seq());
    let fixture = chosen.fixture.as_deref();
    let answer = answer::make(&ask, &plan, facts.max_tokens, fault, fixture);
    admission.expected_output = answer.output_tokens;
    if let Some(input_tokens) = answer.input_tokens {
        facts.input_tokens = input_tokens;
        admission.set_input_tokens(input_tokens);
    }
    let notes: Vec<&str> = ask.note.into_iter().chain(answer.note.as_deref()).collect();
    if !notes.is_empty() {
        admission.note(notes.join("; "));
    }
    if let Some(spared) = fault.filter(|_| !answer.struck) {
        admission.spared(spared);
    }
    let pace = Pace::new(chosen.latency, ask.content, admission.seq());
    let said = Said {
        answer: &answer,
        model_id: &facts.model_id,
        input_tokens: facts.input_tokens,
        latency_ms: pace.micros_at(answer.output_tokens) / 1_000,
        first_ms: pace.micros_at(0) / 1_000,
        seq: admission.seq(),
        chunk_tokens: shared.options.chunk_tokens,
    };
    let content = ask.shape.spell(&said, facts.api.streams());
    let counted = [said.input_tokens, answer.output_tokens, said.latency_ms];
    let run = Run {
        pace,
        burndown: tokens::burndown(&facts.model_id),
        model_id: facts.model_id,
        output_tokens: answer.output_tokens,
        shared: Arc::clone(&shared),
        admission,
        fault,
        request_id,
    };
    let mut response = run.reply(content).await;
    if facts.api.invokes() && response.status() == StatusCode::OK {
        head(response.headers_mut(), facts.api.streams(), counted);
    }
    response
}

/// What InvokeModel's answers carry in their head: the counts of a whole answer, the kind of a
/// stream's chunks.
fn head(headers: &mut HeaderMap, streams: bool, [input, output, latency_ms]: [u64; 3]) {
    if streams {
        let kind = HeaderValue::from_static("application/json");
        headers.insert("x-amzn-bedrock-content-type", kind);
        return;
    }
    headers.insert("x-amzn-bedrock-input-token-count", HeaderValue::from(input));
    headers.insert("x-amzn-bedrock-output-token-count", HeaderValue::from(output));
    headers.insert("x-amzn-bedrock-invocation-latency", HeaderValue::from(latency_ms));
}

fn throttle(shortage: Shortage) -> Refusal {
    let what = match shortage {
        Shortage::Requests => "requests",
        Shortage::Tokens => "tokens",
    };
    Refusal {
        status: 429,
        code: "ThrottlingException",
        message: format!("Too many {what}, please wait before trying again."),
    }
}
