//! One call from its body to its reply: read, planned, admitted, answered. Must not know: sockets,
//! how paths are routed, how an answer is spelt or sent.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;

use super::answer::{self, Plan};
use super::converse;
use super::deliver::Run;
use super::faults::Fault;
use super::pace::Pace;
use super::quota::Shortage;
use super::reply;
use super::request::{self, Facts, Operation, Refusal};
use super::spelt::{Said, Spelt};
use super::state::{End, Shared, Verdict};
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
    let (mut admission, fault) = match shared.admit(&facts, ask.content) {
        Verdict::Run(admission, fault) => (admission, fault),
        Verdict::Throttled(shortage, seq) => {
            return reply::refusal(&throttle(shortage), reply::request_id(&shared, seq));
        }
    };
    let request_id = reply::request_id(&shared, admission.seq());
    if let Some(refusal) = fault.and_then(failure) {
        admission.end(End::Failed(refusal.code));
        return reply::refusal(&refusal, request_id);
    }
    let answer = answer::make(&ask, &plan, facts.max_tokens, fault);
    admission.expected_output = answer.output_tokens;
    if let Some(note) = &answer.note {
        admission.note(note.clone());
    }
    if let Some(spared) = fault.filter(|_| !answer.struck) {
        admission.spared(spared);
    }
    let pace = Pace::new(&shared, ask.content, admission.seq());
    let said = Said {
        answer: &answer,
        input_tokens: facts.input_tokens,
        latency_ms: pace.micros_at(answer.output_tokens) / 1_000,
        seq: admission.seq(),
        chunk_tokens: options.chunk_tokens,
    };
    let content = if operation.streams() {
        Spelt::Stream(converse::events(&said))
    } else {
        Spelt::Whole(converse::whole(&said))
    };
    let run = Run {
        pace,
        burndown: tokens::burndown(&facts.model_id),
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

/// The faults that are plain error answers.
fn failure(fault: Fault) -> Option<Refusal> {
    let (status, code, message) = match fault {
        Fault::Http500 => (
            500,
            "InternalServerException",
            "The system encountered an unexpected error during processing. Try your request again.",
        ),
        Fault::Http503 => (
            503,
            "ServiceUnavailableException",
            "Service temporarily unavailable, please try again.",
        ),
        _ => return None,
    };
    Some(Refusal { status, code, message: message.to_owned() })
}
