//! What the relay knows of the queues that it sends to: how each is reached, what it takes, and for
//! how long it is left alone.
//! Must not know: results, stores; time and random numbers are arguments.

use std::collections::HashMap;

use rand::Rng;

use super::RelayOptions;
use super::decide::{Passes, passes, wait_ms};
use crate::message_queue::{QueueError, QueueErrorKind, QueueResult};

/// So many queues are remembered; past it those are forgotten that were not needed for longest.
const KNOWN_MAX: usize = 1_000;
/// While the first messages to a queue are on their way that may fail as a whole, others to it come
/// again after so long.
pub(super) const PROBED_MS: u64 = 1_000;
/// That results wait for reasons of their own is told again after so long.
const TELL_MS: u64 = 60_000;

/// What sending needs to know of a queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Its URL.
    pub(super) url: Option<String>,
    /// The most bytes of a message, and when that was asked.
    pub(super) limit: Option<(u64, u64)>,
    /// It took the last messages: many may be sent at once.
    pub(super) is_proven: bool,
}

#[derive(Debug, Default)]
struct Target {
    known: Known,
    /// Failures in a row.
    failures: u32,
    /// Left alone until then.
    until_mono_ms: u64,
    /// Why, and what has been told of it.
    error: Option<QueueError>,
    /// Groups of messages on their way.
    in_flight: usize,
    used_mono_ms: u64,
    /// When it was last told that results to it wait for reasons of their own.
    told_mono_ms: Option<u64>,
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Targets(HashMap<String, Target>);

/// A queue that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    /// For so long, in milliseconds.
    pub(super) ms: u64,
    /// Why.
    pub(super) reason: String,
    /// Nothing is known against it: others are being sent just now.
    pub(super) is_short: bool,
}

impl Rest {
    pub(super) fn of(ms: u64, reason: String) -> Self {
        Self { ms, reason, is_short: false }
    }
}

/// What has changed, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It fails, for a reason that was not told yet.
    Fails(QueueError),
    /// It takes messages again.
    Works,
}

impl Targets {
    /// What is known of a queue that messages may be sent to now; they count as on their way from
    /// now on. Else how long it is left alone.
    pub(super) fn begin(&mut self, to: &str, now_mono_ms: u64) -> Result<Known, Rest> {
        self.forget_some(to);
        let target = self.0.entry(to.to_owned()).or_default();
        target.used_mono_ms = now_mono_ms;
        if target.until_mono_ms > now_mono_ms {
            let reason = target.error.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(Rest::of(target.until_mono_ms.saturating_sub(now_mono_ms), reason));
        }
        if !target.known.is_proven && target.in_flight > 0 {
            let reason = "the first messages to this queue are still on their way".to_owned();
            return Err(Rest { ms: PROBED_MS, reason, is_short: true });
        }
        target.in_flight = target.in_flight.saturating_add(1);
        Ok(target.known.clone())
    }

    /// Whether it is time to say that results to a queue wait for reasons of their own.
    pub(super) fn may_tell(&mut self, to: &str, now_mono_ms: u64) -> bool {
        let target = self.0.entry(to.to_owned()).or_default();
        let is_time =
            target.told_mono_ms.is_none_or(|told| now_mono_ms.saturating_sub(told) >= TELL_MS);
        if is_time {
            target.told_mono_ms = Some(now_mono_ms);
        }
        is_time
    }

    /// Messages to a queue have come to nothing that anybody knows.
    pub(super) fn lost(&mut self, to: &str) {
        if let Some(target) = self.0.get_mut(to) {
            target.in_flight = target.in_flight.saturating_sub(1);
        }
    }

    /// What came of messages to a queue: what is known of it now, and what it said as a whole, none
    /// where nothing was sent. Returns for how long it is left alone, and what is new.
    pub(super) fn end(
        &mut self,
        to: &str,
        (known, whole): (Known, Option<&QueueResult<()>>),
        (options, now_mono_ms): (&RelayOptions, u64),
        rng: &mut impl Rng,
    ) -> (Option<Rest>, Option<News>) {
        self.lost(to);
        let Some(target) = self.0.get_mut(to) else { return (None, None) };
        target.known = known;
        let error = match whole {
            None => return (None, None),
            Some(Ok(())) => {
                target.known.is_proven = true;
                target.failures = 0;
                target.until_mono_ms = 0;
                return (None, target.error.take().map(|_| News::Works));
            }
            Some(Err(error)) => error,
        };
        let passes = passes(error.kind);
        let ms = wait_ms(passes, target.failures, options, rng);
        target.known.is_proven = false;
        if passes == Passes::ByAPerson {
            // It may come back as another one.
            target.known = Known::default();
        }
        target.failures = target.failures.saturating_add(1);
        target.until_mono_ms = now_mono_ms.saturating_add(ms);
        let is_told = target.error.as_ref().is_some_and(|told| told.kind == error.kind);
        let news = (!is_told).then(|| News::Fails(error.clone()));
        target.error = Some(error.clone());
        (Some(Rest::of(ms, error.to_string())), news)
    }

