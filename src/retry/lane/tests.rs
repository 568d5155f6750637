//! Tests of a lane's pauses: call by call, and over hours of simulated time.
//! Must not know: stores, workers.

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::super::{Counters, Timing, Verdict, counted, decide};
use super::*;

/// A lane, its time, and its chance.
struct Scene {
    lane: Lane,
    policy: Policy,
    now_ms: u64,
    rng: SmallRng,
    calls: u128,
}

impl Scene {
    fn new() -> Self {
        let (lane, policy) = (Lane::default(), Policy { outage_calls: 4, ..Policy::default() });
        Self { lane, policy, now_ms: 1_000_000, rng: SmallRng::seed_from_u64(7), calls: 0 }
    }

    /// A call of this job is claimed; its fence.
    fn claim(&mut self) -> u128 {
        self.calls += 1;
        self.lane.claimed(self.calls, self.now_ms);
        self.calls
    }

    fn fail(&mut self, kind: ErrorKind, job: u128, fence: u128) -> Option<Out> {
        let unsent = kind == ErrorKind::ConnectFailed;
        let failure = Failure { kind, unsent, job, fence, failures: 0, retry_after_ms: None };
        let out = self.lane.failed(&failure, &self.policy, self.now_ms, &mut self.rng);
        self.lane.over(fence);
        out
    }

    /// Claims a call of this job, and it fails at once.
    fn call(&mut self, kind: ErrorKind, job: u128) -> Option<Out> {
        let fence = self.claim();
        self.fail(kind, job, fence)
    }

    fn works(&mut self) -> bool {
        let fence = self.claim();
        let recovered = self.lane.worked(fence, self.now_ms);
        self.lane.over(fence);
        recovered
    }

    fn allowed(&self) -> Allowed {
        self.lane.allowed(self.now_ms)
    }

    /// Lets the pause pass.
    fn wait(&mut self) {
        if let Allowed::None { for_ms } = self.allowed() {
            self.now_ms += for_ms;
        }
    }
}

const OUTAGES: [ErrorKind; 5] = [
    ErrorKind::ConnectFailed,
    ErrorKind::Unavailable,
    ErrorKind::Overloaded,
    ErrorKind::Internal,
    ErrorKind::FirstTokenTimeout,
];
const PAUSES: [ErrorKind; 3] =
    [ErrorKind::Credentials, ErrorKind::AccessDenied, ErrorKind::ThrottledDay];

#[test]
fn four_calls_of_different_jobs_that_fail_in_a_row_are_an_outage() {
    for kind in OUTAGES {
        let mut scene = Scene::new();
        for job in 1..=3 {
            assert_eq!(scene.call(kind, job), None, "{kind}");
            assert_eq!(scene.allowed(), Allowed::All);
        }
        let out = scene.call(kind, 4).unwrap();
        assert!(out.began && (500..=1_000).contains(&out.for_ms), "{kind}: {out:?}");
        assert_eq!(scene.allowed(), Allowed::None { for_ms: out.for_ms });
        assert_eq!(scene.lane.why(), Some(kind));
    }
}

#[test]
fn anything_that_works_in_between_makes_it_no_outage() {
    for kind in OUTAGES {
        let mut scene = Scene::new();
        for job in 0..50 {
            assert_eq!(scene.call(kind, job), None, "{kind}");
            if job % 3 == 2 {
                // Being refused is an answer, too.
                assert_eq!(scene.call(ErrorKind::InvalidRequest, 1_000 + job), None);
            }
        }
    }
}

#[test]
fn a_job_that_breaks_the_model_by_its_input_is_no_outage() {
    for kind in [ErrorKind::Internal, ErrorKind::FirstTokenTimeout] {
        let mut scene = Scene::new();
        assert!((0..50).all(|_| scene.call(kind, 1).is_none()), "{kind}");
    }
    // A connection that broke after the request may be the request's fault.
    let mut scene = Scene::new();
    for _ in 0..50 {
        let fence = scene.claim();
        let failure = Failure {
            kind: ErrorKind::ConnectFailed,
            unsent: false,
            job: 1,
            fence,
            failures: 3,
            retry_after_ms: None,
        };
        assert_eq!(scene.lane.failed(&failure, &scene.policy, scene.now_ms, &mut scene.rng), None);
    }
}

