//! Documents that other programs have put in and no worker has admitted yet, as `quarrier jobs` shows
//! them: in the state `submitted`.
//! Must not know: how a document is admitted or taken back.

use std::io::Write;

use anyhow::Context as _;
use serde::Serialize;

use super::waits::{self, Facts};
use super::{JobJson, full};
use crate::cli::table::{one_line, printable};
use crate::clock::rfc3339;
use crate::config::Settings;
use crate::job::State;
use crate::store::{Store, Submitted, SubmittedDefaults};

/// The state of what no worker has admitted yet.
pub(super) const STATE: &str = "submitted";

/// Where something that was put in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No worker has admitted it yet.
    Submitted,
    /// It is a job.
    Job(State),
}

impl Standing {
    pub(super) fn state(self) -> Option<State> {
        match self {
            Self::Submitted => None,
            Self::Job(state) => Some(state),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        self.state().map_or(STATE, State::as_str)
    }

    pub(super) fn is_terminal(self) -> bool {
        self.state().is_some_and(State::is_terminal)
    }
}

/// Every standing, in the order of a job's life.
pub(super) fn standings() -> impl Iterator<Item = Standing> {
    std::iter::once(Standing::Submitted).chain(State::ALL.map(Standing::Job))
}

pub(super) fn parse_standing(name: &str) -> Result<Standing, String> {
    standings().find(|standing| standing.as_str() == name).ok_or_else(|| {
        let names: Vec<&str> = standings().map(Standing::as_str).collect();
        format!("is none of {}", names.join(", "))
    })
}

/// What a document gets that does not say it, as far as this process's configuration knows.
pub(in crate::cli) fn defaults(settings: &Settings) -> SubmittedDefaults {
    let job = &settings.job;
    SubmittedDefaults {
        queue: job.queue.clone(),
        tenant: job.tenant.clone(),
        model: job.model.clone(),
    }
}

/// By what it is found again: the id that its job will have, else its row's key.
pub(in crate::cli) fn name(one: &Submitted) -> String {
    one.job_id.map_or_else(|| one.key.clone(), |id| id.to_string())
}

/// A page of one, as JSON.
#[derive(Serialize)]
struct PageJson<'s> {
    #[serde(flatten)]
    job: JobJson<'s>,
    simulated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<serde_json::Value>,
}

/// Shows one.
pub(super) async fn show(
    one: &Submitted,
    (is_full, json): (bool, bool),
    store: &dyn Store,
    (now, silent_ms): (i64, u64),
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let facts = Facts::read(&[], true, store, (now, silent_ms)).await?;
    let document = one.document.as_deref().filter(|_| is_full);
    let value = document.map(|text| {
        serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
    });
    if json {
        let simulated = store.about().await?.simulated.unwrap_or(false);
        let page = PageJson { job: JobJson::submitted(one, &facts), simulated, document: value };
        serde_json::to_writer_pretty(&mut *out, &page)?;
        return writeln!(out).context("write");
    }
    let mut line = |name: &str, value: &str| writeln!(out, "{name:10}{}", one_line(value));
    line("job", &name(one))?;
    if let Some(id) = &one.external_id {
        line("id", id)?;
    }
    line("state", STATE)?;
    line("waits", &waits::why_submitted(&facts))?;
    line("queue", &format!("{}, tenant {}", one.queue, one.tenant))?;
    line("model", &one.model)?;
    if let Some(at) = one.submitted_at {
        line("put in", &rfc3339(at))?;
    }
    if let Some(value) = value {
        let text = value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
        writeln!(out, "\n{}\n{}", full::DOCUMENT_HEAD, printable(&text))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_state_is_refused_with_the_known_ones() {
        assert_eq!(parse_standing("held"), Ok(Standing::Job(State::Held)));
        assert_eq!(parse_standing("submitted"), Ok(Standing::Submitted));
        let error = parse_standing("done").unwrap_err();
        let names = "submitted, ready, running, held, succeeded, failed, cancelled, expired";
        assert_eq!(error, format!("is none of {names}"));
    }
}
