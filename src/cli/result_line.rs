//! A result as one JSON line.
//! Must not know: where the line goes.

use serde_json::json;

use crate::store::ResultRow;

/// One JSON line without its newline.
#[must_use]
pub fn result_line(row: &ResultRow, simulated: bool) -> String {
    json!({
        "id": row.external_id, "job_id": row.job_id.to_string(), "state": row.state.as_str(),
        "output": row.output, "text": row.text, "simulated": simulated,
        "error": row.error_kind.as_ref().map(|kind| json!({ "kind": kind, "message": row.error_message })),
    })
    .to_string()
}