    /// How many queues fail of those that are known.
    pub(super) fn failing(&self) -> (usize, usize) {
        let failing = self.0.values().filter(|target| target.error.is_some()).count();
        (failing, self.0.len())
    }

    fn forget_some(&mut self, to: &str) {
        if self.0.len() < KNOWN_MAX || self.0.contains_key(to) {
            return;
        }
        let idle = self.0.iter().filter(|(_, target)| target.in_flight == 0);
        let oldest = idle.min_by_key(|(_, target)| target.used_mono_ms);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.0.remove(&name);
        }
    }
}

/// Whether failures of this kind are the queue's, and not a single message's.
pub(super) fn is_the_queues(kind: QueueErrorKind) -> bool {
    passes(kind) != Passes::Never
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::options;
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn error(kind: QueueErrorKind) -> QueueError {
        QueueError { kind, message: format!("{kind:?}") }
    }

    struct Scene {
        targets: Targets,
        rng: StdRng,
    }

    impl Scene {
        fn new() -> Self {
            Self { targets: Targets::default(), rng: StdRng::seed_from_u64(7) }
        }

        fn end(
            &mut self,
            now_mono_ms: u64,
            whole: Result<(), QueueErrorKind>,
        ) -> (Option<Rest>, Option<News>) {
            let known = Known { url: Some("u".to_owned()), ..Known::default() };
            let whole = whole.map_err(error);
            let at = (&options(), now_mono_ms);
            self.targets.end("a", (known, Some(&whole)), at, &mut self.rng)
        }
    }

    #[test]
    fn a_queue_that_fails_is_left_alone_and_told_of_once_for_each_reason() {
        let mut scene = Scene::new();
        scene.targets.begin("a", 0).unwrap();
        let (rest, news) = scene.end(0, Err(QueueErrorKind::Unreachable));
        assert_eq!(news, Some(News::Fails(error(QueueErrorKind::Unreachable))));
        let rest = rest.unwrap();
        assert!(rest.ms > 0 && rest.ms <= 100, "{rest:?}");
        assert_eq!(scene.targets.begin("a", rest.ms - 1).unwrap_err().ms, 1);
        scene.targets.begin("b", 0).unwrap();
        scene.targets.begin("a", rest.ms).unwrap();
        assert_eq!(scene.end(rest.ms, Err(QueueErrorKind::Unreachable)).1, None);
        assert_eq!(scene.targets.failing(), (1, 2));
        let (_, news) = scene.end(rest.ms, Err(QueueErrorKind::Gone));
        assert_eq!(news, Some(News::Fails(error(QueueErrorKind::Gone))));
        assert_eq!(scene.end(90_000, Ok(())), (None, Some(News::Works)));
        assert_eq!(scene.end(90_000, Ok(())), (None, None));
        assert_eq!(scene.targets.failing(), (0, 2));
    }

    #[test]
    fn an_unproven_queue_gets_one_group_at_a_time_and_a_proven_one_many() {
        let mut scene = Scene::new();
        assert!(!scene.targets.begin("a", 0).unwrap().is_proven);
        assert_eq!(scene.targets.begin("a", 0).unwrap_err().ms, PROBED_MS);
        scene.end(0, Ok(()));
        for _ in 0..3 {
            assert!(scene.targets.begin("a", 0).unwrap().is_proven);
        }
        scene.end(0, Err(QueueErrorKind::Denied));
        assert!(scene.targets.begin("a", 50_000).is_err(), "others are on their way");
        scene.targets.lost("a");
        scene.targets.lost("a");
        let known = scene.targets.begin("a", 50_000).unwrap();
        assert!(known.url.is_none(), "asked for anew");
    }

    #[test]
    fn only_so_many_queues_are_remembered() {
        let mut targets = Targets::default();
        for n in 0..KNOWN_MAX + 10 {
            targets.begin(&n.to_string(), u64::try_from(n).unwrap()).unwrap();
            targets.lost(&n.to_string());
        }
        assert_eq!(targets.0.len(), KNOWN_MAX);
        assert!(!targets.0.contains_key("9") && targets.0.contains_key("10"));
    }

    #[test]
    fn what_waits_for_reasons_of_its_own_is_told_now_and_then() {
        let mut targets = Targets::default();
        let told = |targets: &mut Targets, now| targets.may_tell("a", now);
        assert!(told(&mut targets, 0));
        assert!(!told(&mut targets, 59_999));
        assert!(targets.may_tell("b", 59_999));
        assert!(told(&mut targets, 60_000));
        assert!(!told(&mut targets, 60_001));
    }
}
