//! Room 1, admission: one room for every door. A document goes in; a job that can be called comes
//! out, or every reason why not.
//! Must not know: which door it came through, which engine stores it, where settings come from.

mod reply;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::budget;
use crate::catalogue::{Ask, Catalogue, Family};
use crate::check;
use crate::clock::Now;
use crate::completion::{Api, Message};
use crate::error::ErrorKind;
use crate::estimate;
use crate::job::{self, IfOutcomeUnknown, JobDocument, Problem, Resolved, Wanted};
use crate::native;
use crate::prompt::{self, Parts, Rendered};
use crate::store::{Before, LimitRule, NewJob, Reply, rule_for};

pub use reply::{ReplyAllow, TraceForm, trace_form};

/// What a document gets where it says nothing, and what admission holds it to.
#[derive(Debug, Clone)]
pub struct AdmitSettings {
    /// The model's alias, id or ARN.
    pub model: String,
    /// Sampling temperature of plain answers.
    pub temperature: f32,
    /// Sampling temperature of answers that must fit a schema.
    pub temperature_structured: f32,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// How long a job may take in all, in milliseconds.
    pub deadline_ms: i64,
    /// The named queue.
    pub queue: String,
    /// Whose jobs.
    pub tenant: String,
    /// What to do when an outcome is unknown.
    pub if_outcome_unknown: IfOutcomeUnknown,
    /// The largest document, in bytes.
    pub document_bytes_max: usize,
    /// The check room's limits; schemas are held to them.
    pub check: check::Limits,
    /// The interface that carries calls.
    pub api: Api,
    /// The first part of every lane's name: `bedrock/us-east-1`.
    pub lane_prefix: String,
    /// How long an identity is remembered, in milliseconds.
    pub seen_ms: i64,
    /// The inference profiles to use, best first.
    pub profiles: Vec<String>,
    /// Families of ids that the catalogue does not know.
    pub families: BTreeMap<String, Family>,
    /// Accept retired models.
    pub allow_retired: bool,
    /// What jobs of these queues get where they say nothing.
    pub queues: BTreeMap<String, QueueDefaults>,
    /// The queues that jobs may name in `reply_to`.
    pub reply_allow: ReplyAllow,
}

/// What the jobs of one queue get where they say nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueDefaults {
    /// How long a job may take in all, in milliseconds.
    pub deadline_ms: Option<i64>,
    /// -100 to 100, higher is sooner.
    pub priority: Option<i32>,
}

/// What a command line says of every document of a file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The model of documents that name none. It becomes part of the document, so that another
    /// model makes another job of the same line.
    pub model: Option<String>,
}

/// Where a document comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// What makes it the same job again where it has no `id`: a hash of its line.
    pub identity: Option<String>,
    /// The batch and the line.
    pub batch: Option<(Uuid, i64)>,
    /// The trace that its message belongs to; it goes on with the reply.
    pub trace: Option<String>,
    /// Whose it is where it does not say so. It is no part of the document, and so not of its hash.
    pub tenant: Option<String>,
    /// It may have been on its way for long, or have come before: a passed deadline is no mistake of
    /// the document then. Its job is found, or is admitted and expires. What cannot be admitted any
    /// more, because the configuration is another one, is found as well.
    pub may_be_late: bool,
}

/// The admission room.
#[derive(Debug, Clone)]
pub struct Admission {
    settings: AdmitSettings,
    catalogue: Arc<Catalogue>,
}

impl Admission {
    /// A room with these settings and models.
    #[must_use]
    pub fn new(settings: AdmitSettings, catalogue: Arc<Catalogue>) -> Self {
        Self { settings, catalogue }
    }

