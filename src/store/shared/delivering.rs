//! What a try leaves of a delivery, and which of several receipts of a message counts.
//! Must not know: where deliveries and messages are kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::store::{DeliveryState, HeldMessage, Sent, Tried};

/// A delivery after a try.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::store) struct Settled<'a> {
    pub(in crate::store) job_id: Uuid,
    /// Which of its ends.
    pub(in crate::store) seq: i64,
    pub(in crate::store) state: &'static str,
    /// How many tries this was, 0 or 1.
    pub(in crate::store) tries: i32,
    /// When it is tried again, in Unix ms.
    pub(in crate::store) next_at: Option<i64>,
    /// Words of a queue service; no column holds NUL.
    pub(in crate::store) error: Option<Cow<'a, str>>,
}

/// What is written of these tries; of several of one end the last.
pub(in crate::store) fn settled(sent: &[Tried], now: i64) -> Vec<Settled<'_>> {
    let mut last = BTreeMap::new();
    for Tried { job_id, seq, sent } in sent {
        let (state, next_at, error) = match sent {
            Sent::Delivered => (DeliveryState::Delivered, None, None),
            Sent::Again(after_ms, why) | Sent::Later(after_ms, why) => {
                (DeliveryState::Due, Some(now.saturating_add_unsigned(*after_ms)), Some(why))
            }
            Sent::Undeliverable(why) => (DeliveryState::Undeliverable, None, Some(why)),
        };
        let error = error.map(|why| shown(why));
        let tries = i32::from(!matches!(sent, Sent::Later(..)));
        let state = state.as_str();
        let settled = Settled { job_id: *job_id, seq: *seq, state, tries, next_at, error };
        last.insert((*job_id, *seq), settled);
    }
    last.into_values().collect()
}

fn shown(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// One row a message: of several receipts the latest.
pub(in crate::store) fn latest(messages: &[HeldMessage]) -> Vec<&HeldMessage> {
    let mut latest: BTreeMap<(&str, &str), &HeldMessage> = BTreeMap::new();
    for message in messages {
        let row = latest.entry((&message.queue, &message.message_id)).or_insert(message);
        if row.received_at <= message.received_at {
            *row = message;
        }
    }
    latest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_failed_is_due_again_and_the_last_word_on_an_end_counts() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of = |job_id, seq, sent| Tried { job_id, seq, sent };
        let tried = [
            of(one, 7, Sent::Undeliverable("no".to_owned())),
            of(other, 8, Sent::Again(5, "a\0b".to_owned())),
            of(one, 7, Sent::Delivered),
        ];
        let settled = settled(&tried, 100);
        assert_eq!(
            (settled[0].job_id, settled[0].state, settled[0].next_at, &settled[0].error),
            (one, "delivered", None, &None)
        );
        assert_eq!((settled[1].state, settled[1].next_at), ("due", Some(105)));
        assert_eq!(settled[1].error.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(
            super::settled(&[of(one, 7, Sent::Again(u64::MAX, String::new()))], 1)[0].next_at,
            Some(i64::MAX)
        );
        let ends = [of(one, 7, Sent::Delivered), of(one, 9, Sent::Delivered)];
        assert_eq!(super::settled(&ends, 100).len(), 2, "each end has its own");
    }

    #[test]
    fn of_several_receipts_of_a_message_the_latest_counts() {
        let message = |id: &str, receipt: &str, received_at| HeldMessage {
            queue: "q".to_owned(),
            message_id: id.to_owned(),
            receipt: receipt.to_owned(),
            job_id: Uuid::nil(),
            received_at,
        };
        let all = [message("b", "new", 9), message("a", "one", 1), message("b", "old", 8)];
        let latest: Vec<&str> = latest(&all).iter().map(|row| row.receipt.as_str()).collect();
        assert_eq!(latest, ["one", "new"]);
    }
}
