//! How a call of the check-up came out: as a finding's words, as JSON, as a line of a table.
//! Must not know: how it was made.

use serde_json::{Value, json};

use crate::cli::run::show::cost;
use crate::cli::table::{span, table as lines};
use crate::completion::Api;
use crate::job::State;
use crate::store::{AttemptRow, JobPage};

/// A call that was made, or not.
pub(super) struct Called {
    pub(super) model: String,
    pub(super) kind: &'static str,
    pub(super) api: Api,
    pub(super) model_id: String,
    pub(super) page: JobPage,
    /// Why nobody calls its lane for now.
    pub(super) paused: Option<String>,
}

pub(super) fn remedy(kind: &str) -> String {
    format!("`quarrier explain {kind}` says what it is and what to do")
}

pub(super) fn api_name(api: Api) -> &'static str {
    match api {
        Api::Converse => "converse",
        Api::Invoke => "invoke",
    }
}

impl Called {
    /// The last call that was made for it.
    fn attempt(&self) -> Option<&AttemptRow> {
        self.page.attempts.last()
    }

    pub(super) fn figures(&self, simulated: bool) -> String {
        let attempt = self.attempt();
        let total = attempt.and_then(|attempt| attempt.total_ms).unwrap_or_default();
        let micros = attempt.and_then(|attempt| attempt.cost_micros);
        let cost =
            micros.map_or_else(|| "cost unknown".to_owned(), |micros| cost(micros, simulated));
        format!("answered in {}, {cost}", span(i64::try_from(total).unwrap_or(i64::MAX)))
    }

    /// What failed: of the job, or of the call that keeps it waiting.
    pub(super) fn error(&self) -> (String, String) {
        let attempt = self.page.attempts.iter().rev().find(|one| one.error_kind.is_some());
        let by_attempt = attempt.and_then(|attempt| {
            Some((attempt.error_kind.clone()?, attempt.error_message.clone().unwrap_or_default()))
        });
        let result = self.page.result.as_ref();
        let by_job = result.and_then(|result| {
            Some((result.error_kind.clone()?, result.error_message.clone().unwrap_or_default()))
        });
        let found = by_attempt.or(by_job.filter(|(kind, _)| kind != "cancelled"));
        if let (None, Some(reason)) = (&found, &self.paused) {
            let message = format!("not called, because its lane is paused by {reason}");
            return (reason.clone(), message);
        }
        found.unwrap_or_else(|| {
            let reason = self.page.row.reason.clone().unwrap_or_default();
            (
                "call_timeout".to_owned(),
                format!("it was not called in {} s {reason}", super::WAIT_MS_MAX / 1_000),
            )
        })
    }

    pub(super) fn json(&self) -> Value {
        let attempt = self.attempt();
        let ok = self.page.row.state == State::Succeeded;
        let error = (!ok).then(|| {
            let (kind, message) = self.error();
            json!({ "kind": kind, "message": message, "remedy": remedy(&kind) })
        });
        let dollars = attempt
            .and_then(|attempt| attempt.cost_micros)
            .and_then(|micros| crate::cli::table::dollars(micros).parse::<f64>().ok());
        json!({
            "model": self.model,
            "model_id": self.model_id,
            "api": api_name(self.api),
            "call": self.kind,
            "ok": ok,
            "first_token_ms": attempt.and_then(|attempt| attempt.first_token_ms),
            "total_ms": attempt.and_then(|attempt| attempt.total_ms),
            "usage": attempt.and_then(|attempt| attempt.usage),
            "cost_usd": dollars,
            "request_id": attempt.and_then(|attempt| attempt.request_id.clone()),
            "error": error,
        })
    }
}

/// The calls as a table.
pub(in crate::cli::doctor) fn table(calls: &[Value]) -> String {
    if calls.is_empty() {
        return String::new();
    }
    let cell = |call: &Value, path: &str| match call.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    let rows = calls.iter().map(|call| {
        let error = cell(call, "/error/kind");
        let outcome = if error == "-" { "ok".to_owned() } else { error };
        let mut row: Vec<String> =
            ["/model", "/api", "/call"].iter().map(|path| cell(call, path)).collect();
        row.push(outcome);
        row.extend(
            [
                "/first_token_ms",
                "/total_ms",
                "/usage/input",
                "/usage/output",
                "/cost_usd",
                "/request_id",
            ]
            .iter()
            .map(|path| cell(call, path)),
        );
        row
    });
    let header = [
        "model",
        "api",
        "call",
        "outcome",
        "first ms",
        "total ms",
        "in",
        "out",
        "cost $",
        "request id",
    ];
    format!("\n{}", lines(&header, &[4, 5, 6, 7, 8], rows.collect()))
}