#[test]
fn a_job_that_has_failed_once_for_another_reason_still_sees_the_outage_before_it_fails() {
    let policy = Policy::default();
    assert!(policy.outage_calls < policy.failures_max);
    let mut scene = Scene { policy, ..Scene::new() };
    let own: Vec<bool> = (0..3).map(|_| scene.call(ErrorKind::Unavailable, 1).is_none()).collect();
    assert_eq!(own, [true, true, false]);
}

#[test]
fn a_job_alone_in_its_lane_sees_the_outage_before_it_fails() {
    for kind in [ErrorKind::ConnectFailed, ErrorKind::Unavailable, ErrorKind::Overloaded] {
        let mut scene = Scene::new();
        let own: Vec<bool> = (0..4).map(|_| scene.call(kind, 1).is_none()).collect();
        assert_eq!(own, [true, true, true, false], "{kind}");
        // Three times elsewhere: what it met there speaks where nothing works either ...
        let failure =
            Failure { kind, unsent: true, job: 1, fence: 9, failures: 3, retry_after_ms: None };
        let mut elsewhere = Scene::new();
        let failed = |scene: &mut Scene| {
            scene.lane.failed(&failure, &scene.policy, scene.now_ms, &mut scene.rng)
        };
        assert!(failed(&mut elsewhere).is_some());
        // ... and not where others have just succeeded.
        let mut among_others = Scene::new();
        among_others.works();
        assert_eq!(failed(&mut among_others), None);
    }
}

#[test]
fn missing_credentials_pause_the_lane_at_once_and_only_the_first_says_so() {
    for kind in PAUSES {
        let mut scene = Scene::new();
        let fences: Vec<u128> = (0..50).map(|_| scene.claim()).collect();
        let outs: Vec<Out> =
            fences.iter().map(|fence| scene.fail(kind, *fence, *fence).unwrap()).collect();
        assert_eq!(outs.iter().filter(|out| out.began).count(), 1, "{kind}");
        assert!(outs[0].began && outs[0].for_ms >= 60_000);
        // The others, later too, are told what is left of it.
        scene.now_ms += 20_000;
        let late = scene.fail(kind, 99, 99).unwrap();
        assert_eq!(late, Out { for_ms: outs[0].for_ms - 20_000, began: false, again: false });
    }
}

#[test]
fn when_the_pause_is_over_one_call_tries_the_lane() {
    for kind in OUTAGES.into_iter().chain(PAUSES) {
        let mut scene = Scene::new();
        for job in 0..4 {
            scene.call(kind, job);
        }
        scene.wait();
        assert_eq!(scene.allowed(), Allowed::One, "{kind}");
        let probe = scene.claim();
        assert_eq!(scene.allowed(), Allowed::None { for_ms: 0 }, "nobody beside it");
        // One that was stopped proves nothing: another one tries.
        scene.lane.over(probe);
        assert_eq!(scene.allowed(), Allowed::One);
        let again = scene.call(kind, 1).unwrap();
        assert!(again.began && again.again, "{kind}: the probe failed");
        scene.wait();
        assert!(scene.works(), "{kind}: the probe worked");
        assert_eq!(scene.allowed(), Allowed::All);
        assert!(!scene.works(), "{kind}: that is news once");
    }
}

#[test]
fn a_call_from_before_the_pause_ends_it_neither_way() {
    let mut scene = Scene::new();
    let old = scene.claim();
    scene.call(ErrorKind::Credentials, 1);
    assert!(!scene.lane.worked(old, scene.now_ms));
    assert!(matches!(scene.allowed(), Allowed::None { .. }));
    scene.wait();
    let probe = scene.claim();
    assert_eq!(
        scene.fail(ErrorKind::Credentials, 2, old),
        Some(Out { for_ms: 0, began: false, again: false }),
        "the probe decides"
    );
    assert!(scene.lane.worked(probe, scene.now_ms));
}

#[test]
fn a_pause_of_another_worker_ends_with_a_probe_here_too() {
    let mut scene = Scene::new();
    scene.lane.heard(5_000, Some(ErrorKind::Credentials), scene.now_ms);
    assert_eq!(scene.allowed(), Allowed::None { for_ms: 5_000 });
    assert_eq!(scene.lane.why(), Some(ErrorKind::Credentials));
    scene.wait();
    assert_eq!(scene.allowed(), Allowed::One);
    assert!(scene.works());
}

