//! What this process knows to be its own: fences asked for, calls in flight, answers being saved.
//! Must not know: the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{AttemptKey, ClaimedJob, LostAttempt, RunningAttempt};

/// The fences of this process. A std mutex: nothing is awaited while it is held.
#[derive(Debug, Default)]
pub(super) struct Flight(Mutex<HashMap<Uuid, Entry>>);

#[derive(Debug)]
enum Entry {
    /// Asked for in a claim whose outcome is not known yet.
    Asked,
    /// Its call is in flight, or its answer is being saved.
    Running {
        key: AttemptKey,
        abort: CancellationToken,
        /// When its claim was confirmed: from then on the store has its row.
        begun_mono_ms: u64,
        /// Quota tokens that were reserved for it.
        reserved_tokens: u64,
        /// The store was asked whether it has lost this one.
        asserted: bool,
        /// Its answer waits outside the store: until it is stored, the row is ours.
        parked: bool,
        /// Its call is over, and its finish is on its way to the store.
        saving: bool,
    },
}

impl Flight {
    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes fences for a claim, known before the claim is made: whatever its outcome, a row with
    /// one of them is ours.
    pub(super) fn ask(&self, count: usize) -> Vec<Uuid> {
        let fences: Vec<Uuid> = std::iter::repeat_with(Uuid::new_v4).take(count).collect();
        self.entries().extend(fences.iter().map(|fence| (*fence, Entry::Asked)));
        fences
    }

    /// The claim did not bring these, or its outcome is unknown: a row that has one of them
    /// nevertheless will be given back.
    pub(super) fn forget_asked(&self, fences: &[Uuid]) {
        let mut entries = self.entries();
        for fence in fences {
            if matches!(entries.get(fence), Some(Entry::Asked)) {
                entries.remove(fence);
            }
        }
    }

    /// A claimed job is on its way; the token aborts its call.
    pub(super) fn begin(&self, job: &ClaimedJob, begun_mono_ms: u64) -> CancellationToken {
        let abort = CancellationToken::new();
        let key = AttemptKey { job_id: job.job_id, number: job.number, fence: job.fence };
        let entry = Entry::Running {
            key,
            abort: abort.clone(),
            begun_mono_ms,
            reserved_tokens: job.reserved_tokens,
            asserted: false,
            parked: false,
            saving: false,
        };
        self.entries().insert(key.fence, entry);
        abort
    }

    /// Its call is over: there is nothing left to abort, and the store may count it as ended before
    /// this process hears of it.
    pub(super) fn saving(&self, fence: Uuid) {
        if let Some(Entry::Running { saving, .. }) = self.entries().get_mut(&fence) {
            *saving = true;
        }
    }

    /// Its finish is on its way to the spool (or, with false, was not written there after all).
    /// Said beforehand: a replay may be quicker than whoever wrote the file.
    pub(super) fn park(&self, fence: Uuid, yes: bool) {
        if let Some(Entry::Running { parked, .. }) = self.entries().get_mut(&fence) {
            *parked = yes;
        }
    }

    /// These attempts are over. A finish that waits in the spool keeps its row, or the store's row
    /// would be taken for a lost claim, given back, and the paid answer refused later.
    pub(super) fn end(&self, fences: impl Iterator<Item = Uuid>) {
        let mut entries = self.entries();
        for fence in fences {
            if !matches!(entries.get(&fence), Some(Entry::Running { parked: true, .. })) {
                entries.remove(&fence);
            }
        }
    }

    /// The store has its finish.
    pub(super) fn stored(&self, fence: Uuid) {
        self.entries().remove(&fence);
    }

    /// True if the store counts nothing as running here.
    pub(super) fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Calls in flight and answers being saved.
    pub(super) fn len(&self) -> usize {
        let counts = |entry: &&Entry| matches!(entry, Entry::Running { parked: false, .. });
        self.entries().values().filter(counts).count()
    }

