//! A model of the state machine, and random lives of jobs that both it and the store go through.
//! What the model cannot know (which of several jobs a claim takes, who wins a jitter) it learns
//! from the store's answer, and then holds the store to it.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{ClaimedJob, Finish, Finished, NewJob, Next};
use uuid::Uuid;

use crate::world::{Engine, World, again, cut, failure, ids, key, success};

/// How many lives are tried, and how long each may be.
const LIVES: u32 = 32;
const STEPS_MAX: usize = 60;

/// The crash that ends a job, as `world::rescue_ask` says.
const CRASHES_MAX: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Admit { delay_ms: i64, deadline_ms: i64, hold: bool, deduped: bool },
    Claim { slots: usize },
    Finish { attempt: usize, how: How },
    GiveBack { attempt: usize },
    Crash,
    Cancel { job: usize },
    Retry { job: usize },
    Promote,
    Advance { ms: u64 },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Succeed,
    Fail,
    Again,
    Later,
    Hold,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        4 => Just(How::Succeed),
        1 => Just(How::Fail),
        2 => Just(How::Again),
        1 => Just(How::Later),
        1 => Just(How::Hold),
    ];
    let time = prop_oneof![3 => Just(0_i64), 1 => 1_000_i64..20_000];
    let deadline = prop_oneof![2 => Just(10_000_000_i64), 1 => 5_000_i64..60_000];
    prop_oneof![
        4 => (time, deadline, any::<bool>(), proptest::bool::weighted(0.3)).prop_map(
            |(delay_ms, deadline_ms, hold, deduped)| Step::Admit {
                delay_ms, deadline_ms, hold, deduped
            }
        ),
        4 => (0_usize..4).prop_map(|slots| Step::Claim { slots }),
        6 => (any::<usize>(), how).prop_map(|(attempt, how)| Step::Finish { attempt, how }),
        1 => any::<usize>().prop_map(|attempt| Step::GiveBack { attempt }),
        1 => Just(Step::Crash),
        1 => any::<usize>().prop_map(|job| Step::Cancel { job }),
        2 => any::<usize>().prop_map(|job| Step::Retry { job }),
        2 => Just(Step::Promote),
        2 => (1_u64..15_000).prop_map(|ms| Step::Advance { ms }),
    ]
}

/// What the model remembers of a job.
struct ModelJob {
    state: State,
    due: bool,
    run_at: i64,
    deadline_at: i64,
    hold: bool,
    deduped: bool,
    crashes: u32,
    calls: u32,
    /// The fence of the attempt that runs.
    fence: Option<Uuid>,
}

impl ModelJob {
    fn end(&mut self, state: State) {
        self.state = state;
        self.fence = None;
    }

    /// A finish or a crash puts it back, due at `run_at`.
    fn put_back(&mut self, state: State, due: bool, run_at: i64) {
        self.state = state;
        self.fence = None;
        self.due = due;
        self.run_at = run_at;
    }
}

/// What the model remembers of an attempt.
struct ModelAttempt {
    claimed: ClaimedJob,
    /// Its finish, or that it was never sent, is recorded.
    recorded: bool,
}

#[derive(Default)]
struct Model {
    jobs: HashMap<Uuid, ModelJob>,
    order: Vec<Uuid>,
    attempts: Vec<ModelAttempt>,
}

impl Model {
    fn ready(&self) -> usize {
        self.jobs.values().filter(|job| job.state == State::Ready && job.due).count()
    }

    fn holds_key(&self) -> bool {
        self.jobs.values().any(|job| job.deduped && !job.state.is_terminal())
    }

    fn pick(&self, index: usize) -> Option<Uuid> {
        (!self.order.is_empty()).then(|| self.order[index % self.order.len()])
    }

    async fn take(&mut self, world: &mut World, step: Step) {
        match step {
            Step::Admit { delay_ms, deadline_ms, hold, deduped } => {
                self.admit(world, (delay_ms, deadline_ms), hold, deduped).await;
            }
            Step::Claim { slots } => self.claim(world, slots).await,
            Step::Finish { attempt, how } if !self.attempts.is_empty() => {
                self.finish(world, attempt % self.attempts.len(), how).await;
            }
            Step::GiveBack { attempt } if !self.attempts.is_empty() => {
                self.give_back(world, attempt % self.attempts.len()).await;
            }
            Step::Finish { .. } | Step::GiveBack { .. } => {}
            Step::Crash => self.crash(world).await,
            Step::Cancel { job } => self.cancel(world, job).await,
            Step::Retry { job } => self.retry(world, job).await,
            Step::Promote => self.promote(world).await,
            Step::Advance { ms } => world.hand.advance(ms),
        }
    }

