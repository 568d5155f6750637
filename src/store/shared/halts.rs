//! Which pauses of people hold a lane's jobs back, decided alike by every engine.
//! Must not know: SQL, how pauses are kept.

use crate::store::{Pause, Scope};

/// What holds back a lane's jobs.
#[derive(Debug, Default)]
pub(in crate::store) struct Halts {
    /// Nothing of the lane is claimed for so many ms, because of a failure of this kind.
    pub(in crate::store) out: Option<(u64, Option<String>)>,
    /// Nothing of the lane is claimed, because a person has paused it.
    pub(in crate::store) lane: Option<Pause>,
    /// Nothing of these queues is claimed.
    pub(in crate::store) queues: Vec<Pause>,
}

impl Halts {
    /// Adds those of these pauses that concern the lane.
    pub(in crate::store) fn with(mut self, pauses: Vec<Pause>, lane: &str) -> Self {
        for pause in pauses {
            if matches!(pause.scope, Scope::Queue(_)) {
                self.queues.push(pause);
            } else if self.lane.is_none() && pause.scope.covers_lane(lane) {
                self.lane = Some(pause);
            }
        }
        self
    }

    /// The names of the paused queues, sorted.
    pub(in crate::store) fn queue_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .queues
            .iter()
            .filter_map(|pause| match &pause.scope {
                Scope::Queue(queue) => Some(queue.clone()),
                Scope::All | Scope::Lane(_) => None,
            })
            .collect();
        names.sort_unstable();
        names
    }

    /// The pause that holds back a job of this lane and of this queue.
    pub(in crate::store) fn of_job(&self, queue: &str) -> Option<&Pause> {
        self.lane.as_ref().or_else(|| self.of_queue(queue))
    }

    /// The pause of this queue.
    pub(in crate::store) fn of_queue(&self, queue: &str) -> Option<&Pause> {
        self.queues.iter().find(|pause| pause.scope.covers("", queue))
    }
}

/// How long after a lane's pause the waits of its jobs may end: a call that failed a little later
/// than the one that began the pause was put back for as long, and for chance's part of it.
pub(in crate::store) const SNOOZE_SLACK_MS: i64 = 60_000;
