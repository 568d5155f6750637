//! One terminal job as one line of JSON: the form in which results leave through files and pipes.
//! Must not know: where the lines go, or how the job came to its end.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::clock::rfc3339;
use crate::completion::Usage;
use crate::job::State;
use crate::store::ResultRow;

/// The form's version; it rises when a key changes its meaning, not when one is added.
const FORMAT_VERSION: u32 = 1;

/// The keys in their order. Every line has all of them, null where there is nothing to say.
#[derive(Serialize)]
struct Line<'r> {
    format_version: u32,
    id: Option<&'r str>,
    job_id: Uuid,
    state: State,
    output: Option<Box<RawValue>>,
    text: Option<&'r str>,
    error: Option<LineError<'r>>,
    queue: &'r str,
    model: Option<&'r str>,
    usage: Usage,
    cost_usd: Option<Box<RawValue>>,
    attempts: u32,
    provenance: Option<&'r str>,
    simulated: bool,
    metadata: Option<Box<RawValue>>,
    /// Only where there is something to say: most lines are written soon after the job's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<LineDeleted<'r>>,
    /// Only in a line that stands for one that is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'r str>,
}

#[derive(Serialize)]
struct LineDeleted<'r> {
    at: String,
    by: &'r str,
}

#[derive(Serialize)]
struct LineError<'r> {
    kind: &'r str,
    message: Option<&'r str>,
}

/// A terminal job as one JSON object, without a newline in it or after it. `output` and `metadata`
/// are embedded as they were written: no number, key or string in them is changed.
#[must_use]
pub fn result_line(row: &ResultRow, simulated: bool) -> String {
    written(&line(row, simulated))
}

/// Lines for a place that does not take the whole one: without `output` and `text` and with a
/// `notice`, which says where they are. From the fullest to the barest, which has no metadata and
/// only the error's beginning.
#[must_use]
pub fn notice_lines(row: &ResultRow, simulated: bool, notice: &str) -> [String; 2] {
    let fuller = || Line { output: None, text: None, notice: Some(notice), ..line(row, simulated) };
    let message = row.error_message.as_deref().map(begin);
    let error = row.error_kind.as_deref().map(|kind| LineError { kind, message });
    [written(&fuller()), written(&Line { metadata: None, error, ..fuller() })]
}

/// As much of a text as a notice repeats.
fn begin(text: &str) -> &str {
    const CHARS_MAX: usize = 200;
    text.char_indices().nth(CHARS_MAX).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

fn written(line: &Line<'_>) -> String {
    // Strings, numbers and valid JSON cannot fail to serialize.
    serde_json::to_string(line).unwrap_or_default()
}

fn line(row: &ResultRow, simulated: bool) -> Line<'_> {
    Line {
        format_version: FORMAT_VERSION,
        id: row.external_id.as_deref(),
        job_id: row.job_id,
        state: row.state,
        output: row.output.as_deref().map(embedded),
        text: row.text.as_deref(),
        error: row
            .error_kind
            .as_deref()
            .map(|kind| LineError { kind, message: row.error_message.as_deref() }),
        queue: &row.queue,
        // A rejected document names no model that could be resolved.
        model: Some(row.model.as_str()).filter(|model| !model.is_empty()),
        usage: row.usage,
        cost_usd: known_cost_micros(row).and_then(|micros| RawValue::from_string(usd(micros)).ok()),
        attempts: row.attempts,
        provenance: row.provenance.as_deref(),
        simulated,
        metadata: row.metadata.as_deref().map(embedded),
        deleted: row
            .deleted
            .as_ref()
            .map(|gone| LineDeleted { at: rfc3339(gone.at), by: &gone.by }),
        notice: None,
    }
}

/// Whether a line of a file is a result of ours, and if so, whether it is a simulated one.
#[must_use]
pub fn is_result_line(line: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Known {
        format_version: u32,
        #[serde(rename = "job_id")]
        _job_id: Uuid,
        #[serde(rename = "state")]
        _state: State,
        simulated: bool,
    }
    let known: Known = serde_json::from_str(line).ok()?;
    (known.format_version >= FORMAT_VERSION).then_some(known.simulated)
}

