//! Which process was configured with what, as it is remembered.
//! Must not know: how a limit is judged, or where this is kept.

use crate::store::{LimitRule, SeededSettings, StoreError, StoreResult};

/// What a process was configured with is remembered for so long after its lease has gone.
pub(in crate::store) const SEED_KEPT_MS: i64 = 3_600_000;

/// Rules as the table of seeds keeps them.
pub(in crate::store) fn rules_as_text(rules: &[LimitRule]) -> StoreResult<String> {
    serde_json::to_string(rules).map_err(|error| StoreError::Bug(error.to_string()))
}

/// The rules that were kept; none where a newer version has written what this one cannot read.
pub(in crate::store) fn rules_of_text(text: &str) -> Vec<LimitRule> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Settings as the table of seeds keeps them.
pub(in crate::store) fn settings_as_text(settings: &SeededSettings) -> StoreResult<String> {
    serde_json::to_string(settings).map_err(|error| StoreError::Bug(error.to_string()))
}

/// The settings that were kept; none of another version that this one cannot read.
pub(in crate::store) fn settings_of_text(text: Option<&str>) -> Option<SeededSettings> {
    serde_json::from_str(text?).ok()
}
