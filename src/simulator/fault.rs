//! The faults that the simulator can commit: one table of their names, what they do and how they
//! strike. Must not know: rates, scripts, the wire.
//!
//! Everything that names a fault reads this table: settings, scenario files, the call log,
//! `docs/simulator.md` (a test compares) and the tests that try each one through the real SDK.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An error as the service answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The error's name; empty where a machine in front of the service answers, in HTML.
    pub(crate) code: &'static str,
    /// The text; `{model}` stands for the model's id.
    pub(crate) message: &'static str,
    /// What else the answer carries.
    pub(crate) beside: Beside,
}

impl Problem {
    /// The throttle that takes turns with the one for requests.
    pub(crate) const TOKENS: Self = problem(429, THROTTLING, TOKENS);
}

/// What an error carries beside its name and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing.
    Nothing,
    /// The status with which the model itself failed.
    OriginalStatus(u16),
    /// The header `x-amz-retry-after`, in milliseconds.
    RetryAfterMs(u64),
    /// A `Date` header so many seconds ahead of the true time.
    DateAheadSeconds(i64),
}

/// How a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// This error stands in place of an answer, before the quota is asked: nothing is charged.
    Refused(Problem),
    /// This error stands in place of an answer, after the quota was asked: the request is counted,
    /// no token is.
    Failed(Problem),
    /// This exception breaks off a stream, half of whose events have been sent. Where the call
    /// does not stream: as `Failed`.
    InStream(Problem),
    /// The same, in `InvokeModelWithResponseStream` alone; everywhere else as `Failed`.
    InInvokeStream(Problem),
    /// The transport misbehaves.
    Wire,
    /// The answer's content is not what was asked for.
    Content,
    /// Only JSON can be spoilt so; free text is spared.
    Json,
}

const fn problem(status: u16, code: &'static str, message: &'static str) -> Problem {
    Problem { status, code, message, beside: Beside::Nothing }
}

const fn refused(status: u16, code: &'static str, message: &'static str) -> Strike {
    Strike::Refused(problem(status, code, message))
}

const fn failed(status: u16, code: &'static str, message: &'static str) -> Strike {
    Strike::Failed(problem(status, code, message))
}

const fn in_stream(status: u16, code: &'static str, message: &'static str) -> Strike {
    Strike::InStream(problem(status, code, message))
}

const fn with(problem: Problem, beside: Beside) -> Problem {
    Problem { beside, ..problem }
}

const THROTTLING: &str = "ThrottlingException";
const UNAVAILABLE: &str = "ServiceUnavailableException";
const INTERNAL: &str = "InternalServerException";
const VALIDATION: &str = "ValidationException";
const REQUESTS: &str = "Too many requests, please wait before trying again.";
const TOKENS: &str = "Too many tokens, please wait before trying again.";
const TOKENS_PER_DAY: &str = "Too many tokens per day, please wait before trying again.";
const OVERLOADED: &str = "Model {model} is currently overloaded. Please try again later.";
const INTERNAL_TEXT: &str =
    "The system encountered an unexpected error during processing. Try your request again.";
const UNAVAILABLE_TEXT: &str = "Service temporarily unavailable, please try again.";
const TIMED_OUT: &str = "Model has timed out in processing the request. Try your request again.";
const MODEL_FAILED: &str =
    "The system encountered an unexpected error during processing. Try your request again.";
const MALFORMED_INPUT: &str = "Malformed input request: #: extraneous key [simulated] is not \
                               permitted, please reformat your input and try again.";

macro_rules! faults {
    ($($(#[doc = $about:literal])+ $variant:ident, $name:literal, $strike:expr;)+) => {
        /// A fault that the simulator can commit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $about])+ $variant,)+
        }

        /// Every fault, in the order of the documentation.
        pub const FAULTS: &[Fault] = &[$(Fault::$variant),+];

        impl Fault {
            /// The name used in settings, scenarios, the call log and summaries.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+).trim_ascii(),)+ }
            }

            /// How it strikes.
            pub(crate) fn strike(self) -> Strike {
                match self { $(Self::$variant => $strike,)+ }
            }
        }
    };
}