    async fn admit(&mut self, world: &World, times: (i64, i64), hold: bool, deduped: bool) {
        let deduped = deduped && !self.holds_key();
        let now = world.now_ms();
        let job = NewJob {
            run_at: now + times.0,
            deadline_at: now + times.1,
            hold,
            dedupe_key: deduped.then(|| "key".to_owned()),
            ..world.job()
        };
        let model = ModelJob {
            state: State::Ready,
            due: times.0 == 0,
            run_at: job.run_at,
            deadline_at: job.deadline_at,
            hold,
            deduped,
            crashes: 0,
            calls: 0,
            fence: None,
        };
        let id = world.admit(vec![job]).await[0];
        self.jobs.insert(id, model);
        self.order.push(id);
    }

    async fn claim(&mut self, world: &World, slots: usize) {
        let expected = slots.min(self.ready());
        let claimed = world.claim(slots).await;
        assert_eq!(claimed.jobs.len(), expected, "all that is due is claimable");
        for claimed in claimed.jobs {
            let job = self.jobs.get_mut(&claimed.job_id).unwrap();
            assert!(job.state == State::Ready && job.due);
            job.state = State::Running;
            job.fence = Some(claimed.fence);
            job.calls += 1;
            assert_eq!(claimed.number, job.calls);
            assert_eq!(claimed.counters.crashes, job.crashes);
            self.attempts.push(ModelAttempt { claimed, recorded: false });
        }
    }

    async fn finish(&mut self, world: &World, attempt: usize, how: How) {
        let attempt = &mut self.attempts[attempt];
        let claimed = &attempt.claimed;
        let later = 5_000;
        let finish: Finish = match how {
            How::Succeed => success(claimed),
            How::Fail => failure(claimed, ErrorKind::Refused),
            How::Again => again(claimed, 0),
            How::Later => again(claimed, later),
            How::Hold => cut(claimed, Next::Held),
        };
        let finished = world.finish(finish).await;
        if attempt.recorded {
            assert_eq!(finished, Finished::Replayed);
            return;
        }
        attempt.recorded = true;
        let job = self.jobs.get_mut(&claimed.job_id).unwrap();
        let current = job.fence == Some(claimed.fence);
        let now = world.now_ms();
        let expected = match how {
            How::Succeed | How::Fail if !job.state.is_terminal() => {
                let succeeds = matches!(how, How::Succeed);
                job.end(if succeeds { State::Succeeded } else { State::Failed });
                Finished::Moved(job.state)
            }
            How::Again if current => {
                job.put_back(State::Ready, true, now);
                Finished::Moved(State::Ready)
            }
            How::Later if current => {
                job.put_back(State::Ready, false, now + i64::try_from(later).unwrap());
                Finished::Moved(State::Ready)
            }
            How::Hold if current => {
                job.put_back(State::Held, job.due, job.run_at);
                Finished::Moved(State::Held)
            }
            _ => Finished::Late,
        };
        assert_eq!(finished, expected);
    }

    async fn give_back(&mut self, world: &World, attempt: usize) {
        let attempt = &mut self.attempts[attempt];
        world.store.give_back(&[key(&attempt.claimed)]).await.unwrap();
        if attempt.recorded {
            return;
        }
        attempt.recorded = true;
        let job = self.jobs.get_mut(&attempt.claimed.job_id).unwrap();
        if job.fence == Some(attempt.claimed.fence) {
            job.put_back(State::Ready, true, job.run_at);
        }
    }

    async fn crash(&mut self, world: &mut World) {
        let dead = world.lease;
        world.restart().await;
        let rescued = world.rescue(dead).await;
        let now = world.now_ms();
        let running = self.jobs.values_mut().filter(|job| job.state == State::Running);
        let (mut ready, mut held, mut ended) = (0, 0, 0);
        for job in running {
            if job.crashes + 1 >= CRASHES_MAX {
                job.end(State::Failed);
                ended += 1;
            } else if job.deadline_at <= now {
                job.end(State::Expired);
                ended += 1;
            } else if job.hold {
                job.crashes += 1;
                job.put_back(State::Held, true, now);
                held += 1;
            } else {
                job.crashes += 1;
                job.put_back(State::Ready, true, now);
                ready += 1;
            }
        }
        assert_eq!((rescued.ready, rescued.held, rescued.ended), (ready, held, ended));
        assert_eq!(rescued.attempts, ready + held + ended);
    }