#[test]
fn a_person_who_resumes_a_lane_has_it_tried_at_once() {
    let mut scene = Scene::new();
    assert!(!scene.lane.try_now(scene.now_ms), "it is in order");
    scene.call(ErrorKind::ThrottledDay, 1).unwrap();
    assert!(scene.lane.try_now(scene.now_ms));
    assert_eq!(scene.allowed(), Allowed::One);
    let probe = scene.claim();
    assert!(scene.lane.try_now(scene.now_ms), "said twice");
    assert_eq!(scene.allowed(), Allowed::None { for_ms: 0 }, "still one call alone");
    assert!(scene.fail(ErrorKind::ThrottledDay, 2, probe).unwrap().again, "and it was too early");
    assert!(matches!(scene.allowed(), Allowed::None { for_ms: 1.. }));
}

#[test]
fn an_outages_pauses_grow_to_their_limit_and_an_outage_that_returns_goes_on_from_there() {
    let mut scene = Scene::new();
    for job in 0..3 {
        scene.call(ErrorKind::Unavailable, job);
    }
    let mut most_ms = 1_000;
    for _ in 0..12 {
        let out = scene.call(ErrorKind::Unavailable, 9).unwrap();
        assert!((most_ms / 2..=most_ms).contains(&out.for_ms), "{out:?} of {most_ms}");
        most_ms = (most_ms * 2).min(60_000);
        scene.wait();
    }
    assert!(scene.works());
    for job in 0..3 {
        assert_eq!(scene.call(ErrorKind::Unavailable, job), None);
    }
    let out = scene.call(ErrorKind::Unavailable, 4).unwrap();
    assert!(out.for_ms >= 30_000, "a storm in gusts is one storm: {out:?}");
    // After a good while it is a new one.
    scene.wait();
    assert!(scene.works());
    scene.now_ms += 60_000;
    let outs: Vec<_> = (0..4).map(|job| scene.call(ErrorKind::Unavailable, job)).collect();
    assert!(outs[3].unwrap().for_ms <= 1_000, "{outs:?}");
}

#[test]
fn a_retry_after_is_a_floor_of_the_pause() {
    let mut scene = Scene::new();
    for job in 0..4 {
        let fence = scene.claim();
        let retry_after_ms = Some(45_000);
        let kind = ErrorKind::Unavailable;
        let failure = Failure { kind, unsent: false, job, fence, failures: 0, retry_after_ms };
        let out = scene.lane.failed(&failure, &scene.policy, scene.now_ms, &mut scene.rng);
        assert!(out.is_none_or(|out| out.for_ms >= 45_000));
    }
}

/// A job as a worker drives it.
#[derive(Clone)]
struct Job {
    due_ms: u64,
    counters: Counters,
    ended: Option<bool>,
}

/// Drives jobs through one worker with `slots` calls at once, each of which takes 100 ms, until all
/// have ended or `until_ms`; `fails` says how a job's call fails at a time. Returns the calls made.
fn drive(
    jobs: &mut [Job],
    slots: usize,
    until_ms: u64,
    seed: u64,
    fails: impl Fn(usize, u64) -> Option<ErrorKind>,
) -> u64 {
    let (policy, mut lane) = (Policy::default(), Lane::default());
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut now_ms, mut made) = (0, 0_u64);
    while now_ms < until_ms && jobs.iter().any(|job| job.ended.is_none()) {
        let most = match lane.allowed(now_ms) {
            Allowed::All => slots,
            Allowed::One => 1,
            Allowed::None { .. } => 0,
        };
        let due = |job: &Job| job.ended.is_none() && job.due_ms <= now_ms;
        let claimed: Vec<usize> = (0..jobs.len()).filter(|n| due(&jobs[*n])).take(most).collect();
        let first_fence = u128::from(made);
        for place in 0..claimed.len() {
            lane.claimed(first_fence + wide(place), now_ms);
        }
        made += u64::try_from(claimed.len()).unwrap();
        now_ms += 100;
        for (place, number) in claimed.into_iter().enumerate() {
            let fence = first_fence + wide(place);
            let job = &mut jobs[number];
            if let Some(kind) = fails(number, now_ms) {
                let failure = Failure {
                    kind,
                    unsent: kind == ErrorKind::ConnectFailed,
                    job: wide(number),
                    fence,
                    failures: job.counters.failures,
                    retry_after_ms: None,
                };
                let out = lane.failed(&failure, &policy, now_ms, &mut rng);
                let timing = Timing {
                    retry_after_ms: None,
                    deadline_in_ms: 7 * 86_400_000,
                    lane_out_ms: out.map(|out| out.for_ms),
                };
                let verdict = decide(kind, &job.counters, &policy, timing, &mut rng);
                job.counters = job.counters.plus(counted(kind, &verdict));
                match verdict {
                    Verdict::Retry { after_ms } | Verdict::Snooze { after_ms, .. } => {
                        job.due_ms = now_ms + after_ms;
                    }
                    Verdict::Reask => {}
                    Verdict::End { .. } => job.ended = Some(false),
                }
            } else {
                lane.worked(fence, now_ms);
                job.ended = Some(true);
            }
            lane.over(fence);
        }
    }
    made
}

