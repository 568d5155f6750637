//! Each kind of failure in plain words: what it is, and what a person can do.
//! Must not know: what is decided about it; `retry::in_words` says that from its own table.

use super::ErrorKind;

/// One kind, explained. Whole sentences, but for `hint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What has happened.
    pub what: &'static str,
    /// What we do beside what `retry::in_words` says: what is kept, what it costs.
    pub we_also: Option<&'static str>,
    /// What a person can do.
    pub way_out: &'static str,
    /// The same in a few words, for one line, where the kind can pause a lane.
    pub hint: Option<&'static str>,
}

/// What this kind of failure is, and the way out of it.
#[must_use]
pub fn explain(kind: ErrorKind) -> &'static Explanation {
    match kind {
        ErrorKind::ThrottledRequests => &THROTTLED_REQUESTS,
        ErrorKind::ThrottledTokens => &THROTTLED_TOKENS,
        ErrorKind::ThrottledDay => &THROTTLED_DAY,
        ErrorKind::Overloaded => &OVERLOADED,
        ErrorKind::ModelNotReady => &MODEL_NOT_READY,
        ErrorKind::Unavailable => &UNAVAILABLE,
        ErrorKind::Internal => &INTERNAL,
        ErrorKind::ModelTimeout => &MODEL_TIMEOUT,
        ErrorKind::ModelError => &MODEL_ERROR,
        ErrorKind::ConnectFailed => &CONNECT_FAILED,
        ErrorKind::FirstTokenTimeout => &FIRST_TOKEN_TIMEOUT,
        ErrorKind::IdleTimeout => &IDLE_TIMEOUT,
        ErrorKind::CallTimeout => &CALL_TIMEOUT,
        ErrorKind::StreamCut => &STREAM_CUT,
        ErrorKind::InvalidRequest => &INVALID_REQUEST,
        ErrorKind::InputTooLong => &INPUT_TOO_LONG,
        ErrorKind::AccessDenied => &ACCESS_DENIED,
        ErrorKind::Credentials => &CREDENTIALS,
        ErrorKind::ModelNotFound => &MODEL_NOT_FOUND,
        ErrorKind::ProfileNeeded => &PROFILE_NEEDED,
        ErrorKind::Truncated => &TRUNCATED,
        ErrorKind::Refused => &REFUSED,
        ErrorKind::Filtered => &FILTERED,
        ErrorKind::Guardrail => &GUARDRAIL,
        ErrorKind::Empty => &EMPTY,
        ErrorKind::InvalidJson => &INVALID_JSON,
        ErrorKind::SchemaMismatch => &SCHEMA_MISMATCH,
        ErrorKind::AnswerTooLarge => &ANSWER_TOO_LARGE,
        ErrorKind::Crashed => &CRASHED,
        ErrorKind::DeadlineExceeded => &DEADLINE_EXCEEDED,
        ErrorKind::Rejected => &REJECTED,
        ErrorKind::NeverFits => &NEVER_FITS,
        ErrorKind::BudgetExhausted => &BUDGET_EXHAUSTED,
        ErrorKind::Unstorable => &UNSTORABLE,
        ErrorKind::Cancelled => &CANCELLED,
        ErrorKind::Bug => &BUG,
    }
}

const KEPT_RESERVED: &str = "The call may be billed, so its reservation stays in the quota, its \
    cost counts as unknown and never as 0, and the text that had arrived is kept.";
const REFUSED_FREE: &str = "The call is known to cost nothing.";
const ANSWER_KEPT: &str = "The answer, its tokens and its cost are kept on the attempt.";

