//! What is decided about each kind, in plain words, from the same rows that decide it.
//! Must not know: what a kind is (`error::explain` says that), who reads it.

use super::{EndState, Policy, Row, lane, row};
use crate::error::ErrorKind;

/// What happens after a failure of this kind under this policy: one or more sentences, with the
/// numbers in force and the settings that hold them.
#[must_use]
pub fn in_words(kind: ErrorKind, policy: &Policy) -> String {
    // Only the library meets it, where no job waits.
    if kind == ErrorKind::BudgetExhausted {
        return "It is never tried again by itself: the caller said how long it can wait. Nothing \
                was called, and nothing is charged."
            .to_owned();
    }
    let mut text = match row(kind, policy) {
        Row::Backoff { base_ms, ms_min, failures_max } => {
            backoff(kind, policy, (base_ms, ms_min, failures_max))
        }
        Row::Crash => format!(
            "The job runs again after a random wait of up to {}, then longer \
             (`retry.backoff_base_ms`); or it waits for a person (`held`), if it says \
             `if_outcome_unknown = \"hold\"`. At the {} crash (`retry.crashes_max`) it ends \
             `failed`.",
            time(policy.backoff_base_ms),
            nth(policy.crashes_max)
        ),
        Row::Throttle => throttle(kind, policy),
        Row::ThrottledDay => format!(
            "No failure is counted and no job fails. The whole lane is paused for {} \
             (`retry.throttled_day_ms`), with one line in the log; other lanes go on.",
            time(policy.throttled_day_ms)
        ),
        Row::Pause => format!(
            "No failure is counted and no job fails. The whole lane is paused for {} \
             (`retry.paused_ms`), with one line in the log; other lanes go on.",
            time(policy.paused_ms)
        ),
        Row::Reask => format!(
            "The model is shown its own answer and what is wrong with it, at most {} \
             (`retry.reasks_max`), each time in a new call. After that the job ends `failed`.",
            times(policy.reasks_max)
        ),
        Row::End(EndState::Failed) => {
            "The job ends `failed` at once, because a second call would end the same way."
                .to_owned()
        }
        Row::End(EndState::Expired) => "The job ends `expired`.".to_owned(),
        Row::End(EndState::Cancelled) => "The job ends `cancelled`.".to_owned(),
    };
    if lane::pauses(kind) {
        text.push_str(
            " When the pause is over, one call tries the lane before the others go on, and if it \
             fails in the same way the lane is paused again.",
        );
    }
    text
}

fn backoff(
    kind: ErrorKind,
    policy: &Policy,
    (base_ms, ms_min, failures_max): (u64, u64, u32),
) -> String {
    let setting = if kind == ErrorKind::Unavailable { "unavailable" } else { "backoff" };
    let never_sooner = if ms_min > 0 {
        format!(", and never sooner than {} (`retry.model_not_ready_ms_min`)", time(ms_min))
    } else {
        String::new()
    };
    let end = if failures_max < policy.failures_max {
        format!("At the {} failure the job ends `failed`", nth(failures_max))
    } else {
        format!(
            "At the {} failure (`retry.failures_max`, or the job's own `max_attempts`) the job \
             ends `failed`",
            nth(policy.failures_max)
        )
    };
    let retries = format!(
        "The call is made again after a random wait of up to {}, each further time up to {} \
         (`retry.{setting}_base_ms`, `retry.backoff_factor`), at most {} \
         (`retry.backoff_ms_max`){never_sooner}. {end}.",
        time(base_ms),
        longer(policy.backoff_factor),
        time(policy.backoff_ms_max)
    );
    if lane::is_outage(kind) { format!("{retries} {}", outage(policy)) } else { retries }
}

fn outage(policy: &Policy) -> String {
    format!(
        "But when the last {} calls of a lane have failed so (`retry.outage_calls`), it is an \
         outage and no fault of the jobs: the whole lane is paused for up to {}, then longer, up to \
         {} (`retry.outage_ms_base`, `retry.outage_ms_max`), with one line in the log each time, \
         and these failures are not counted.",
        policy.outage_calls,
        time(policy.outage_ms_base),
        time(policy.outage_ms_max)
    )
}

fn throttle(kind: ErrorKind, policy: &Policy) -> String {
    let dimension = if kind == ErrorKind::ThrottledTokens { "tokens" } else { "requests" };
    format!(
        "No failure is counted. The job waits for a random time of up to {}, then longer, up to \
         {} (`retry.throttle_base_ms`, `retry.backoff_ms_max`), and at least as long as the \
         provider asks. The lane goes slower for all workers: its limit of {dimension} falls to \
         what the provider has just accepted, and grows back with time. At the {} throttle \
         (`retry.throttles_max`) the job ends `failed`.",
        time(policy.throttle_base_ms),
        time(policy.backoff_ms_max),
        nth(policy.throttles_max)
    )
}

/// A span as people write it: `250 ms`, `5 s`, `1 min`, `1 h`.
fn time(ms: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let whole = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}

/// `1st`, `2nd`, `3rd`, `11th`.
fn nth(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn longer(factor: u32) -> String {
    match factor {
        0 | 1 => "as long".to_owned(),
        2 => "twice as long".to_owned(),
        factor => format!("{factor} times as long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_hold_the_numbers_in_force() {
        let policy = Policy { failures_max: 7, throttled_day_ms: 1_500, ..Policy::default() };
        assert!(in_words(ErrorKind::Internal, &policy).contains("At the 7th failure"));
        assert!(in_words(ErrorKind::ThrottledDay, &policy).contains("paused for 1500 ms"));
        assert!(in_words(ErrorKind::ModelError, &policy).contains("At the 2nd failure the job"));
        let once = Policy { failures_max: 1, reasks_max: 1, ..Policy::default() };
        assert!(in_words(ErrorKind::CallTimeout, &once).contains("At the 1st failure (`retry."));
        assert!(in_words(ErrorKind::Empty, &once).contains("at most once"));
    }

    #[test]
    fn spans_and_ordinals_read_well() {
        let spans = [250, 5_000, 61_000, 60_000, 3_600_000].map(time);
        assert_eq!(spans, ["250 ms", "5 s", "61 s", "1 min", "1 h"]);
        assert_eq!(
            [1, 2, 3, 4, 11, 22, 10_000].map(nth).join(" "),
            "1st 2nd 3rd 4th 11th 22nd 10000th"
        );
    }
}