    /// Makes a job of a document's text.
    ///
    /// # Errors
    /// Every reason why it cannot be admitted, each with the field's JSON path, the limit and the
    /// way out.
    #[expect(clippy::too_many_arguments, reason = "each door has these five apart")]
    pub fn prepare(
        &self,
        text: &str,
        overrides: &Overrides,
        origin: Origin,
        limits: &[LimitRule],
        now: Now,
    ) -> Result<NewJob, Vec<Problem>> {
        let settings = &self.settings;
        if text.len() > settings.document_bytes_max {
            let reason = format!(
                "the document has {} bytes and job.document_bytes_max is {}; shorten it or raise the setting",
                text.len(),
                settings.document_bytes_max
            );
            return Err(vec![Problem::new("$", reason)]);
        }
        let mut document = job::parse(text)?;
        if document.model.is_none() {
            document.model.clone_from(&overrides.model);
        }
        self.settle(document, origin, limits, now)
    }

    /// What a person should name instead of a model that the provider would not serve.
    #[must_use]
    pub fn advice(&self, model_id: &str, kind: ErrorKind, now: Now) -> Option<String> {
        self.catalogue.advice(model_id, kind, &self.settings.profiles, today(now))
    }

    /// Makes a failed job of a document that cannot be admitted, for doors that cannot answer. It
    /// can be found by the document's `id`, where that can be read, and leaves the id free: its
    /// identity is the origin's alone. Where the document may have come before, it says as what. Its
    /// tenant and its reply are the document's, as far as they can be read and are allowed.
    #[must_use]
    pub fn rejected(&self, text: &str, problems: &[Problem], origin: Origin, now: Now) -> NewJob {
        let reasons: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let read: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let named = |field: &str| {
            let name = read.get(field)?.as_str().filter(|name| job::is_name(name))?;
            Some(name.to_owned())
        };
        NewJob {
            before: origin.may_be_late.then(|| before(text)).flatten(),
            job_id: Uuid::now_v7(),
            external_id: named("id"),
            identity: origin.identity,
            document_hash: job::digest(text),
            document: Value::String(text.to_owned()).to_string(),
            resolved: Err(reasons.join("; ")),
            reply: self.settings.reply_allow.reply_of(&read, origin.trace.as_deref()),
            tenant: named("tenant").unwrap_or_else(|| self.tenant(origin.tenant)),
            queue: self.settings.queue.clone(),
            lane: self.settings.lane_prefix.clone(),
            priority: 0,
            run_at: now.wall_ms,
            deadline_at: now.wall_ms.saturating_add(self.settings.deadline_ms),
            max_attempts: None,
            hold: false,
            dedupe_key: None,
            wanted: Wanted { input_tokens_max: 0, max_tokens: 0, burndown: 1 },
            batch: origin.batch,
            seen_until: now.wall_ms.saturating_add(self.settings.seen_ms),
            rerun: false,
        }
    }

    /// Whose a document is that does not say so.
    fn tenant(&self, origins: Option<String>) -> String {
        origins
            .filter(|tenant| job::is_name(tenant))
            .unwrap_or_else(|| self.settings.tenant.clone())
    }

