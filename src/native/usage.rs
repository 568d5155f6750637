//! Token counts as they trickle in: from a format's own body, from what the service adds to the last
//! chunk of a stream, and from the headers of a whole answer.
//! Must not know: texts, stop reasons, which format is read.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Counted;
use crate::completion::Usage;

/// Counts as far as they are known; readable as `amazon-bedrock-invocationMetrics`, which the
/// service adds to a stream's last chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Counts {
    #[serde(rename = "inputTokenCount", default, deserialize_with = "count")]
    pub(super) input: Option<u64>,
    #[serde(rename = "outputTokenCount", default, deserialize_with = "count")]
    pub(super) output: Option<u64>,
    #[serde(rename = "cacheReadInputTokenCount", default, deserialize_with = "count")]
    pub(super) cache_read: Option<u64>,
    #[serde(rename = "cacheWriteInputTokenCount", default, deserialize_with = "count")]
    pub(super) cache_write: Option<u64>,
}

impl Counts {
    /// Takes in later counts of the same call. They are cumulative, so the larger one is the
    /// later one; a later chunk may leave out or zero what an earlier one said.
    pub(super) fn grow(&mut self, later: Self) {
        self.input = self.input.max(later.input);
        self.output = self.output.max(later.output);
        self.cache_read = self.cache_read.max(later.cache_read);
        self.cache_write = self.cache_write.max(later.cache_write);
    }
}

/// The usage, from the best source of each count: the format's own body, because it alone tells
/// the cache classes, then the last chunk, then the headers. None while input or output is known
/// to nobody: a missing count is not 0. A cache class that nobody names was not used.
pub(super) fn settle(body: Counts, metrics: Counts, counted: Counted) -> Option<Usage> {
    Some(Usage {
        input: body.input.or(metrics.input).or(counted.input)?,
        output: body.output.or(metrics.output).or(counted.output)?,
        cache_read: body.cache_read.or(metrics.cache_read).unwrap_or(0),
        cache_write: body.cache_write.or(metrics.cache_write).unwrap_or(0),
    })
}

/// Reads a count. What is no whole number is a missing count: the text beside it is paid for, and
/// must not be lost with it.
pub(super) fn count<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Value>::deserialize(reader)?.as_ref().and_then(Value::as_u64))
}