const THROTTLED_REQUESTS: Explanation = Explanation {
    what: "The provider says \"Too many requests\" (429): the account's requests per minute for \
           this model are used up, although our own limit had room. Somebody else uses the same \
           quota, or our limit is set higher than the account's.",
    we_also: Some(REFUSED_FREE),
    way_out: "If it comes often, set `requests_per_minute` under `[limits]` to what the account \
              has, or lower `budget.quota_share` where others share it. `quarrier limits` shows \
              the limit that holds now.",
    hint: None,
};
const THROTTLED_TOKENS: Explanation = Explanation {
    what: "The provider says \"Too many tokens\" (429): the account's tokens per minute for this \
           model are used up. The provider reserves a call's input and all of its `max_tokens` \
           when it starts.",
    we_also: Some(REFUSED_FREE),
    way_out: "Set `tokens_per_minute` under `[limits]` to what the account has, and `max_tokens` \
              as small as the work allows: it is reserved in full. `quarrier limits` shows how \
              much is reserved and not used.",
    hint: None,
};
const THROTTLED_DAY: Explanation = Explanation {
    what: "The provider says \"Too many tokens per day\" (429): the account's daily tokens for \
           this model are used up, and no call of it can succeed for hours.",
    we_also: Some(REFUSED_FREE),
    way_out: "Wait, ask AWS for more tokens a day (Service Quotas), or put the rest to another \
              model or region. The jobs stay `ready`; only their deadline ends them.",
    hint: Some("wait, ask AWS for more tokens a day, or use another model or region"),
};
const OVERLOADED: Explanation = Explanation {
    what: "The model is overloaded at the provider, whatever our quota (429 or 503 that says so).",
    we_also: Some(REFUSED_FREE),
    way_out: "Nothing, if it passes. If it lasts, a cross-region profile (`bedrock.profiles`) or \
              another model has more capacity. Jobs that failed run again with \
              `quarrier jobs retry ID` or `quarrier run FILE --out OUT --retry-failed`.",
    hint: Some("it passes by itself; a cross-region profile or another model has more capacity"),
};
const MODEL_NOT_READY: Explanation = Explanation {
    what: "A custom or imported model is still being loaded by the provider (429, \
           ModelNotReadyException). That takes minutes after a time without calls.",
    we_also: Some(REFUSED_FREE),
    way_out: "Give such jobs more tries (`max_attempts` in the job, or `retry.failures_max`), or \
              keep the model warm with a call now and then.",
    hint: None,
};
const UNAVAILABLE: Explanation = Explanation {
    what: "The provider's service is unavailable for the moment (503): it has no capacity, or too \
           many connections.",
    we_also: Some(REFUSED_FREE),
    way_out: "Nothing, if it passes. If it lasts, look at the AWS Health Dashboard for the region, \
              and lower `worker.concurrency` if the text says \"Too many connections\".",
    hint: Some("it passes by itself; if it lasts, see the AWS Health Dashboard"),
};
const INTERNAL: Explanation = Explanation {
    what: "The provider's service failed inside (500), or answered something that is not its \
           protocol.",
    we_also: Some(KEPT_RESERVED),
    way_out: "Nothing, if it passes. If one job alone fails so, its input is the likely cause: \
              `quarrier jobs show ID --full` prints what was sent. If all do, see the AWS Health \
              Dashboard, and whether `bedrock.endpoint` names what it should.",
    hint: Some("if it lasts, see the AWS Health Dashboard and bedrock.endpoint"),
};
const MODEL_TIMEOUT: Explanation = Explanation {
    what: "The model ran out of the provider's own time for one call (408).",
    we_also: Some(
        "Each try may be billed, so there are fewer than for other failures. The \
                   reservation stays in the quota, and the cost counts as unknown.",
    ),
    way_out: "Ask for less in one call: a smaller `max_tokens`, a shorter input, the work split \
              into several jobs. Or use a faster model.",
    hint: None,
};
const MODEL_ERROR: Explanation = Explanation {
    what: "The model failed while it worked on this input (424, ModelErrorException).",
    we_also: Some(
        "The same input mostly fails again, so there are fewer tries than for other \
                   failures.",
    ),
    way_out: "Look at the input (`quarrier jobs show ID --full`): control characters, endless \
              repetitions and extreme lengths are the usual causes. Or use another model.",
    hint: None,
};
const CONNECT_FAILED: Explanation = Explanation {
    what: "No connection to the provider could be made, or it broke before the answer began.",
    we_also: Some(
        "A call that never left gives all of its quota back; one that may have arrived \
                   keeps its reservation.",
    ),
    way_out: "Check the network, the proxy and the name service from this machine, then \
              `bedrock.region` and `bedrock.endpoint`. `quarrier doctor` tries the connection.",
    hint: Some("check the network, bedrock.region and bedrock.endpoint (`quarrier doctor`)"),
};
const FIRST_TOKEN_TIMEOUT: Explanation = Explanation {
    what: "The provider took the call and sent nothing within `bedrock.first_token_timeout_ms`.",
    we_also: Some(KEPT_RESERVED),
    way_out: "If the model thinks for long or the input is very large, raise \
              `bedrock.first_token_timeout_ms`. Otherwise the provider hangs, and it passes.",
    hint: Some("the provider hangs; or raise bedrock.first_token_timeout_ms for slow models"),
};
const IDLE_TIMEOUT: Explanation = Explanation {
    what: "The answer began and then fell silent for longer than `bedrock.idle_timeout_ms`.",
    we_also: Some(KEPT_RESERVED),
    way_out: "If it comes often with one model, raise `bedrock.idle_timeout_ms`. A proxy that \
              holds streams back looks the same.",
    hint: None,
};
const CALL_TIMEOUT: Explanation = Explanation {
    what: "The whole call took longer than its clock: `bedrock.call_timeout_ms_base`, and \
           `bedrock.call_timeout_ms_per_token` for each token of `max_tokens`, at most \
           `bedrock.call_timeout_ms_max`.",
    we_also: Some(
        "Each try may be billed, so there are fewer than for other failures. The \
                   reservation stays in the quota, and the text that had arrived is kept.",
    ),
    way_out: "Raise `bedrock.call_timeout_ms_per_token` for a slow model, or make `max_tokens` \
              smaller.",
    hint: None,
};
const STREAM_CUT: Explanation = Explanation {
    what: "The answer's stream ended before its closing events: the connection broke, or a proxy \
           closed it.",
    we_also: Some(KEPT_RESERVED),
    way_out: "If it comes often, look for a proxy or load balancer with a time limit on the way. \
              `quarrier jobs show ID --full` prints how far each answer came.",
    hint: None,
};
const INVALID_REQUEST: Explanation = Explanation {
    what: "The provider refuses the form of the request (400, ValidationException); its own words \
           follow the kind.",
    we_also: Some(REFUSED_FREE),
    way_out: "Read its words, and the body that was sent (`quarrier jobs show ID --full`). Usual \
              causes: a parameter that this model does not take (`temperature`, `top_p`, `stop`), \
              a `max_tokens` above the model's own, or the wrong `family` for an id that the \
              catalogue does not know. Change the job and hand it in again.",
    hint: None,
};
const INPUT_TOO_LONG: Explanation = Explanation {
    what: "The provider counts more input tokens than the model's context window takes (400).",
    we_also: Some(REFUSED_FREE),
    way_out: "Shorten the input, split it into several jobs, make `max_tokens` smaller, or use a \
              model with a larger window: `quarrier models` lists the windows.",
    hint: None,
};
const ACCESS_DENIED: Explanation = Explanation {
    what: "The credentials are good but may not call this model (403): the IAM policy does not \
           allow it, or the account has not been given access to the model.",
    we_also: Some(REFUSED_FREE),
    way_out: "Allow `bedrock:InvokeModel` and `bedrock:InvokeModelWithResponseStream` on the \
              model, and on the inference profile and every region that it names, and ask for \
              access to the model in the Bedrock console (Anthropic's models want a form filled \
              in). `quarrier doctor` says whose credentials are used. The lane goes on by itself.",
    hint: Some("allow bedrock:InvokeModel for this model, or do what the message asks for"),
};
const CREDENTIALS: Explanation = Explanation {
    what: "There are no AWS credentials, or they have expired, are malformed, or the machine's \
           clock is so wrong that signatures are refused.",
    we_also: Some(REFUSED_FREE),
    way_out: "Sign in again (`aws sso login`), or set `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` with its \
              secret, or `AWS_BEARER_TOKEN_BEDROCK`. `quarrier doctor` says which of them is \
              used. New files and sign-ins are picked up by a running worker; new environment \
              variables need a restart. The lane goes on by itself, and no job was lost.",
    hint: Some("sign in (`aws sso login`), set AWS_PROFILE, or set the clock (`quarrier doctor`)"),
};
const MODEL_NOT_FOUND: Explanation = Explanation {
    what: "The provider does not serve this model id (any more), or not in this region (404, or \
           \"model identifier is invalid\").",
    we_also: Some(REFUSED_FREE),
    way_out: "The message names the successor where the catalogue knows one; `quarrier models` \
              lists what is served. Change the job's `model`, `job.model` or `bedrock.region`, \
              and hand the job in again. A model that the catalogue does not know yet needs a row \
              in `catalogue.models_file`.",
    hint: None,
};
const PROFILE_NEEDED: Explanation = Explanation {
    what: "The model cannot be invoked by its bare id, only through an inference profile: an id \
           with a prefix such as `us.`, `eu.` or `global.`, which says where prompts are computed.",
    we_also: Some(REFUSED_FREE),
    way_out: "Name the model by its alias, or use one of the ids that the message names. \
              `bedrock.profiles` says which profiles are used, best first; `quarrier models` lists \
              what each model has.",
    hint: None,
};
const TRUNCATED: Explanation = Explanation {
    what: "The answer was cut at `max_tokens`. A cut answer is never repaired into a wrong one.",
    we_also: Some(ANSWER_KEPT),
    way_out: "Raise the job's `max_tokens` (or `job.max_tokens`), or ask for less: fewer items, \
              shorter texts, `maxItems` and `maxLength` in the schema.",
    hint: None,
};
const REFUSED: Explanation = Explanation {
    what: "The model declined to answer; its stop reason says so.",
    we_also: Some(ANSWER_KEPT),
    way_out: "Read what it wrote (`quarrier jobs show ID --full`), then change the prompt or the \
              model.",
    hint: None,
};
const FILTERED: Explanation = Explanation {
    what: "The provider's content filter stopped the answer.",
    we_also: Some(ANSWER_KEPT),
    way_out: "Change the prompt or the documents that go with it, or use another model.",
    hint: None,
};
const GUARDRAIL: Explanation = Explanation {
    what: "A guardrail of the account intervened.",
    we_also: Some(ANSWER_KEPT),
    way_out: "Ask whoever keeps the guardrail which policy it was; change the prompt, or the \
              guardrail.",
    hint: None,
};
const EMPTY: Explanation = Explanation {
    what: "The model returned no text at all.",
    we_also: Some("The tokens and the cost of each call are kept."),
    way_out: "Look at the prompt (`quarrier jobs show ID --full`): a `stop` string that comes first \
              of all, or a question that is answered by silence. Or use another model.",
    hint: None,
};
const INVALID_JSON: Explanation = Explanation {
    what: "The job has a schema, and no JSON value could be found in the answer.",
    we_also: Some(ANSWER_KEPT),
    way_out: "Read what it wrote (`quarrier jobs show ID --full`). Say in the prompt what the JSON \
              is for, leave contradicting instructions out (\"explain your answer\"), allow more \
              re-asks (`retry.reasks_max`), or use a stronger model.",
    hint: None,
};
const SCHEMA_MISMATCH: Explanation = Explanation {
    what: "The answer is JSON and does not fit the job's schema; the message names the paths.",
    we_also: Some(ANSWER_KEPT),
    way_out: "Compare the answer with the schema (`quarrier jobs show ID --full`). Describe the \
              fields in the schema, loosen what the prompt cannot know (patterns, lengths, enums), \
              allow more re-asks (`retry.reasks_max`), or use a stronger model.",
    hint: None,
};
const ANSWER_TOO_LARGE: Explanation = Explanation {
    what: "The answer is longer than `check.answer_bytes_max`.",
    we_also: Some("What fits is kept; the tokens and the cost are counted."),
    way_out: "Make `max_tokens` smaller, or raise `check.answer_bytes_max`.",
    hint: None,
};
const CRASHED: Explanation = Explanation {
    what: "The worker died or was killed in the middle of the call. Nobody knows whether the model \
           answered.",
    we_also: Some(
        "The attempt stays with outcome `unknown`, its cost counts as unknown, and its \
                   reservation stays in the quota until its minute is over.",
    ),
    way_out: "Look why the worker died: memory, a deployment, the machine. Jobs that wait for a \
              person are listed by `quarrier jobs list --state held`; `quarrier jobs retry ID` \
              calls again, `quarrier jobs cancel ID` ends one.",
    hint: None,
};
const DEADLINE_EXCEEDED: Explanation = Explanation {
    what: "The job's deadline passed before it succeeded: its `deadline`, else `job.deadline_s` \
           after its admission.",
    we_also: Some("Nothing more is paid for it. What its calls brought is kept."),
    way_out: "`quarrier jobs show ID` says what it waited for: the quota (raise the limit), a \
              paused lane, failures. `quarrier jobs retry ID` puts it back with a new deadline.",
    hint: None,
};
const REJECTED: Explanation = Explanation {
    what: "The document cannot be admitted: a field is unknown or wrong, the model or the schema \
           cannot be used, or the call could never fit. The message names each field and its \
           limit. Only documents that come through a door which cannot answer become such jobs: \
           a row of `submission`, a message of a queue. Other doors refuse at once.",
    we_also: Some("Nothing was called. The document is kept, and its id is free again."),
    way_out: "Correct the document as the message says and hand it in again; `docs/job.md` \
              describes every field.",
    hint: None,
};
const NEVER_FITS: Explanation = Explanation {
    what: "One call of the job needs more of a limit than the limit allows in a whole minute, so \
           it could never start. Limits can be lowered after a job was admitted.",
    we_also: Some("Nothing was called."),
    way_out: "Lower the job's `max_tokens` or shorten its input, or raise the limit that the \
              message names under `[limits]`. Then `quarrier jobs retry ID`.",
    hint: None,
};
const BUDGET_EXHAUSTED: Explanation = Explanation {
    what: "A program that uses the library asked for an answer now, and the quota has no room for \
           the call within the time that it would wait. The error says when it would fit, and \
           which limit is full.",
    we_also: None,
    way_out: "Wait until the time that the error names, let the call wait longer, make \
              `max_tokens` smaller, or raise the limit under `[limits]`. `quarrier limits` shows \
              who uses it.",
    hint: None,
};
const UNSTORABLE: Explanation = Explanation {
    what: "The answer arrived and the store refused its data.",
    we_also: Some(
        "The text is kept on the attempt, with the characters that cannot be stored \
                   escaped; the tokens and the cost are counted.",
    ),
    way_out: "Read it with `quarrier jobs show ID --full`. If the store is sound this is a defect: \
              report it with that output.",
    hint: None,
};
const CANCELLED: Explanation = Explanation {
    what: "A person cancelled the job, or its call was stopped before its end.",
    we_also: Some("A call in flight is aborted and may still be billed."),
    way_out: "`quarrier jobs retry ID` puts it back.",
    hint: None,
};
const BUG: Explanation = Explanation {
    what: "A defect of this program: a panic that was caught, or a state that cannot be.",
    we_also: Some(
        "The worker goes on with other jobs. If the call had been sent, its cost counts \
                   as unknown.",
    ),
    way_out: "Report it with the worker's log around that time and `quarrier jobs show ID --full`. \
              `quarrier jobs retry ID` tries again.",
    hint: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_name_and_all_of_its_texts() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            let Explanation { what, we_also, way_out, hint } = *explain(kind);
            for text in [Some(what), we_also, Some(way_out)].into_iter().flatten() {
                assert!(text.len() >= 15 && text.ends_with(['.', ')']), "{kind}: {text}");
                assert!(!text.contains("  ") && !text.contains('\n'), "{kind}: {text}");
            }
            assert!(hint.is_none_or(|hint| hint.len() <= 90 && !hint.ends_with('.')), "{kind}");
        }
        assert_eq!(ErrorKind::from_name("no_such"), None);
    }
}