/// What a job cost in micro-dollars, where all of it is known: a call whose end nobody saw may
/// have been billed, and a sum without it would be too small.
#[must_use]
pub fn known_cost_micros(row: &ResultRow) -> Option<u64> {
    match row {
        ResultRow { attempts_unknown: 1.., .. } => None,
        ResultRow { attempts: 0, .. } => Some(row.cost_micros.unwrap_or(0)),
        _ => row.cost_micros,
    }
}

/// Micro-dollars as a JSON number of dollars, exactly and without needless zeros: `0.000123`, `2`.
fn usd(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    if part == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{part:06}").trim_end_matches('0'))
}

/// A JSON text on one line. Text that is no JSON is shown as a string, so that the line around it
/// stays readable whatever a table holds.
fn embedded(json: &str) -> Box<RawValue> {
    RawValue::from_string(compact(json))
        .or_else(|_| serde_json::value::to_raw_value(json))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Drops the white space between a JSON text's tokens, which is the only place where JSON allows a
/// line break. Reading and writing the value again would change `1e2` and lose doubled keys.
fn compact(json: &str) -> String {
    let mut kept = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for letter in json.chars() {
        if in_string {
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if matches!(letter, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_string = letter == '"';
        }
        kept.push(letter);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn row() -> ResultRow {
        ResultRow {
            seq: 7,
            job_id: Uuid::nil(),
            external_id: Some("report-1".to_owned()),
            state: State::Succeeded,
            output: None,
            text: None,
            error_kind: None,
            error_message: None,
            queue: "default".to_owned(),
            model: "claude-haiku-4.5".to_owned(),
            usage: Usage { input: 120, output: 30, cache_read: 0, cache_write: 0 },
            cost_micros: Some(270),
            attempts: 1,
            attempts_unknown: 0,
            provenance: None,
            metadata: None,
            deleted: None,
        }
    }

    #[test]
    fn an_output_is_embedded_on_one_line_with_its_numbers_and_keys_as_the_model_wrote_them() {
        let output = "{\n  \"a\": 1e2,\t\"a\": 1.50,\r\n  \"b\": \"x \\\" { \\\\\" , \"c\": [ ]\n}";
        let row = ResultRow {
            output: Some(output.to_owned()),
            provenance: Some("native".to_owned()),
            metadata: Some("{\"n\": 12345678901234567890123}".to_owned()),
            ..row()
        };
        expect![[r#"{"format_version":1,"id":"report-1","job_id":"00000000-0000-0000-0000-000000000000","state":"succeeded","output":{"a":1e2,"a":1.50,"b":"x \" { \\","c":[]},"text":null,"error":null,"queue":"default","model":"claude-haiku-4.5","usage":{"input":120,"output":30,"cache_read":0,"cache_write":0},"cost_usd":0.00027,"attempts":1,"provenance":"native","simulated":false,"metadata":{"n":12345678901234567890123}}"#]]
        .assert_eq(&result_line(&row, false));
    }

    #[test]
    fn a_failed_job_has_every_key_too() {
        let row = ResultRow {
            external_id: None,
            state: State::Failed,
            error_kind: Some("rejected".to_owned()),
            error_message: Some("$.prompt: is empty".to_owned()),
            model: String::new(),
            usage: Usage::default(),
            cost_micros: None,
            attempts: 0,
            ..row()
        };
        expect![[r#"{"format_version":1,"id":null,"job_id":"00000000-0000-0000-0000-000000000000","state":"failed","output":null,"text":null,"error":{"kind":"rejected","message":"$.prompt: is empty"},"queue":"default","model":null,"usage":{"input":0,"output":0,"cache_read":0,"cache_write":0},"cost_usd":0,"attempts":0,"provenance":null,"simulated":true,"metadata":null}"#]]
        .assert_eq(&result_line(&row, true));
    }

    #[test]
    fn a_notice_stands_for_a_result_that_is_too_long() {
        let row = ResultRow {
            text: Some("x".repeat(10_000)),
            error_kind: Some("refused".to_owned()),
            error_message: Some("é".repeat(10_000)),
            metadata: Some(format!("{{\"m\":\"{}\"}}", "m".repeat(10_000))),
            ..row()
        };
        let [full, bare] = notice_lines(&row, false, "look there");
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (full_line, bare_line) = (read(&full), read(&bare));
        assert_eq!(
            (full_line["text"].is_null(), &full_line["notice"]),
            (true, &"look there".into())
        );
        assert!(full_line["metadata"].is_object() && bare_line["metadata"].is_null());
        assert_eq!(bare_line["error"]["kind"], "refused");
        assert!(bare.len() < 1_000, "{}", bare.len());
        assert_eq!(is_result_line(&bare), Some(false));
    }

    #[test]
    fn a_cost_that_is_only_partly_known_is_null() {
        let cost = |row: &ResultRow| {
            let line: serde_json::Value = serde_json::from_str(&result_line(row, false)).unwrap();
            line["cost_usd"].to_string()
        };
        assert_eq!(cost(&ResultRow { attempts_unknown: 1, attempts: 2, ..row() }), "null");
        assert_eq!(cost(&ResultRow { cost_micros: None, ..row() }), "null");
        assert_eq!(cost(&ResultRow { cost_micros: Some(2_000_000), ..row() }), "2");
        assert_eq!(cost(&ResultRow { cost_micros: Some(1), ..row() }), "1e-6");
    }

    #[test]
    fn dollars_are_exact() {
        assert_eq!(usd(1), "0.000001");
        assert_eq!(usd(1_234_500), "1.2345");
        assert_eq!(usd(10_000_000), "10");
        assert_eq!(usd(0), "0");
    }

    #[test]
    fn an_output_that_is_no_json_is_shown_as_a_string() {
        let row = ResultRow { output: Some("{\"a\":\n".to_owned()), ..row() };
        let line: serde_json::Value = serde_json::from_str(&result_line(&row, false)).unwrap();
        assert_eq!(line["output"], "{\"a\":\n");
    }

    #[test]
    fn a_lone_surrogate_and_deep_nesting_pass_through() {
        for output in
            [r#"["\ud800"]"#.to_owned(), format!("{}{}", "[".repeat(500), "]".repeat(500))]
        {
            let line = result_line(&ResultRow { output: Some(output.clone()), ..row() }, false);
            assert!(line.contains(&format!("\"output\":{output},")), "{line}");
            assert_eq!(is_result_line(&line), Some(false));
        }
    }

    #[test]
    fn lines_of_other_files_are_not_results() {
        for line in [
            "",
            "{}",
            "[1]",
            "null",
            r#"{"id":"a","prompt":"b"}"#,
            r#"{"format_version":1,"job_id":"x","state":"succeeded","simulated":true}"#,
        ] {
            assert_eq!(is_result_line(line), None, "{line}");
        }
        assert_eq!(is_result_line(&result_line(&row(), true)), Some(true));
    }

    /// Any JSON text, with white space of every kind between its tokens.
    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1e2".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        let space = "[ \t\r\n]{0,3}";
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let item = (space, inner, space).prop_map(|(a, item, b)| format!("{a}{item}{b}"));
            let key = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
            prop_oneof![
                prop::collection::vec(item.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec((key, item), 0..4).prop_map(|pairs| {
                    let pairs: Vec<String> =
                        pairs.into_iter().map(|(key, item)| format!("{key} :{item}")).collect();
                    format!("{{{}}}", pairs.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_line_is_one_line_and_parses_back(
            output in prop::option::of(json_text()),
            metadata in prop::option::of(json_text()),
            text in prop::option::of(any::<String>()),
            message in prop::option::of(any::<String>()),
            cost_micros in prop::option::of(any::<u64>()),
            simulated in any::<bool>(),
        ) {
            let row = ResultRow {
                output: output.clone(),
                metadata,
                text: text.clone(),
                error_kind: message.as_ref().map(|_| "refused".to_owned()),
                error_message: message,
                cost_micros,
                ..row()
            };
            let line = result_line(&row, simulated);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(is_result_line(&line), Some(simulated));
            let back: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(back.as_object().unwrap().len(), 15);
            let value = |json: Option<String>| {
                json.map_or(serde_json::Value::Null, |json| serde_json::from_str(&json).unwrap())
            };
            prop_assert_eq!(&back["output"], &value(output));
            prop_assert_eq!(back["text"].as_str().map(str::to_owned), text);
        }

        #[test]
        fn compacting_never_fails(text in any::<String>()) {
            let row = ResultRow { output: Some(text), ..row() };
            prop_assert!(is_result_line(&result_line(&row, false)).is_some());
        }
    }
}
