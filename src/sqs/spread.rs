//! Sends a group of entries as several requests, and puts their answers in one row.
//! Must not know: the SDK, what is asked.

use std::ops::Range;

use futures_util::stream::{self, StreamExt as _};

use crate::message_queue::{QueueErrorKind, QueueResult};

/// Makes a request of each range, `at_once` of them at a time. A request that is refused as a whole,
/// for something that one of its entries may be to blame for, is made again with each entry alone:
/// one that nobody can send must not keep nine others back for ever.
pub(super) async fn over<T, F, Fut>(
    ranges: Vec<Range<usize>>,
    at_once: usize,
    request: F,
) -> Vec<QueueResult<T>>
where
    F: Fn(Range<usize>) -> Fut,
    Fut: Future<Output = QueueResult<Vec<QueueResult<T>>>>,
{
    let one = |range| one(range, &request);
    let answers: Vec<Vec<QueueResult<T>>> =
        stream::iter(ranges).map(one).buffered(at_once.max(1)).collect().await;
    answers.into_iter().flatten().collect()
}

async fn one<T, F, Fut>(range: Range<usize>, request: &F) -> Vec<QueueResult<T>>
where
    F: Fn(Range<usize>) -> Fut,
    Fut: Future<Output = QueueResult<Vec<QueueResult<T>>>>,
{
    match request(range.clone()).await {
        Ok(answers) => answers,
        Err(error) if range.len() > 1 && may_be_of_one(error.kind) => {
            let mut answers = Vec::new();
            for at in range {
                match request(at..at.saturating_add(1)).await {
                    Ok(one) => answers.extend(one),
                    Err(error) => answers.push(Err(error)),
                }
            }
            answers
        }
        Err(error) => range.map(|_| Err(error.clone())).collect(),
    }
}

/// Whether one entry can have made the service refuse them all. None of them was accepted then.
fn may_be_of_one(kind: QueueErrorKind) -> bool {
    match kind {
        QueueErrorKind::Stale
        | QueueErrorKind::Ceiling
        | QueueErrorKind::TooLarge
        | QueueErrorKind::Contents
        | QueueErrorKind::Refused => true,
        QueueErrorKind::Gone
        | QueueErrorKind::Denied
        | QueueErrorKind::Throttled
        | QueueErrorKind::Full
        | QueueErrorKind::Unreachable => false,
    }
}