    pub(super) fn abort(&self, fence: Uuid) {
        if let Some(Entry::Running { abort, .. }) = self.entries().get(&fence) {
            abort.cancel();
        }
    }

    pub(super) fn abort_all(&self) {
        for entry in self.entries().values() {
            if let Entry::Running { abort, .. } = entry {
                abort.cancel();
            }
        }
    }

    /// Rows of the store that this process does not know: claims whose commit was lost on the way.
    /// `before` are the fences known when the rows were asked for: what was known then, and is not
    /// now, has ended in between.
    pub(super) fn unknown(
        &self,
        rows: &[RunningAttempt],
        before: &HashSet<Uuid>,
    ) -> Vec<AttemptKey> {
        let entries = self.entries();
        let known = |fence: &Uuid| entries.contains_key(fence) || before.contains(fence);
        rows.iter().map(|row| row.key).filter(|key| !known(&key.fence)).collect()
    }

    /// The fences known now.
    pub(super) fn fences(&self) -> HashSet<Uuid> {
        self.entries().keys().copied().collect()
    }

    /// Calls in flight since before `mono_ms` that the store does not count as running: their
    /// jobs have ended elsewhere, were rescued from us, or a failover has lost their claims.
    pub(super) fn missing(&self, rows: &[RunningAttempt], mono_ms: u64) -> Vec<AttemptKey> {
        let known: HashSet<Uuid> = rows.iter().map(|row| row.key.fence).collect();
        let entries = self.entries();
        let missing = entries.values().filter_map(|entry| match entry {
            Entry::Running { key, begun_mono_ms, parked: false, saving: false, .. }
                if *begun_mono_ms < mono_ms && !known.contains(&key.fence) =>
            {
                Some(*key)
            }
            Entry::Running { .. } | Entry::Asked => None,
        });
        missing.collect()
    }

    /// Those of these calls that the store was not asked for yet, as it is told of them. They are in
    /// no slot of the budget before the one in which they were begun.
    pub(super) fn lost(&self, missing: &[AttemptKey], mono_ms: u64) -> Vec<LostAttempt> {
        let entries = self.entries();
        let lost = missing.iter().filter_map(|key| match entries.get(&key.fence) {
            Some(Entry::Running { asserted: true, .. }) => None,
            entry => Some(told(*key, entry, mono_ms)),
        });
        lost.collect()
    }

    /// The same of calls that are over, whose finishes the store knows no attempt of.
    pub(super) fn lost_at_their_end(&self, keys: &[AttemptKey], mono_ms: u64) -> Vec<LostAttempt> {
        let entries = self.entries();
        keys.iter().map(|key| told(*key, entries.get(&key.fence), mono_ms)).collect()
    }

    /// The store has been asked for this one, and has it under this number.
    pub(super) fn asserted(&self, found: AttemptKey) {
        if let Some(Entry::Running { key, asserted, .. }) = self.entries().get_mut(&found.fence) {
            (*key, *asserted) = (found, true);
        }
    }

    /// What the store has may be lost anew: it is asked for every call again.
    pub(super) fn doubt(&self) {
        for entry in self.entries().values_mut() {
            if let Entry::Running { asserted, .. } = entry {
                *asserted = false;
            }
        }
    }

    /// Takes the rows of these attempts for its own, until they are forgotten as asked for.
    pub(super) fn adopt(&self, keys: &[AttemptKey]) {
        let mut entries = self.entries();
        for key in keys {
            entries.entry(key.fence).or_insert(Entry::Asked);
        }
    }
}

/// What this process knows of a call that the store may have lost.
fn told(key: AttemptKey, entry: Option<&Entry>, mono_ms: u64) -> LostAttempt {
    match entry {
        Some(Entry::Running { begun_mono_ms, reserved_tokens, .. }) => LostAttempt {
            key,
            age_ms: Some(mono_ms.saturating_sub(*begun_mono_ms)),
            reserved_tokens: Some(*reserved_tokens),
        },
        Some(Entry::Asked) | None => LostAttempt { key, age_ms: None, reserved_tokens: None },
    }
}
