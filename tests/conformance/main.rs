//! The Bedrock adapter against the simulator: every family's format, both interfaces, streamed and
//! whole, through every fault that the simulator can commit. Must not know: either side's inside.
#![cfg(test)]

mod expected;
mod matrix;
mod ways;

use quarrier::catalogue::Format;
use quarrier::check::{self, Limits, Schema};
use quarrier::error::ErrorKind;
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{FailedCharge, GenerateRequest, Provider as _};
use quarrier::simulator::{Fault, Faults, Simulator, SimulatorOptions};
use serde_json::json;

use crate::ways::Way;

/// What a call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// An answer that passes the check room.
    Passes,
    /// An answer that the check room refuses.
    Answer(ErrorKind),
    /// A failed call: its kind, its charge, whether text came before it.
    Fails(ErrorKind, FailedCharge, bool),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passes => f.write_str("answer"),
            Self::Answer(kind) => write!(f, "answer, {kind}"),
            Self::Fails(kind, charge, text) => {
                let charge = match charge {
                    FailedCharge::None => "0",
                    FailedCharge::Unknown => "?",
                    FailedCharge::NotSent => "-",
                };
                write!(f, "{kind} {charge}{}", if *text { " +text" } else { "" })
            }
        }
    }
}

pub(crate) fn schema_text() -> String {
    json!({
        "type": "object",
        "properties": {
            "title": { "type": "string", "minLength": 3 },
            "steps": { "type": "array", "items": { "type": "string" }, "minItems": 3 },
            "score": { "type": "integer" }
        },
        "required": ["title", "steps", "score"],
        "additionalProperties": false
    })
    .to_string()
}

pub(crate) fn schema() -> Schema {
    let limits = Limits::default();
    check::compile(&serde_json::from_str(&schema_text()).unwrap(), &limits).unwrap()
}

/// A simulator of which every call meets this fault, and an adapter that calls it.
pub(crate) async fn bed(fault: Option<Fault>) -> (Simulator, Bedrock) {
    let faults = fault.map_or_else(Faults::none, |fault| Faults::one(fault, 1.0));
    bed_with(SimulatorOptions { faults, ..SimulatorOptions::default() }).await
}

pub(crate) async fn bed_with(options: SimulatorOptions) -> (Simulator, Bedrock) {
    let simulator = Simulator::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let provider = Bedrock::connect(&BedrockOptions {
        endpoint: Some(simulator.endpoint_url()),
        simulated_credentials: true,
        ..BedrockOptions::default()
    })
    .await
    .unwrap();
    (simulator, provider)
}

/// What this call comes to, and how that is said.
pub(crate) async fn end_of(provider: &Bedrock, request: &GenerateRequest) -> (End, String) {
    match provider.generate(request).await {
        Ok(completion) => match check::check(&completion, Some(&schema()), &Limits::default()) {
            Ok(_) => (End::Passes, completion.text),
            Err(failed) => (End::Answer(failed.kind), completion.text),
        },
        Err(error) => {
            (End::Fails(error.kind, error.charge, error.partial_text.is_some()), error.message)
        }
    }
}

/// Every way's end under one fault, all at once.
pub(crate) async fn ends_under(fault: Fault) -> Vec<(Way, End, String)> {
    let (_simulator, provider) = bed(Some(fault)).await;
    // Ten megabytes are made and read for each call: one format will do.
    let sparing = |way: &Way| fault.as_str() != "huge" || way.format == Format::Claude;
    let calls = ways::all().filter(sparing).map(|way| {
        let provider = &provider;
        async move {
            let (end, said) =
                end_of(provider, &way.request(expected::clocks(fault, way.stream))).await;
            (way, end, said)
        }
    });
    futures_util::future::join_all(calls).await
}
