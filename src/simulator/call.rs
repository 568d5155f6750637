//! One call from its body to its reply: read, planned, admitted, answered. Must not know: sockets,
//! how paths are routed, how an answer is spelt or sent.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;

use super::admission::End;
use super::answer::{self, Plan};
use super::converse;
use super::deliver::Run;
use super::matching;
use super::pace::Pace;
use super::quota::Shortage;
use super::reply;
use super::request::{self, Facts, Operation, Refusal};
use super::spelt::{Said, Spelt};
use super::state::{Shared, Verdict};
use super::tokens;

/// Runs one call.
pub(crate) async fn run(
    shared: Arc<Shared>,
    model_id: String,
    operation: Operation,
    bytes: Bytes,
) -> Response {
    let mut facts = Facts::unread(model_id, operation);
    let options = &shared.options;
    let read = request::read(&bytes, &mut facts, options.seed, options.input_tokens_max);
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
    let invokes = operation.as_str().starts_with("invoke");
    if let Some(problem) = fault.and_then(|fault| fault.before(operation.streams(), invokes)) {
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
    if let Some(note) = &answer.note {
        admission.note(note.clone());
    }
    if let Some(spared) = fault.filter(|_| !answer.struck) {
        admission.spared(spared);
    }
    let pace = Pace::new(chosen.latency, ask.content, admission.seq());
    let said = Said {
        answer: &answer,
        input_tokens: facts.input_tokens,
        latency_ms: pace.micros_at(answer.output_tokens) / 1_000,
        seq: admission.seq(),
        chunk_tokens: answer.chunk_tokens.unwrap_or(options.chunk_tokens),
    };
    let content = if operation.streams() {
        Spelt::Stream(converse::events(&said))
    } else {
        Spelt::Whole(converse::whole(&said))
    };
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
    run.reply(content).await
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
