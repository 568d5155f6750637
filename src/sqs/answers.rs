//! The answer to a batch: one result for each of its entries, in their order.
//! Must not know: what was asked of the service.

use aws_sdk_sqs::types::BatchResultErrorEntry;

use super::{Asked, fault};
use crate::message_queue::{QueueErrorKind, QueueResult};

/// Results of `count` entries whose ids are their places. An entry that the answer does not name may
/// have been accepted or not.
pub(super) fn of_batch<T>(
    asked: Asked<'_>,
    count: usize,
    done: impl Iterator<Item = (String, T)>,
    failed: &[BatchResultErrorEntry],
) -> Vec<QueueResult<T>> {
    let mut answers: Vec<Option<QueueResult<T>>> = (0..count).map(|_| None).collect();
    let mut put = |id: &str, answer| {
        let at: Option<usize> = id.parse().ok();
        if let Some(place) = at.and_then(|at| answers.get_mut(at)) {
            *place = Some(answer);
        }
    };
    for (id, value) in done {
        put(&id, Ok(value));
    }
    for entry in failed {
        put(&entry.id, Err(fault::of_entry(asked, entry)));
    }
    let unnamed = || {
        let why = "the answer does not name this entry of the batch";
        Err(asked.refused(QueueErrorKind::Unreachable, why))
    };
    answers.into_iter().map(|answer| answer.unwrap_or_else(unnamed)).collect()
}
