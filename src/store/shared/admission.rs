//! Which jobs of one admission are new, which were there already, and which are refused.
//! Must not know: how rows are read or written.

use std::collections::HashMap;

use uuid::Uuid;

use crate::job::State;
use crate::store::{Admitted, NewJob};

/// What identifies jobs within a tenant: an identity, or a dedupe key.
pub(in crate::store) type Key = (String, String);

/// A job seen before.
pub(in crate::store) struct Seen {
    pub(in crate::store) job_id: Uuid,
    pub(in crate::store) document_hash: String,
    pub(in crate::store) document: Option<String>,
    pub(in crate::store) state: Option<State>,
}

/// The verdicts on one admission's jobs.
pub(in crate::store) struct Judged<'a> {
    /// One a job, in their order.
    pub(in crate::store) admitted: Vec<Admitted>,
    /// The new ones.
    pub(in crate::store) fresh: Vec<&'a NewJob>,
    /// Batch, line and job of each line that has one.
    pub(in crate::store) lines: Vec<(Uuid, i64, Uuid)>,
    /// Jobs that have not ended and that a rerun of their changed document replaces: they are
    /// cancelled, so that nobody pays for both.
    pub(in crate::store) replaced: Vec<Uuid>,
}

/// Judges jobs in their order by what is there; each is found by those after it.
pub(in crate::store) fn judge(
    jobs: &[NewJob],
    mut seen: HashMap<Key, Seen>,
    mut holders: HashMap<Key, Uuid>,
) -> Judged<'_> {
    let replaced = replaced(jobs, &seen);
    holders.retain(|_, holder| !replaced.contains(holder));
    let mut judged = Judged {
        admitted: Vec::with_capacity(jobs.len()),
        fresh: Vec::new(),
        lines: Vec::new(),
        replaced,
    };
    for job in jobs {
        let answer = judge_one(job, &mut seen, &mut holders);
        let job_id = match &answer {
            Admitted::New(id) => {
                judged.fresh.push(job);
                Some(*id)
            }
            Admitted::Existing(id, _) | Admitted::Before(id, _) | Admitted::Duplicate(id) => {
                Some(*id)
            }
            Admitted::IdConflict { .. } => None,
        };
        if let (Some(job_id), Some((batch, line))) = (job_id, job.batch) {
            judged.lines.push((batch, line, job_id));
        }
        judged.admitted.push(answer);
    }
    judged
}

fn identity_of(job: &NewJob) -> Option<Key> {
    job.identity.as_ref().map(|identity| (job.tenant.clone(), identity.clone()))
}

/// What it may have been admitted as before, where it is refused now.
fn before_of(job: &NewJob) -> Option<Key> {
    job.before.as_ref().map(|before| (job.tenant.clone(), before.identity.clone()))
}

/// The identities of these jobs.
pub(in crate::store) fn identities(jobs: &[NewJob]) -> Vec<Key> {
    jobs.iter().flat_map(|job| [identity_of(job), before_of(job)]).flatten().collect()
}

/// The dedupe keys of these jobs.
pub(in crate::store) fn dedupe_keys(jobs: &[NewJob]) -> Vec<Key> {
    let key = |job: &NewJob| Some((job.tenant.clone(), job.dedupe_key.clone()?));
    jobs.iter().filter_map(key).collect()
}

fn replaced(jobs: &[NewJob], seen: &HashMap<Key, Seen>) -> Vec<Uuid> {
    let live = jobs.iter().filter(|job| job.rerun).filter_map(|job| {
        let before = seen.get(&identity_of(job)?)?;
        let is_live = before.state.is_some_and(|state| !state.is_terminal());
        (is_live && before.document_hash != job.document_hash).then_some(before.job_id)
    });
    live.collect()
}

fn judge_one(
    job: &NewJob,
    seen: &mut HashMap<Key, Seen>,
    holders: &mut HashMap<Key, Uuid>,
) -> Admitted {
    let was = before_of(job).and_then(|key| seen.get(&key));
    if let (Some(was), Some(own)) = (was, &job.before)
        && was.document_hash == own.document_hash
    {
        return Admitted::Before(was.job_id, was.state);
    }
    let identity = identity_of(job);
    let before = identity.as_ref().and_then(|key| seen.get(key));
    let changed = |before: &Seen| before.document_hash != job.document_hash;
    if let Some(before) = before.filter(|before| !(job.rerun && changed(before))) {
        return if changed(before) {
            Admitted::IdConflict {
                job_id: before.job_id,
                document: before.document.clone(),
                state: before.state,
            }
        } else {
            Admitted::Existing(before.job_id, before.state)
        };
    }
    // A rejected document holds no key: its job has ended before anyone could look for it.
    let dedupe = job.dedupe_key.as_ref().filter(|_| job.resolved.is_ok());
    let dedupe = dedupe.map(|key| (job.tenant.clone(), key.clone()));
    if let Some(holder) = dedupe.as_ref().and_then(|key| holders.get(key)) {
        return Admitted::Duplicate(*holder);
    }
    if let Some(key) = identity {
        let entry = Seen {
            job_id: job.job_id,
            document_hash: job.document_hash.clone(),
            document: Some(job.document.clone()),
            state: Some(State::Ready),
        };
        seen.insert(key, entry);
    }
    if let Some(key) = dedupe {
        holders.insert(key, job.job_id);
    }
    Admitted::New(job.job_id)
}

/// A submitted job whose id belongs to another document, as a rejected one that takes no identity:
/// nobody waits for an answer at that door, so a refusal must be a job that can be found.
pub(in crate::store) fn refused(job: &NewJob, answer: &Admitted) -> Option<NewJob> {
    let Admitted::IdConflict { job_id, .. } = answer else { return None };
    let reason = format!(
        "$.id: it (without one, the submission's own key) belongs to the job {job_id} with another \
         document; give another id, or send the same document"
    );
    Some(NewJob { resolved: Err(reason), identity: None, dedupe_key: None, ..job.clone() })
}
