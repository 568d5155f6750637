//! How queues share a lane: what their caps leave, which keys measure a queue's use, and which
//! candidates go first because their queue is within its reserved share.
//! Must not know: how candidates are found, how anything is counted.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::candidates::Candidate;
use crate::budget::{Charge, Dimension, Keyed};
use crate::job::State;
use crate::store::{ClaimedNew, LimitRule, QueueRow, QueueShare, SHARE_PREFIX, Waiting, rule_for};

/// How many jobs of each queue run now; a queue without any may be left out.
pub(in crate::store) type Running = HashMap<String, u64>;

/// After so many ms a caller whose queue is full looks again.
const FULL_LOOK_MS: u64 = 250;

/// What is configured of this queue, where claims must look at it.
pub(in crate::store) fn binding<'q>(
    queues: &'q [QueueShare],
    name: &str,
) -> Option<&'q QueueShare> {
    queues.iter().find(|queue| queue.name == name && queue.binds())
}

/// The names of the queues with a cap.
pub(in crate::store) fn capped(queues: &[QueueShare]) -> Vec<String> {
    let capped = queues.iter().filter(|queue| queue.concurrency_max.is_some());
    capped.map(|queue| queue.name.clone()).collect()
}

/// The names of the queues with a reserved share.
pub(in crate::store) fn reserving(queues: &[QueueShare]) -> Vec<String> {
    let reserving = queues.iter().filter(|queue| queue.reserved_permille > 0);
    reserving.map(|queue| queue.name.clone()).collect()
}

/// How many more jobs of this queue may run; none where that is not capped.
fn room(queues: &[QueueShare], running: &Running, name: &str) -> Option<u64> {
    let queue = queues.iter().find(|queue| queue.name == name)?;
    let most = u64::from(queue.concurrency_max?);
    Some(most.saturating_sub(running.get(name).copied().unwrap_or(0)))
}

/// What a caller hears whose queue is full.
pub(in crate::store) fn queue_is_full(queue: &str) -> ClaimedNew {
    let waiting = Waiting { key: format!("queue:{queue}"), dimension: Dimension::Requests };
    ClaimedNew::Waits { fits_in_ms: FULL_LOOK_MS, waiting }
}

/// The names of the queues that run as many jobs as they may.
pub(in crate::store) fn full(queues: &[QueueShare], running: &Running) -> Vec<String> {
    capped(queues).into_iter().filter(|name| room(queues, running, name) == Some(0)).collect()
}

/// Keeps of each capped queue the first candidates, as many as may run, and marks them as counted.
/// Returns the names of the queues that lost some.
pub(in crate::store) fn keep_within_caps(
    queues: &[QueueShare],
    running: &Running,
    candidates: &mut Vec<Candidate>,
) -> Vec<String> {
    let mut rooms: HashMap<String, u64> = HashMap::new();
    let mut lost = HashSet::new();
    candidates.retain_mut(|candidate| {
        let Some(room) = room(queues, running, &candidate.queue) else { return true };
        candidate.capped = true;
        let left = rooms.entry(candidate.queue.clone()).or_insert(room);
        if *left == 0 {
            lost.insert(candidate.queue.clone());
        }
        let keeps = *left > 0;
        *left = left.saturating_sub(1);
        keeps
    });
    lost.into_iter().collect()
}

/// Adds those of `more` that are not there yet, in the order of place.
pub(in crate::store) fn merge(candidates: &mut Vec<Candidate>, more: Vec<Candidate>) {
    let there: HashSet<_> = candidates.iter().map(|candidate| candidate.id).collect();
    candidates.extend(more.into_iter().filter(|candidate| !there.contains(&candidate.id)));
    candidates.sort_by(|one, other| one.place.total_cmp(&other.place));
}

/// The names of the keys that a job draws on because its queue is capped (the key is its lock) or
/// has a reserved share (the key measures its use). A lane with a limit of its own has a measure of
/// its own, because a queue's jobs may run in several lanes.
pub(in crate::store) fn key_names(
    rules: &[LimitRule],
    queues: &[QueueShare],
    lane: &str,
    queue: &str,
) -> Vec<String> {
    let Some(bound) = binding(queues, queue) else { return Vec::new() };
    let mut names = vec![format!("queue:{queue}")];
    if bound.reserved_permille > 0 && rule_for(rules, &format!("lane:{lane}")).is_some() {
        names.push(measure(lane, queue));
    }
    names
}

fn measure(lane: &str, queue: &str) -> String {
    format!("{SHARE_PREFIX}{queue}/{lane}")
}

/// What a queue may still draw within its share: of each dimension of each limit.
struct Allowance {
    /// The use that is granted, and the use that there is.
    levels: Vec<(Dimension, u64, u64)>,
}

