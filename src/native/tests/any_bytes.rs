//! Fuzz: any bytes and any JSON are read, refused or passed over, and never kept beyond the limit.
//! Must not know: which of them mean something.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::fixture::fixtures;
use crate::catalogue::Format;
use crate::native::{Counted, Gather};

const BYTES_MAX: usize = 64;

/// The names in the formats' answers.
const NAMES: &[&str] = &[
    "type",
    "index",
    "message",
    "content_block",
    "delta",
    "usage",
    "error",
    "content",
    "text",
    "partial_json",
    "stop_reason",
    "input",
    "input_tokens",
    "output_tokens",
    "generation",
    "prompt_token_count",
    "generation_token_count",
    "outputs",
    "choices",
    "finish_reason",
    "tool_calls",
    "function",
    "arguments",
    "output",
    "toolUse",
    "stopReason",
    "contentBlockDelta",
    "contentBlockIndex",
    "messageStop",
    "metadata",
    "inputTokens",
    "outputTokens",
    "amazon-bedrock-invocationMetrics",
    "amazon-bedrock-guardrailAction",
    "inputTokenCount",
    "outputTokenCount",
    "cacheReadInputTokenCount",
];

/// The values that mean something somewhere.
const WORDS: &[&str] = &[
    "text",
    "tool_use",
    "message_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "text_delta",
    "input_json_delta",
    "end_turn",
    "stop",
    "INTERVENED",
    "",
    "{\"a\":1}",
    "é\u{0}🔧",
];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(WORDS).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let name = proptest::sample::select(NAMES).prop_map(str::to_owned);
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => proptest::collection::vec((name, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Reads these as a stream and each as a whole; none may panic, and none may keep too much.
#[track_caller]
fn check(format: Format, arrivals: &[Vec<u8>]) {
    let mut gather = Gather::new(format, BYTES_MAX);
    let mut heard = 0;
    for bytes in arrivals {
        heard += gather.chunk(bytes).map_or(0, str::len);
        check_kept(Gather::new(format, BYTES_MAX), Some(bytes));
    }
    assert!(heard <= BYTES_MAX);
    check_kept(gather, None);
}

#[track_caller]
fn check_kept(mut gather: Gather, whole: Option<&Vec<u8>>) {
    if let Some(bytes) = whole {
        drop(gather.whole(bytes));
    }
    let counted = Counted { input: Some(1), output: Some(1) };
    let text = match gather.finish(counted) {
        Ok(answer) => answer.text,
        Err(partial) => partial.unwrap_or_default(),
    };
    assert!(text.len() <= BYTES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            check(format, std::slice::from_ref(&bytes));
        }
    }

    #[test]
    fn any_json_is_survived(values in proptest::collection::vec(json(), 1..5)) {
        let arrivals: Vec<Vec<u8>> =
            values.iter().map(|value| value.to_string().into_bytes()).collect();
        for format in Format::ALL {
            check(format, &arrivals);
        }
    }

    #[test]
    fn a_damaged_answer_is_survived(
        pick: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        for format in Format::ALL {
            let mut arrivals: Vec<Vec<u8>> = SAMPLES.with(|samples| {
                let of_format = &samples[&format];
                of_format[pick.index(of_format.len())].clone()
            });
            let place = at.index(arrivals.len());
            let damaged = &mut arrivals[place];
            let spot = at.index(damaged.len());
            if cut {
                damaged.truncate(spot);
            } else {
                damaged[spot] = byte;
            }
            check(format, &arrivals);
        }
    }

    #[test]
    fn broken_escapes_are_survived(text in "(\\\\(u[dD8c][0-9a-fA-F]{0,4}|.)|[a\"é]){0,12}") {
        for format in Format::ALL {
            let body = format!("{{\"generation\":\"{text}\",\"stop_reason\":\"stop\"}}");
            check(format, &[body.into_bytes()]);
        }
    }
}

thread_local! {
    /// What arrives in each fixture.
    static SAMPLES: std::collections::HashMap<Format, Vec<Vec<Vec<u8>>>> = Format::ALL
        .into_iter()
        .map(|format| {
            let fixtures = fixtures(format);
            let said = fixtures.iter().flat_map(|fixture| &fixture.answers);
            let arrivals = said.map(|said| said.arrivals().into_iter().map(<[u8]>::to_vec).collect());
            (format, arrivals.collect())
        })
        .collect();
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = format!("{{\"error\":{}", "[".repeat(100_000));
    for format in Format::ALL {
        assert!(Gather::new(format, BYTES_MAX).whole(deep.as_bytes()).is_err());
    }
}