    fn settle(
        &self,
        document: JobDocument,
        origin: Origin,
        limits: &[LimitRule],
        now: Now,
    ) -> Result<NewJob, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(schema) = &document.schema
            && let Err(error) = check::compile(schema, &self.settings.check)
        {
            problems.push(Problem::new("$.schema", error.to_string()));
        }
        let reply = self.reply(&document, &origin, &mut problems);
        let (resolved, window) = match self.resolve(&document, now) {
            Ok(resolved) => resolved,
            Err(problem) => {
                problems.push(problem);
                return Err(problems);
            }
        };
        let model = resolved.model.clone();
        let may_be_late = origin.may_be_late;
        problems.extend(unsayable(&document, &resolved));
        let job = NewJob { reply, ..self.job(document, origin, resolved, now) };
        problems.extend(misfits(&model, job.wanted, window));
        problems.extend(never_fits(&job, limits));
        if job.deadline_at <= now.wall_ms && !may_be_late {
            problems.push(Problem::new("$.deadline", "has already passed"));
        }
        if problems.is_empty() { Ok(job) } else { Err(problems) }
    }

    /// Where its result goes, where it says so and may.
    fn reply(
        &self,
        document: &JobDocument,
        origin: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Option<Reply> {
        let to = document.reply_to.as_ref()?;
        match self.settings.reply_allow.reply(to, origin.trace.as_deref()) {
            Ok(reply) => Some(reply),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }

    /// The model, and what each call sends to it. Also returns its window and longest answer.
    fn resolve(&self, document: &JobDocument, now: Now) -> Result<(Resolved, (u64, u64)), Problem> {
        let settings = &self.settings;
        let name = document.model.as_deref().unwrap_or(&settings.model);
        let ask = Ask {
            profiles: settings.profiles.clone(),
            family: document.family.or_else(|| settings.families.get(name).copied()),
            allow_retired: settings.allow_retired,
            today: today(now),
        };
        let found = self
            .catalogue
            .resolve(name, &ask)
            .map_err(|error| Problem::new("$.model", error.to_string()))?;
        let temperature = document.temperature.unwrap_or(if document.schema.is_some() {
            settings.temperature_structured
        } else {
            settings.temperature
        });
        let sampling = found.supports.sampling;
        let max_tokens = document.max_tokens.unwrap_or_else(|| {
            // A default larger than the model allows is ours to lower; a number that the producer
            // wrote is not.
            let output_max = u32::try_from(found.output_max).unwrap_or(u32::MAX);
            settings.max_tokens.min(output_max)
        });
        let api = match document.api.or(found.api).unwrap_or(settings.api) {
            Api::Converse if !found.supports.converse => Api::Invoke,
            api => api,
        };
        if api == Api::Invoke && found.native.is_none() {
            let reason = format!(
                "{} has no native format here; leave `api` out, or say \"converse\"",
                found.alias
            );
            return Err(Problem::new("$.api", reason));
        }
        let resolved = Resolved {
            model_id: found.model_id,
            model: found.alias,
            family: found.family,
            api,
            format: found.native.filter(|_| api == Api::Invoke),
            supports_system: found.supports.system,
            prices: found.prices,
            temperature: sampling.then_some(temperature),
            top_p: document.top_p.filter(|_| sampling),
            max_tokens,
            burndown: u32::try_from(found.burndown).unwrap_or(1),
        };
        Ok((resolved, (found.window, found.output_max)))
    }

    fn job(&self, document: JobDocument, origin: Origin, resolved: Resolved, now: Now) -> NewJob {
        let settings = &self.settings;
        let wanted = wanted(&document, &resolved);
        let queue = document.queue.clone().unwrap_or_else(|| settings.queue.clone());
        let of_queue = settings.queues.get(&queue).copied().unwrap_or_default();
        let deadline_ms = of_queue.deadline_ms.unwrap_or(settings.deadline_ms);
        let run_at = document.run_at.map_or(now.wall_ms, Timestamp::as_millisecond);
        let deadline_at = document.deadline.map_or_else(
            || run_at.max(now.wall_ms).saturating_add(deadline_ms),
            Timestamp::as_millisecond,
        );
        let identity = match &document.id {
            Some(id) => Some(identity_of(id)),
            None => origin.identity,
        };
        let hold = document.if_outcome_unknown.unwrap_or(settings.if_outcome_unknown)
            == IfOutcomeUnknown::Hold;
        let canonical = document.canonical();
        NewJob {
            job_id: Uuid::now_v7(),
            external_id: document.id,
            identity,
            document_hash: job::digest(&canonical),
            document: canonical,
            tenant: document.tenant.unwrap_or_else(|| self.tenant(origin.tenant)),
            queue,
            lane: format!("{}/{}", settings.lane_prefix, resolved.model_id),
            priority: document.priority.or(of_queue.priority).unwrap_or(0),
            run_at,
            deadline_at,
            max_attempts: document.max_attempts,
            hold,
            dedupe_key: document.dedupe_key,
            wanted,
            batch: origin.batch,
            // A job may wait longer than identities are kept by default.
            seen_until: deadline_at.saturating_add(settings.seen_ms),
            rerun: false,
            reply: None,
            before: None,
            resolved: Ok(resolved),
        }
    }
}

/// What makes a document with this `id` the same job again.
fn identity_of(id: &str) -> String {
    format!("id:{id}")
}

/// As what this document was admitted, if it ever was: what has changed since is the configuration,
/// and not the document. One without an `id` is known by where it comes from.
fn before(text: &str) -> Option<Before> {
    let document = job::parse(text).ok()?;
    let identity = identity_of(document.id.as_deref()?);
    Some(Before { identity, document_hash: job::digest(&document.canonical()) })
}

/// What a call of this document says, before any re-ask.
#[must_use]
pub fn render(document: &JobDocument, supports_system: bool) -> Rendered {
    let messages: &[Message] = document.messages.as_deref().unwrap_or_default();
    prompt::render(Parts {
        system: document.system.as_deref(),
        prompt: document.prompt.as_deref(),
        messages,
        context: document.context.as_deref().unwrap_or_default(),
        schema: document.schema.as_ref(),
        supports_system,
    })
}

/// What the model's native format has no word for. Found here and not by the call, so that the
/// producer hears of it.
fn unsayable(document: &JobDocument, resolved: &Resolved) -> Option<Problem> {
    let ask = native::Ask {
        system: None,
        messages: &[],
        max_tokens: resolved.max_tokens,
        temperature: resolved.temperature,
        top_p: resolved.top_p,
        stop: document.stop.as_deref().unwrap_or_default(),
    };
    let refused = native::check(resolved.format?, &ask).err()?;
    Some(Problem::new(format!("$.{}", refused.field), refused.reason))
}

/// An upper bound of the input tokens of these turns, sent as admission resolved it.
pub(crate) fn input_tokens_max(
    resolved: &Resolved,
    system: Option<&str>,
    messages: &[Message],
) -> u64 {
    let extra =
        resolved.format.map_or(0, |format| native::extra_tokens_max(format, system, messages));
    estimate::input_tokens_max(resolved.family, system, messages).saturating_add(extra)
}

fn wanted(document: &JobDocument, resolved: &Resolved) -> Wanted {
    let rendered = render(document, resolved.supports_system);
    Wanted {
        input_tokens_max: input_tokens_max(
            resolved,
            rendered.system.as_deref(),
            &rendered.messages,
        ),
        max_tokens: u64::from(resolved.max_tokens),
        burndown: u64::from(resolved.burndown),
    }
}

/// What the model's own sizes forbid.
fn misfits(model: &str, wanted: Wanted, (window, output_max): (u64, u64)) -> Vec<Problem> {
    let mut problems = Vec::new();
    if wanted.max_tokens > output_max {
        let reason = format!(
            "{} is more than the {output_max} tokens that {model} can answer; lower it, or choose another model",
            wanted.max_tokens
        );
        problems.push(Problem::new("$.max_tokens", reason));
    }
    let needed = wanted.input_tokens_max.saturating_add(wanted.max_tokens);
    if needed > window {
        let reason = format!(
            "up to {} input tokens and max_tokens {} are more than the window of {model}, {window}; \
             shorten the input, lower max_tokens, or choose a model with a larger window",
            wanted.input_tokens_max, wanted.max_tokens
        );
        problems.push(Problem::new("$", reason));
    }
    problems
}

/// What can never be claimed, because one call of it is larger than a minute's limit.
fn never_fits(job: &NewJob, limits: &[LimitRule]) -> Option<Problem> {
    let Wanted { input_tokens_max, max_tokens, burndown } = job.wanted;
    let reservation = budget::reservation(input_tokens_max, max_tokens, 0, burndown);
    let keys = [
        "total".to_owned(),
        format!("lane:{}", job.lane),
        format!("queue:{}", job.queue),
        format!("tenant:{}", job.tenant),
    ];
    keys.iter().find_map(|key| {
        let rule = rule_for(limits, key)?;
        let allowed = rule.limit.tokens_per_minute.filter(|limit| reservation.tokens > *limit)?;
        let reason = format!(
            "one call reserves {} tokens ({input_tokens_max} input at most + max_tokens {max_tokens}) and \
             the limit {} allows {allowed} a minute; lower max_tokens, shorten the input, or raise the limit",
            reservation.tokens, rule.pattern
        );
        Some(Problem::new("$.max_tokens", reason))
    })
}

fn today(now: Now) -> jiff::civil::Date {
    Timestamp::from_millisecond(now.wall_ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
}

#[cfg(test)]
pub(crate) mod tests;