faults! {
    /// 429 with the text of the requests' or the tokens' quota in turn, although ours has room: as other callers of a shared account cause it.
    Throttle, "throttle", refused(429, THROTTLING, REQUESTS);
    /// 429, requests per minute used up.
    ThrottleRequests, "throttle_requests", refused(429, THROTTLING, REQUESTS);
    /// 429, tokens per minute used up.
    ThrottleTokens, "throttle_tokens", refused(429, THROTTLING, TOKENS);
    /// 429, tokens per day used up: hopeless for hours.
    ThrottleDay, "throttle_day", refused(429, THROTTLING, TOKENS_PER_DAY);
    /// 429, the model is overloaded, whatever anybody's quota.
    Overloaded, "overloaded", refused(429, THROTTLING, OVERLOADED);
    /// 429, the general throttle of AWS's interfaces.
    RateExceeded, "rate_exceeded", refused(429, THROTTLING, "Rate exceeded");
    /// 429 as `throttle_requests`, with the header `x-amz-retry-after: 1000` (milliseconds).
    RetryAfter, "retry_after", Strike::Refused(with(
        problem(429, THROTTLING, REQUESTS),
        Beside::RetryAfterMs(1_000),
    ));
    /// 429, a custom or imported model is still loading.
    ModelNotReady, "model_not_ready", refused(
        429,
        "ModelNotReadyException",
        "Model is not ready for inference. Wait and try your request again.",
    );
    /// 400, a service quota is exceeded (InvokeModel's word for it; Converse does not model it).
    ServiceQuota, "service_quota", refused(
        400,
        "ServiceQuotaExceededException",
        "Your request exceeds the service quota for your account. You can resubmit your request later.",
    );
    /// 503, too many connections.
    TooManyConnections, "too_many_connections", refused(
        503,
        UNAVAILABLE,
        "Too many connections, please wait before trying again.",
    );
    /// 500, the service failed inside.
    Http500, "http_500", failed(500, INTERNAL, INTERNAL_TEXT);
    /// 502 in HTML from a machine in front of the service: no error name, no JSON.
    BadGateway, "bad_gateway", failed(502, "", "502 Bad Gateway");
    /// 503, no capacity at the moment.
    Http503, "http_503", failed(503, UNAVAILABLE, UNAVAILABLE_TEXT);
    /// 503 with the text that gives no reason.
    UnableToProcess, "unable_to_process", failed(
        503,
        UNAVAILABLE,
        "Bedrock is unable to process your request.",
    );
    /// 408, the model ran out of the service's own time.
    ModelTimeout, "model_timeout", failed(408, "ModelTimeoutException", TIMED_OUT);
    /// 424, the model failed with status 500 of its own: worth another try.
    ModelError, "model_error", Strike::Failed(with(
        problem(424, "ModelErrorException", MODEL_FAILED),
        Beside::OriginalStatus(500),
    ));
    /// 424, the model failed with status 400 of its own: the same again fails again.
    ModelErrorFinal, "model_error_final", Strike::Failed(with(
        problem(424, "ModelErrorException", "The model cannot process this input."),
        Beside::OriginalStatus(400),
    ));
    /// 400, the request's form is refused.
    Validation, "validation", refused(400, VALIDATION, MALFORMED_INPUT);
    /// 400, the input is longer than the model's window.
    InputTooLong, "input_too_long", refused(
        400,
        VALIDATION,
        "Input is too long for requested model.",
    );
    /// 400, the same in Claude's own words.
    PromptTooLong, "prompt_too_long", refused(
        400,
        VALIDATION,
        "prompt is too long: 210000 tokens > 200000 maximum",
    );
    /// 400, the model is reached only through an inference profile.
    ProfileNeeded, "profile_needed", refused(
        400,
        VALIDATION,
        "Invocation of model ID {model} with on-demand throughput isn\u{2019}t supported. Retry your request with the ID or ARN of an inference profile that contains this model.",
    );
    /// 400, no model has such an id.
    UnknownModel, "unknown_model", refused(
        400,
        VALIDATION,
        "The provided model identifier is invalid.",
    );
    /// 404, the model is not in this Region.
    NotFound, "not_found", refused(
        404,
        "ResourceNotFoundException",
        "Could not resolve the foundation model from the provided model identifier.",
    );
    /// 404, the model has been retired.
    EndOfLife, "end_of_life", refused(
        404,
        "ResourceNotFoundException",
        "This model version has reached the end of its life. Please refer to the AWS documentation for more details.",
    );
    /// 404, nobody has filled in the model vendor's form for this account.
    FormNotFilled, "form_not_filled", refused(
        404,
        "FTUFormNotFilled",
        "Model use case details have not been submitted for this account. Fill out the Anthropic use case details form before using the model.",
    );
    /// 403, no permission for this model.
    AccessDenied, "access_denied", refused(
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
    );
    /// 403, the session's credentials have expired.
    ExpiredToken, "expired_token", refused(
        403,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    );
    /// 403, nobody knows these credentials.
    UnrecognizedClient, "unrecognized_client", refused(
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    );
    /// 403, the signature does not match.
    InvalidSignature, "invalid_signature", refused(
        403,
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
    );
    /// 400 `RequestExpired` with a `Date` header 15 minutes ahead: the caller's clock is wrong, or the service's.
    ClockSkew, "clock_skew", Strike::Refused(with(
        problem(400, "RequestExpired", "Request has expired."),
        Beside::DateAheadSeconds(900),
    ));

    /// In a stream: throttled for requests.
    StreamThrottleRequests, "stream_throttle_requests", in_stream(429, THROTTLING, REQUESTS);
    /// In a stream: throttled for tokens.
    StreamThrottleTokens, "stream_throttle_tokens", in_stream(429, THROTTLING, TOKENS);
    /// In a stream: the day's tokens are used up.
    StreamThrottleDay, "stream_throttle_day", in_stream(429, THROTTLING, TOKENS_PER_DAY);
    /// In a stream: the model is overloaded.
    StreamOverloaded, "stream_overloaded", in_stream(429, THROTTLING, OVERLOADED);
    /// In a stream: the service failed inside.
    StreamInternal, "stream_internal", in_stream(500, INTERNAL, INTERNAL_TEXT);
    /// In a stream: no capacity.
    StreamUnavailable, "stream_unavailable", in_stream(503, UNAVAILABLE, UNAVAILABLE_TEXT);
    /// In a stream: too many connections.
    StreamTooManyConnections, "stream_too_many_connections", in_stream(
        503,
        UNAVAILABLE,
        "Too many connections, please wait before trying again.",
    );
    /// In a stream: the model failed with status 500 of its own (`originalStatusCode`, `originalMessage`).
    StreamModelError, "stream_model_error", Strike::InStream(with(
        problem(424, "ModelStreamErrorException", MODEL_FAILED),
        Beside::OriginalStatus(500),
    ));
    /// In a stream: the request turns out to be invalid.
    StreamValidation, "stream_validation", in_stream(400, VALIDATION, MALFORMED_INPUT);
    /// In a stream of InvokeModel: the model ran out of time. Everywhere else: as `model_timeout`.
    StreamModelTimeout, "stream_model_timeout", Strike::InInvokeStream(problem(
        408,
        "ModelTimeoutException",
        TIMED_OUT,
    ));

    /// The connection is reset before anything is sent.
    Reset, "reset", Strike::Wire;
    /// The connection is closed before anything is sent.
    Closed, "closed", Strike::Wire;
    /// Nothing is ever sent, not even the answer's head.
    Hang, "hang", Strike::Wire;
    /// The answer's head is sent, and nothing after it.
    HangHead, "hang_head", Strike::Wire;
    /// A stream falls silent between two events (not streamed: in the middle of the body).
    HangStream, "hang_stream", Strike::Wire;
    /// From its middle on, the answer comes byte by byte with pauses: something arrives always, and never an end.
    Drip, "drip", Strike::Wire;
    /// A stream ends between two events, as if it were complete (not streamed: the connection breaks in the body).
    CutStream, "cut_stream", Strike::Wire;
    /// A stream ends inside a frame (not streamed: as `cut_stream`).
    CutFrame, "cut_frame", Strike::Wire;
    /// The connection breaks in the middle of the answer, streamed or not.
    Broken, "broken", Strike::Wire;
    /// A stream ends without its last two events, stop reason and usage (not streamed: as `length_short`).
    NoClosing, "no_closing", Strike::Wire;
    /// A stream ends without its last event, the usage (not streamed: as `length_short`).
    NoUsage, "no_usage", Strike::Wire;
    /// `content-length` promises more than is sent.
    LengthLong, "length_long", Strike::Wire;
    /// `content-length` promises less than the answer has: it is cut there, without an error in HTTP.
    LengthShort, "length_short", Strike::Wire;
    /// A frame in the middle has a wrong checksum (not streamed: a byte of the body is wrong).
    CorruptFrame, "corrupt_frame", Strike::Wire;
    /// A stream brings an event in its middle that no client knows yet, and is else complete (not streamed: as `ok`).
    UnknownEvent, "unknown_event", Strike::Wire;
    /// The answer's text holds `\ud800`, half a character, in the wire's own JSON: many parsers refuse the whole answer.
    LoneSurrogate, "lone_surrogate", Strike::Wire;

    /// The answer is cut, with stop reason `max_tokens`.
    Truncated, "truncated", Strike::Content;
    /// The answer is cut, with stop reason `model_context_window_exceeded`.
    ContextWindow, "context_window", Strike::Content;
    /// The model declines, with stop reason `refusal`.
    Refusal, "refusal", Strike::Content;
    /// A content filter stops the answer half-way, with stop reason `content_filtered`.
    ContentFilter, "content_filter", Strike::Content;
    /// A guardrail answers in place of the model, with stop reason `guardrail_intervened`.
    Guardrail, "guardrail", Strike::Content;
    /// The service could not read the model's own output: stop reason `malformed_model_output`.
    MalformedOutput, "malformed_output", Strike::Content;
    /// The answer has no content at all.
    Empty, "empty", Strike::Content;
    /// The answer is a blank text.
    Blank, "blank", Strike::Content;
    /// The answer's text is 10 MB long (JSON: 10 MB of blanks after its first bracket).
    Huge, "huge", Strike::Content;
    /// The answer holds the character NUL (JSON: as an escape within a string).
    Nul, "nul", Strike::Content;
    /// The JSON stands inside prose and a fence.
    Prose, "prose", Strike::Json;
    /// The JSON parses and does not fit the schema.
    WrongSchema, "wrong_schema", Strike::Json;
    /// The JSON does not parse, for one of the reasons below (by seed): colon, comma, quotes, single quotes, brace too many, unclosed, trailing comma, bare keys.
    MalformedJson, "malformed_json", Strike::Json;
    /// A colon after a key is missing.
    JsonNoColon, "json_no_colon", Strike::Json;
    /// A comma between two members is missing.
    JsonNoComma, "json_no_comma", Strike::Json;
    /// Quotes within a string are not escaped.
    JsonInnerQuotes, "json_inner_quotes", Strike::Json;
    /// Strings stand in single quotes.
    JsonSingleQuotes, "json_single_quotes", Strike::Json;
    /// A closing bracket too many.
    JsonExtraBracket, "json_extra_bracket", Strike::Json;
    /// The last bracket is missing, although the model says that it ended.
    JsonUnclosed, "json_unclosed", Strike::Json;
    /// The JSON ends half-way through, although the model says that it ended.
    JsonCut, "json_cut", Strike::Json;
    /// A comma before the closing bracket.
    JsonTrailingComma, "json_trailing_comma", Strike::Json;
    /// Keys without quotes.
    JsonBareKeys, "json_bare_keys", Strike::Json;
    /// Comments between the members.
    JsonComments, "json_comments", Strike::Json;
    /// A line break within a string.
    JsonRawNewline, "json_raw_newline", Strike::Json;
    /// `NaN` in place of a value.
    JsonNan, "json_nan", Strike::Json;
    /// Python's `None` in place of a value.
    JsonPython, "json_python", Strike::Json;
    /// An escape that JSON does not know.
    JsonBadEscape, "json_bad_escape", Strike::Json;
    /// The first key comes twice, first with `null`. Most parsers take the last.
    JsonDuplicateKeys, "json_duplicate_keys", Strike::Json;
    /// Two drafts: an empty object, then the answer.
    JsonSeveralValues, "json_several_values", Strike::Json;
    /// The answer, then the beginning of a second one.
    JsonBrokenAfter, "json_broken_after", Strike::Json;
    /// A text without any JSON.
    JsonBareText, "json_bare_text", Strike::Json;
    /// The JSON stands as text within a JSON string.
    JsonInString, "json_in_string", Strike::Json;
    /// Nested 200 deep.
    JsonDeep, "json_deep", Strike::Json;
    /// A byte order mark before the JSON.
    JsonBom, "json_bom", Strike::Json;
    /// `\ud800`, half a character, as an escape within a string of the JSON.
    JsonLoneSurrogate, "json_lone_surrogate", Strike::Json;
}

