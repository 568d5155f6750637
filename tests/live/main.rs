//! The real thing, where somebody has given credentials for it: `QUARRIER_LIVE=1` and whatever the
//! AWS chain finds. Elsewhere it says that it was skipped.
//! Must not know: the crate's inside. It costs money: at most `QUARRIER_LIVE_MAX_COST_USD`, or ten cents.

#![expect(
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::process::Command;

use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "these are no settings of the program")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Runs a check-up with calls in this process's own environment. `None` where nobody wants it.
fn checkup(more: &[&str]) -> Option<Value> {
    if variable("QUARRIER_LIVE").as_deref() != Some("1") {
        eprintln!(
            "skipped: set QUARRIER_LIVE=1 and AWS credentials to make real calls (they cost money)"
        );
        return None;
    }
    let bound = variable("QUARRIER_LIVE_MAX_COST_USD").unwrap_or_else(|| "0.10".to_owned());
    let models = variable("QUARRIER_LIVE_MODELS");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
    command.args(["doctor", "--json", "--live", "--max-cost-usd", &bound]).args(more);
    if let Some(models) = &models {
        command.args(["--models", models]);
    }
    // No store of somebody's: a folder of its own.
    let output = command.current_dir(folder.path()).output().expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    eprintln!("{text}");
    Some(serde_json::from_str(&text).expect("the check-up prints JSON"))
}

fn every_call_succeeded(found: &Value) {
    let calls = found["calls"].as_array().expect("calls");
    assert!(!calls.is_empty(), "no call was made: {found:#}");
    for call in calls {
        assert_eq!(call["ok"], true, "{call:#}");
        assert!(call["request_id"].is_string(), "{call:#}");
        assert!(call.pointer("/usage/input").and_then(Value::as_u64) > Some(0), "{call:#}");
        assert!(call.pointer("/usage/output").and_then(Value::as_u64) > Some(0), "{call:#}");
    }
}

#[test]
fn the_real_service_answers_a_text_and_a_schema_call_through_converse() {
    if let Some(found) = checkup(&["--api", "converse"]) {
        every_call_succeeded(&found);
    }
}

#[test]
fn the_real_service_answers_a_text_and_a_schema_call_through_invoke() {
    if let Some(found) = checkup(&["--api", "invoke"]) {
        every_call_succeeded(&found);
    }
}