    async fn cancel(&mut self, world: &World, job: usize) {
        let Some(id) = self.pick(job) else { return };
        let job = self.jobs.get_mut(&id).unwrap();
        let expected = if job.state.is_terminal() { Vec::new() } else { vec![id] };
        assert_eq!(world.store.cancel(&[id]).await.unwrap(), expected);
        if !expected.is_empty() {
            job.end(State::Cancelled);
        }
    }

    async fn retry(&mut self, world: &World, job: usize) {
        let Some(id) = self.pick(job) else { return };
        let held_by_another = {
            let mut others = self.jobs.iter().filter(|(other, _)| **other != id);
            others.any(|(_, job)| job.deduped && !job.state.is_terminal())
        };
        let job = self.jobs.get_mut(&id).unwrap();
        let may =
            matches!(job.state, State::Failed | State::Expired | State::Cancelled | State::Held);
        let moves = may && !(job.deduped && held_by_another);
        let deadline_at = world.now_ms() + 30_000;
        let expected = if moves { vec![id] } else { Vec::new() };
        assert_eq!(world.store.retry(&[id], deadline_at).await.unwrap(), expected);
        if moves {
            job.put_back(State::Ready, true, world.now_ms());
            job.deadline_at = deadline_at;
            job.crashes = 0;
        }
    }

    async fn promote(&mut self, world: &World) {
        let promoted = world.store.promote(1_000).await.unwrap();
        let now = world.now_ms();
        let (mut due, mut expired) = (0, 0);
        for job in self.jobs.values_mut() {
            if job.state == State::Ready && !job.due && job.run_at <= now {
                job.due = true;
                due += 1;
            }
            if matches!(job.state, State::Ready | State::Held) && job.deadline_at <= now {
                job.end(State::Expired);
                expired += 1;
            }
        }
        assert_eq!((promoted.due, promoted.expired), (due, expired));
    }

    /// Every job stands where the model says, every ended one has exactly one result, and what
    /// runs is exactly what is open.
    async fn check(&self, world: &World) {
        let results = world.results().await;
        let mut in_flight = 0;
        let mut open = 0;
        for (id, job) in &self.jobs {
            let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
            assert_eq!(page.row.state, job.state);
            assert_eq!(page.row.calls, job.calls);
            assert_eq!(page.row.ended_at.is_some(), job.state.is_terminal());
            let own: Vec<State> =
                results.iter().filter(|row| row.job_id == *id).map(|row| row.state).collect();
            let expected = if job.state.is_terminal() { vec![job.state] } else { Vec::new() };
            assert_eq!(own, expected, "one result where it has ended, none before");
            in_flight += usize::from(job.state == State::Running);
            open += page.attempts.iter().filter(|attempt| attempt.outcome.is_none()).count();
        }
        assert_eq!(in_flight, open, "what runs has one open attempt each, and nothing else has");
        let beat = world.store.beat(world.lease).await.unwrap().unwrap();
        assert_eq!(beat.len(), in_flight, "and it runs under a living lease");
    }

    /// Whatever has happened, every job can still reach its end.
    async fn drain(&mut self, world: &mut World) {
        let held: Vec<usize> = (0..self.order.len())
            .filter(|at| self.jobs[&self.order[*at]].state == State::Held)
            .collect();
        for at in held {
            self.cancel(world, at).await;
        }
        self.crash(world).await;
        world.hand.advance(60_000);
        self.promote(world).await;
        self.claim(world, 1_000).await;
        for attempt in 0..self.attempts.len() {
            self.finish(world, attempt, How::Succeed).await;
        }
        for id in self.order.clone() {
            if self.jobs[&id].state == State::Held {
                let at = self.order.iter().position(|other| *other == id).unwrap();
                self.cancel(world, at).await;
            }
        }
        assert!(ids(&world.claim(10).await).is_empty());
        self.check(world).await;
        assert!(self.jobs.values().all(|job| job.state.is_terminal()));
    }
}

async fn live(engine: Engine, steps: Vec<Step>) {
    let mut world = World::open(engine).await;
    let mut model = Model::default();
    for step in steps {
        model.take(&mut world, step).await;
        model.check(&world).await;
    }
    model.drain(&mut world).await;
}

#[test]
fn every_life_of_jobs_goes_as_the_model_says_on_sqlite() {
    try_lives(Engine::Sqlite);
}

#[test]
fn every_life_of_jobs_goes_as_the_model_says_on_postgres() {
    try_lives(Engine::Postgres);
}

fn try_lives(engine: Engine) {
    let config = Config { cases: LIVES, failure_persistence: None, ..Config::default() };
    let lives = proptest::collection::vec(step(), 1..STEPS_MAX);
    let result = TestRunner::new(config).run(&lives, |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(live(engine, steps));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