impl Allowance {
    /// The allowance of a queue in a lane. None where nothing limits the lane: then nobody needs a
    /// share of it.
    fn of(keyed: &[Keyed], queue: &QueueShare, lane: &str) -> Option<Self> {
        let key = |name: &str| keyed.iter().find(|keyed| keyed.name == name);
        let own = format!("queue:{}", queue.name);
        let pairs =
            [("total".to_owned(), own), (format!("lane:{lane}"), measure(lane, &queue.name))];
        let mut levels = Vec::new();
        for (limiting, measuring) in pairs {
            let (Some(limiting), Some(measuring)) = (key(&limiting), key(&measuring)) else {
                continue;
            };
            let limit = limiting.state.level(&limiting.limit);
            let used = measuring.state.level(&measuring.limit);
            for (dimension, limit, used) in [
                (Dimension::Requests, limit.requests, used.requests),
                (Dimension::Tokens, limit.tokens, used.tokens),
            ] {
                if let Some(rate) = limit.effective.filter(|_| limit.limit.is_some()) {
                    let granted = rate.saturating_mul(u64::from(queue.reserved_permille)) / 1_000;
                    let used = used.used.saturating_add(used.in_flight);
                    // Of a small rate at least one call: a share of less than one would be none.
                    levels.push((dimension, granted.max(1), used));
                }
            }
        }
        (!levels.is_empty()).then_some(Self { levels })
    }

    /// Takes a call that begins within the share. It may end beyond it: a share that is smaller
    /// than one call would else be worth nothing.
    fn take(&mut self, reservation: Charge) -> bool {
        let within = self.levels.iter().all(|(_, granted, used)| used < granted);
        if within {
            for (dimension, _, used) in &mut self.levels {
                *used = used.saturating_add(reservation.of(*dimension));
            }
        }
        within
    }
}

/// Puts those candidates first whose queue is within its reserved share, in the order of place; the
/// others follow as they stood. Candidates of `extra` were found by their queue alone: beyond their
/// share they have no turn here, because jobs before them may not have been read.
pub(in crate::store) fn put_first(
    keyed: &[Keyed],
    queues: &[QueueShare],
    lane: &str,
    extra: &HashSet<Uuid>,
    candidates: &mut Vec<Candidate>,
) {
    for queue in queues.iter().filter(|queue| queue.reserved_permille > 0) {
        let Some(mut allowance) = Allowance::of(keyed, queue, lane) else { continue };
        let own = candidates.iter_mut().filter(|candidate| candidate.queue == queue.name);
        for candidate in own {
            candidate.first = allowance.take(candidate.reservation);
            if !candidate.first {
                break;
            }
        }
    }
    candidates.retain(|candidate| candidate.first || !extra.contains(&candidate.id));
    candidates.sort_by_key(|candidate| !candidate.first);
}

/// The full queues with their caps.
pub(in crate::store) fn full_with_caps(
    queues: &[QueueShare],
    running: &Running,
) -> Vec<(String, u32)> {
    let full = full(queues, running);
    let cap = |queue: &QueueShare| Some((queue.name.clone(), queue.concurrency_max?));
    queues.iter().filter(|queue| full.contains(&queue.name)).filter_map(cap).collect()
}