fn wide(number: usize) -> u128 {
    u128::try_from(number).unwrap()
}

fn fresh(count: usize) -> Vec<Job> {
    vec![Job { due_ms: 0, counters: Counters::default(), ended: None }; count]
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn an_outage_of_an_hour_fails_no_job_and_causes_no_storm() {
    for kind in OUTAGES {
        for count in [200, 5] {
            let mut jobs = fresh(count);
            let made = drive(&mut jobs, 50, 2 * HOUR_MS, 1, |_, now_ms| {
                (now_ms < HOUR_MS).then_some(kind)
            });
            assert!(jobs.iter().all(|job| job.ended == Some(true)), "{kind}");
            // The first burst, some seconds of growing pauses, then two probes a minute at most.
            let wasted = made - u64::try_from(count).unwrap();
            assert!(wasted <= 50 + 140, "{kind}: {wasted} calls for nothing");
        }
    }
}

#[test]
fn a_single_job_outlives_an_outage_that_it_cannot_have_caused() {
    for kind in [ErrorKind::ConnectFailed, ErrorKind::Unavailable, ErrorKind::Overloaded] {
        let mut jobs = fresh(1);
        drive(&mut jobs, 50, 2 * HOUR_MS, 1, |_, now_ms| (now_ms < HOUR_MS).then_some(kind));
        assert_eq!(jobs[0].ended, Some(true), "{kind}");
        assert!(jobs[0].counters.failures < Policy::default().failures_max);
    }
}

#[test]
fn a_job_that_alone_causes_the_failure_ends_after_its_tries() {
    for kind in OUTAGES {
        let mut jobs = fresh(500);
        drive(&mut jobs, 10, HOUR_MS, 1, |number, _| (number == 3).then_some(kind));
        assert_eq!(jobs[3].ended, Some(false), "{kind}");
        assert_eq!(jobs[3].counters.failures, 4);
        assert!(jobs.iter().enumerate().all(|(n, job)| n == 3 || job.ended == Some(true)));
    }
    for kind in [ErrorKind::Internal, ErrorKind::FirstTokenTimeout] {
        let mut alone = fresh(1);
        assert_eq!(drive(&mut alone, 10, HOUR_MS, 1, |_, _| Some(kind)), 4, "{kind}");
        assert_eq!(alone[0].ended, Some(false));
    }
}

proptest! {
    /// Whatever comes in whatever order: a lane out of order is tried again, and a probe that works
    /// always brings it back.
    #[test]
    fn a_lane_is_never_lost(
        kinds in proptest::collection::vec(proptest::sample::select(ErrorKind::ALL.to_vec()), 0..200),
        seed: u64,
    ) {
        let mut scene = Scene { rng: SmallRng::seed_from_u64(seed), ..Scene::new() };
        for (job, kind) in (0..).zip(kinds) {
            scene.wait();
            prop_assert_ne!(scene.allowed(), Allowed::None { for_ms: 0 });
            if let Some(out) = scene.call(kind, job % 7) {
                prop_assert!(out.for_ms <= 3_960_000);
            }
        }
        scene.wait();
        scene.works();
        prop_assert_eq!(scene.allowed(), Allowed::All);
    }
}