impl Fault {
    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FAULTS.iter().copied().find(|fault| fault.as_str() == name)
    }

    /// All names, for a reader.
    #[must_use]
    pub fn names() -> String {
        FAULTS.iter().map(|fault| fault.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The part of the documentation that it belongs to.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self.strike() {
            Strike::Refused(_) | Strike::Failed(_) => "before the answer",
            Strike::InStream(_) | Strike::InInvokeStream(_) => "in a stream",
            Strike::Wire => "transport",
            Strike::Content => "content",
            Strike::Json => "JSON",
        }
    }

    /// What the caller gets: status and error name; none where it gets an answer, such as it is.
    #[must_use]
    pub fn error(self) -> Option<(u16, &'static str)> {
        match self.strike() {
            Strike::Refused(problem)
            | Strike::Failed(problem)
            | Strike::InStream(problem)
            | Strike::InInvokeStream(problem) => Some((problem.status, problem.code)),
            Strike::Wire | Strike::Content | Strike::Json => None,
        }
    }

    /// The error that stands in place of an answer of an operation that streams or not.
    pub(crate) fn before(self, streams: bool, invokes: bool) -> Option<Problem> {
        match self.strike() {
            Strike::Refused(problem) | Strike::Failed(problem) => Some(problem),
            Strike::InStream(problem) if !streams => Some(problem),
            Strike::InInvokeStream(problem) if !streams || !invokes => Some(problem),
            _ => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| {
            de::Error::custom(format!(
                "no fault is named `{name}`; the faults are {}",
                Self::names()
            ))
        })
    }
}
