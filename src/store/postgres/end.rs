//! The one operation by which every job ends (G2).
//! Must not know: why it ends.

use std::borrow::Cow;
use std::collections::HashSet;

use uuid::Uuid;

use super::bulk;
use super::error::Outcome;
use super::session::Tx;
use super::settlement::Settlements;
use crate::error::ErrorKind;
use crate::job::State;
use crate::store::{Finish, Next};

/// How a job ends.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) job: Uuid,
    pub(super) state: State,
    pub(super) output: Option<&'a str>,
    pub(super) text: Option<&'a str>,
    pub(super) error: Option<(ErrorKind, Cow<'a, str>)>,
    pub(super) provenance: Option<&'a str>,
}

impl<'a> End<'a> {
    /// What this finish makes of its job, where it ends it.
    pub(super) fn of(finish: &'a Finish) -> Option<Self> {
        let Next::End { state, output, text, provenance } = &finish.next else { return None };
        let error = finish.error.as_ref().filter(|_| *state != State::Succeeded);
        Some(Self {
            job: finish.key.job_id,
            state: *state,
            output: output.as_deref(),
            text: text.as_deref(),
            error: error.map(|(kind, words)| (*kind, Cow::Borrowed(words.as_str()))),
            provenance: provenance.as_deref(),
        })
    }

    pub(super) fn with_error(job: Uuid, state: State, kind: ErrorKind, message: String) -> Self {
        let error = Some((kind, Cow::Owned(message)));
        Self { job, state, output: None, text: None, error, provenance: None }
    }

    pub(super) fn kind(&self) -> Option<&'static str> {
        self.error.as_ref().map(|(kind, _)| kind.as_str())
    }

    pub(super) fn failed(job: Uuid, kind: ErrorKind, message: String) -> Self {
        Self::with_error(job, State::Failed, kind, message)
    }
}

/// Takes the locks of these jobs, in the order of their ids, until the commit. Whatever changes a
/// job or its attempts holds its lock first, so what is read afterwards is what stands.
pub(super) async fn lock_jobs(tx: &mut Tx, ids: impl Iterator<Item = Uuid>) -> Outcome<()> {
    let ids: Vec<Uuid> = ids.collect();
    sqlx::query_file!("src/store/postgres/job_lock.sql", &ids).fetch_all(tx.on()).await?;
    Ok(())
}

/// Ends those that have not ended, and returns their ids: the first end wins, also among these.
/// Their jobs' locks are held. No budget's lock is: results come before budgets.
pub(super) async fn end_jobs(tx: &mut Tx, ends: &[End<'_>], now: i64) -> Outcome<HashSet<Uuid>> {
    if ends.is_empty() {
        return Ok(HashSet::new());
    }
    let mut first = HashSet::with_capacity(ends.len());
    let firsts: Vec<&End<'_>> = ends.iter().filter(|end| first.insert(end.job)).collect();
    let ids: Vec<Uuid> = firsts.iter().map(|end| end.job).collect();
    let states: Vec<&str> = firsts.iter().map(|end| end.state.as_str()).collect();
    let kinds: Vec<Option<&str>> = firsts.iter().map(|end| end.kind()).collect();
    let ended = sqlx::query_file!(
        "src/store/postgres/job_end.sql",
        &ids,
        &states as _,
        &kinds as _,
        bulk::instant(now)
    )
    .fetch_all(tx.on())
    .await?;
    let replies: Vec<Uuid> = ended.iter().filter(|row| row.reply).map(|row| row.id).collect();
    let ended: HashSet<Uuid> = ended.into_iter().map(|row| row.id).collect();
    let winners: Vec<&End<'_>> =
        firsts.into_iter().filter(|end| ended.contains(&end.job)).collect();
    insert_results(tx, &winners, &replies, &Settlements::default(), now).await?;
    Ok(ended)
}

/// The results of jobs that this transaction has just ended, the deliveries of those that reply, and
/// what it leaves to be settled.
pub(super) async fn insert_results<'a>(
    tx: &mut Tx,
    winners: &[&'a End<'_>],
    replies: &[Uuid],
    settlements: &Settlements,
    now: i64,
) -> Outcome<()> {
    if winners.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = winners.iter().map(|end| end.job).collect();
    let states: Vec<&str> = winners.iter().map(|end| end.state.as_str()).collect();
    let kinds = bulk::sparse(winners.iter().map(|end| end.kind()));
    // A message may quote a model.
    let message = |end: &&'a End<'_>| Some(bulk::shown(&end.error.as_ref()?.1));
    let messages = bulk::sparse(winners.iter().map(message));
    let outputs = bulk::sparse(winners.iter().map(|end| end.output));
    let texts = bulk::sparse(winners.iter().map(|end| end.text.map(bulk::shown)));
    let exact = bulk::sparse(winners.iter().map(|end| end.text.and_then(bulk::exact)));
    let provenances = bulk::sparse(winners.iter().map(|end| end.provenance));
    sqlx::query_file!(
        "src/store/postgres/result_insert.sql",
        &ids,
        &states as _,
        &outputs as _,
        &texts as _,
        &exact as _,
        &kinds as _,
        &messages as _,
        &provenances as _,
        bulk::instant(now),
        &settlements.keys,
        &settlements.calls
    )
    .execute(tx.on())
    .await?;
    if !replies.is_empty() {
        sqlx::query_file!("src/store/postgres/delivery_make.sql", replies).execute(tx.on()).await?;
    }
    Ok(())
}

/// Marks the open attempts of these jobs as unknown: whoever makes those calls is dead or fenced.
/// Their reservations stay, and their own finish, if it comes, says what they took after all.
pub(super) async fn unknown_attempts(
    tx: &mut Tx,
    ids: &[Uuid],
    kind: ErrorKind,
    now: i64,
) -> Outcome<()> {
    sqlx::query_file!(
        "src/store/postgres/attempt_unknown.sql",
        ids,
        bulk::instant(now),
        kind.as_str()
    )
    .execute(tx.on())
    .await?;
    Ok(())
}
