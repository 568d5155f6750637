//! All that match the filters of `quarrier jobs cancel`, page by page: jobs in one state, or what no
//! worker has admitted yet.
//! Must not know: what is done with them.

use anyhow::bail;
use uuid::Uuid;

use super::cancel::{CancelArgs, LIVE};
use super::change::PAGE_ROWS;
use super::submitted::{self, Standing};
use crate::cli::table::one_line;
use crate::config::Settings;
use crate::store::{JobFilter, Store, StoreResult, Submitted, SubmittedFilter};

/// What to look for, standing by standing.
pub(super) struct Wanted {
    jobs: JobFilter,
    submitted: SubmittedFilter,
    /// Where to look, in this order.
    pub(super) standings: Vec<Standing>,
}

impl Wanted {
    pub(super) async fn of(
        args: &CancelArgs,
        store: &dyn Store,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let batch = match &args.batch {
            None => None,
            Some(name) => match store.batch_named(name).await? {
                Some(id) => Some(id),
                None => bail!("cancel the batch {}: there is none of this name", one_line(name)),
            },
        };
        let mut standings = args.state.map_or_else(|| LIVE.to_vec(), |standing| vec![standing]);
        // Only files have batches, and their lines are admitted as they are read.
        standings.retain(|standing| batch.is_none() || *standing != Standing::Submitted);
        Ok(Self {
            jobs: JobFilter {
                queue: args.queue.clone(),
                tenant: args.tenant.clone(),
                batch,
                rows_max: PAGE_ROWS,
                ..JobFilter::default()
            },
            submitted: SubmittedFilter {
                queue: args.queue.clone(),
                tenant: args.tenant.clone(),
                defaults: submitted::defaults(settings),
                rows_max: PAGE_ROWS,
                ..SubmittedFilter::default()
            },
            standings,
        })
    }

    /// What matches and stands there, the newest first.
    pub(super) fn pages<'s>(&self, standing: Standing, store: &'s dyn Store) -> Pages<'s> {
        let filter = match standing {
            Standing::Submitted => Filter::Submitted(self.submitted.clone()),
            Standing::Job(state) => {
                Filter::Jobs(JobFilter { state: Some(state), ..self.jobs.clone() })
            }
        };
        Pages { store, filter }
    }
}

/// What is looked for next.
enum Filter {
    Jobs(JobFilter),
    Submitted(SubmittedFilter),
}

/// All that match and stand in one place.
pub(super) struct Pages<'s> {
    store: &'s dyn Store,
    filter: Filter,
}

/// Some of them, never none.
pub(super) enum Page {
    Jobs(Vec<Uuid>),
    Submitted(Vec<Submitted>),
}

impl Pages<'_> {
    /// The next ones; none after the last.
    pub(super) async fn next(&mut self) -> StoreResult<Option<Page>> {
        Ok(match &mut self.filter {
            Filter::Jobs(filter) => {
                let page = self.store.jobs(filter).await?;
                page.last().map(|row| row.job_id).map(|last| {
                    filter.before = Some(last);
                    Page::Jobs(page.iter().map(|row| row.job_id).collect())
                })
            }
            Filter::Submitted(filter) => {
                let page = self.store.submitted(filter).await?;
                page.last().map(|one| one.seq).map(|last| {
                    filter.before = Some(last);
                    Page::Submitted(page)
                })
            }
        })
    }

    /// How many there are.
    pub(super) async fn count(mut self) -> StoreResult<usize> {
        let mut count = 0;
        while let Some(page) = self.next().await? {
            count += match page {
                Page::Jobs(ids) => ids.len(),
                Page::Submitted(page) => page.len(),
            };
        }
        Ok(count)
    }
}