/// Each queue with its counts, by name: the configured ones and those with jobs.
pub(in crate::store) fn rows(
    queues: Vec<QueueShare>,
    counts: impl Iterator<Item = (String, String, u64)>,
) -> Vec<QueueRow> {
    let row = |share: QueueShare| QueueRow { share, ready: 0, running: 0, held: 0 };
    let mut rows: BTreeMap<String, QueueRow> =
        queues.into_iter().map(|share| (share.name.clone(), row(share))).collect();
    for (queue, state, jobs) in counts {
        let found = rows.entry(queue).or_insert_with_key(|name| row(QueueShare::plain(name)));
        match State::from_name(&state) {
            Some(State::Ready) => found.ready = jobs,
            Some(State::Running) => found.running = jobs,
            Some(State::Held) => found.held = jobs,
            _ => {}
        }
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{BudgetState, Limit};
    use crate::job::Wanted;
    use crate::retry::Counters;
    use proptest::prelude::*;

    const LANE: &str = "lane";

    fn candidate(queue: &str, place: f64) -> Candidate {
        let wanted = Wanted { input_tokens_max: 10, max_tokens: 90, burndown: 1 };
        Candidate {
            id: Uuid::now_v7(),
            external_id: None,
            tenant: "t".to_owned(),
            queue: queue.to_owned(),
            place,
            calls: 0,
            counters: Counters::default(),
            max_attempts: None,
            deadline_at: 0,
            wanted,
            hold: false,
            reservation: Candidate::reserves(&wanted),
            keys: Vec::new(),
            capped: false,
            first: false,
        }
    }

    fn reserving_queue(permille: u32) -> QueueShare {
        QueueShare { reserved_permille: permille, ..QueueShare::plain("chat") }
    }

    /// The keys of a lane limited by the total alone, of whose rate `chat` has drawn so much.
    fn keyed(limit: Limit, drawn: u64) -> Vec<Keyed> {
        let key = |name: &str, limit: Limit| Keyed {
            name: name.to_owned(),
            limit,
            state: BudgetState::default(),
        };
        let mut chat = key("queue:chat", Limit::default());
        for _ in 0..drawn {
            let call = Charge { requests: 1, tokens: 100 };
            chat.state.reserve(call, call);
        }
        vec![key("lane:lane", Limit::default()), chat, key("total", limit)]
    }

    fn queues_in_order(
        keyed: &[Keyed],
        share: QueueShare,
        mut candidates: Vec<Candidate>,
    ) -> Vec<String> {
        put_first(keyed, &[share], LANE, &HashSet::new(), &mut candidates);
        candidates.into_iter().map(|candidate| candidate.queue).collect()
    }

    fn batch_then_chat() -> Vec<Candidate> {
        let mut all: Vec<Candidate> = (0..5).map(|n| candidate("batch", f64::from(n))).collect();
        all.extend((5..9).map(|n| candidate("chat", f64::from(n))));
        all
    }

    #[test]
    fn a_queue_below_its_share_goes_first_and_then_by_place() {
        let limit = Limit { requests_per_minute: Some(20), tokens_per_minute: None };
        // A tenth of 20 calls is two.
        let order = queues_in_order(&keyed(limit, 0), reserving_queue(100), batch_then_chat());
        assert_eq!(order[..3], ["chat", "chat", "batch"]);
        assert_eq!(order[7..], ["chat", "chat"]);
        let order = queues_in_order(&keyed(limit, 2), reserving_queue(100), batch_then_chat());
        assert_eq!(order[0], "batch", "its share is drawn");
    }

    #[test]
    fn every_limited_dimension_bounds_the_share() {
        let limit = Limit { requests_per_minute: Some(1_000), tokens_per_minute: Some(1_500) };
        // A tenth of 1,500 tokens: the second call begins within it and ends beyond it.
        let order = queues_in_order(&keyed(limit, 0), reserving_queue(100), batch_then_chat());
        assert_eq!(order[..3], ["chat", "chat", "batch"]);
    }

    #[test]
    fn a_share_smaller_than_one_call_is_one_call_and_without_a_limit_there_is_none() {
        let limit = Limit { requests_per_minute: Some(3), tokens_per_minute: None };
        let order = queues_in_order(&keyed(limit, 0), reserving_queue(10), batch_then_chat());
        assert_eq!(order[..2], ["chat", "batch"]);
        let unlimited = keyed(Limit::default(), 0);
        let order = queues_in_order(&unlimited, reserving_queue(500), batch_then_chat());
        assert_eq!(order[0], "batch");
    }

    #[test]
    fn what_was_found_by_its_queue_alone_has_no_turn_beyond_the_share() {
        let limit = Limit { requests_per_minute: Some(10), tokens_per_minute: None };
        let mut candidates = batch_then_chat();
        let extra: HashSet<Uuid> =
            candidates.iter().filter(|job| job.queue == "chat").map(|job| job.id).collect();
        let share = reserving_queue(100);
        put_first(&keyed(limit, 0), &[share], LANE, &extra, &mut candidates);
        let order: Vec<&str> = candidates.iter().map(|job| job.queue.as_str()).collect();
        assert_eq!(order, ["chat", "batch", "batch", "batch", "batch", "batch"]);
    }

    #[test]
    fn a_lane_with_a_limit_of_its_own_measures_the_queues_use_of_it() {
        let rule = |pattern: &str| LimitRule {
            pattern: pattern.to_owned(),
            limit: Limit { requests_per_minute: Some(1), tokens_per_minute: None },
            origin: String::new(),
        };
        let queues = [reserving_queue(100)];
        let names = |rules: &[LimitRule]| key_names(rules, &queues, "l", "chat");
        assert_eq!(names(&[rule("total")]), ["queue:chat"]);
        assert_eq!(names(&[rule("lane:*")]), ["queue:chat", "share:chat/l"]);
        assert_eq!(key_names(&[rule("lane:*")], &queues, "l", "batch"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_more_are_kept_than_their_caps_leave(
            caps in prop::collection::vec(prop::option::of(1_u32..6), 3),
            runs in prop::collection::vec(0_u64..8, 3),
            jobs in prop::collection::vec(0_usize..3, 0..30),
        ) {
            let names = ["a", "b", "c"];
            let share = |(name, cap): (&&str, &Option<u32>)| {
                QueueShare { concurrency_max: *cap, ..QueueShare::plain(name) }
            };
            let queues: Vec<QueueShare> = names.iter().zip(&caps).map(share).collect();
            let running: Running =
                names.iter().map(ToString::to_string).zip(runs.iter().copied()).collect();
            let mut kept: Vec<Candidate> =
                jobs.iter().map(|job| candidate(names[*job], 0.0)).collect();
            let lost = keep_within_caps(&queues, &running, &mut kept);
            for (index, name) in names.iter().enumerate() {
                let asked = jobs.iter().filter(|job| **job == index).count();
                let left = kept.iter().filter(|job| job.queue == *name).count();
                let room = caps[index].map_or(asked, |cap| {
                    usize::try_from(u64::from(cap).saturating_sub(runs[index])).unwrap()
                });
                prop_assert_eq!(left, asked.min(room));
                prop_assert_eq!(lost.contains(&(*name).to_owned()), left < asked);
            }
            prop_assert!(kept.iter().all(|job| job.capped == caps[names.iter().position(|name| *name == job.queue).unwrap()].is_some()));
        }
    }
}
