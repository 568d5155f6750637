//! What follows a try: which failures pass, how long to wait, and when to give up.
//! Must not know: queues, stores, clocks; time and random numbers are arguments.

use rand::{Rng, RngExt as _};

use super::RelayOptions;
use crate::message_queue::QueueErrorKind;

/// How a failure may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// By itself: a throttle, an outage.
    ByItself,
    /// When a person has made the queue, or given us leave; people do so late.
    ByAPerson,
    /// Never: the same message is refused again.
    Never,
}

/// How a failure of this kind may pass.
pub(super) fn passes(kind: QueueErrorKind) -> Passes {
    match kind {
        QueueErrorKind::Throttled | QueueErrorKind::Unreachable | QueueErrorKind::Full => {
            Passes::ByItself
        }
        QueueErrorKind::Gone | QueueErrorKind::Denied => Passes::ByAPerson,
        // The first two are about receiving; the relay has done all it can about the others.
        QueueErrorKind::Stale
        | QueueErrorKind::Ceiling
        | QueueErrorKind::TooLarge
        | QueueErrorKind::Contents
        | QueueErrorKind::Refused => Passes::Never,
    }
}

/// How long to wait after so many failures in a row before this one, in milliseconds: drawn evenly
/// from next to nothing to a bound that doubles, so that what failed together does not come back together.
pub(super) fn wait_ms(
    passes: Passes,
    failures_before: u32,
    options: &RelayOptions,
    rng: &mut impl Rng,
) -> u64 {
    let (base_ms, ms_max) = match passes {
        Passes::ByItself => (options.retry_ms_base, options.retry_ms_max),
        Passes::ByAPerson | Passes::Never => (options.absent_ms_base, options.absent_ms_max),
    };
    let bound_ms = base_ms.saturating_mul(2_u64.saturating_pow(failures_before)).min(ms_max);
    rng.random_range(1..=bound_ms.max(1))
}

/// Why a result is not tried again that was tried so often and waits for so long, in milliseconds.
pub(super) fn given_up(tries: u32, age_ms: u64, options: &RelayOptions) -> Option<String> {
    if tries >= options.tries_max {
        return Some(format!("given up after {tries} tries (relay.tries_max)"));
    }
    let is_old = age_ms >= options.age_ms_max;
    is_old.then(|| format!("given up {} s after its job's end (relay.age_s_max)", age_ms / 1_000))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admit::ReplyAllow;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    pub(in crate::relay) fn options() -> RelayOptions {
        RelayOptions {
            allow: ReplyAllow::new(vec!["*".to_owned()]),
            bucket_prefix: "quarrier/".to_owned(),
            simulated: false,
            poll_ms: 10,
            rows_max: 100,
            bytes_max: 1 << 20,
            hold_ms: 60_000,
            targets_max: 4,
            batches_max: 2,
            retry_ms_base: 100,
            retry_ms_max: 1_000,
            absent_ms_base: 10_000,
            absent_ms_max: 40_000,
            tries_max: 10,
            age_ms_max: 60_000,
            facts_ms: 60_000,
            stuck_ms_max: 60_000,
        }
    }

    #[test]
    fn waits_are_drawn_from_a_range_that_doubles_up_to_its_bound() {
        let mut rng = StdRng::seed_from_u64(7);
        for (passes, failures, most) in [
            (Passes::ByItself, 0, 100),
            (Passes::ByItself, 2, 400),
            (Passes::ByItself, 90, 1_000),
            (Passes::ByAPerson, 0, 10_000),
            (Passes::ByAPerson, u32::MAX, 40_000),
        ] {
            let waits: Vec<u64> =
                (0..500).map(|_| wait_ms(passes, failures, &options(), &mut rng)).collect();
            let (least, longest) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
            assert!(longest <= most && longest > most * 9 / 10, "{passes:?} {failures}: {longest}");
            assert!(least < most / 10, "{passes:?} {failures}: {least}");
        }
    }

    #[test]
    fn a_result_is_given_up_after_its_tries_or_its_age_and_the_setting_is_named() {
        assert_eq!(given_up(9, 59_999, &options()), None);
        assert!(given_up(10, 0, &options()).unwrap().contains("10 tries (relay.tries_max)"));
        assert!(given_up(0, 60_000, &options()).unwrap().contains("60 s after"));
    }
}
