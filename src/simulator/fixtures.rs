//! Fixtures: certain calls are answered exactly so, as a JSONL file says. Must not know: the wire,
//! how an answer is sent.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fault::Fault;
use super::matching::Match;

/// The longest file, in bytes.
pub(crate) const FIXTURES_BYTES_MAX: usize = 268_435_456;

/// One line of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixture {
    /// Which line of the file, from 1.
    pub line: usize,
    pub(crate) wanted: Match,
    /// What is answered; none: what would be answered without it.
    pub(crate) answer: Option<Given>,
    pub(crate) stop: Option<&'static str>,
    pub(crate) usage: Option<FixtureUsage>,
    pub(crate) fault: Option<Fault>,
    pub(crate) times: Option<u64>,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// This text.
    Text(String),
    /// This JSON, byte for byte.
    Json(String),
}

/// The tokens that an answer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureUsage {
    /// Input tokens; absent: by the simulator's own count.
    pub input: Option<u64>,
    /// Output tokens; absent: by the simulator's own count.
    pub output: Option<u64>,
}

/// Why fixtures were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FixturesError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The fixtures of one file, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fixtures {
    pub(crate) list: Vec<Fixture>,
}

/// A line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(default, rename = "match")]
    wanted: Match,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    stop: Option<String>,
    usage: Option<FixtureUsage>,
    fault: Option<Fault>,
    times: Option<u64>,
}

/// Stop reasons, in Converse's words, and Claude's own one that it hands on.
const STOPS: [&str; 10] = [
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
    "refusal",
];

impl Fixtures {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl std::str::FromStr for Fixtures {
    type Err = FixturesError;

    /// Reads a file, one fixture a line; blank lines are passed over.
    fn from_str(text: &str) -> Result<Self, FixturesError> {
        if text.len() > FIXTURES_BYTES_MAX {
            let reason = format!("the file may have {FIXTURES_BYTES_MAX} bytes at most");
            return Err(FixturesError { line: 1, reason });
        }
        let mut list = Vec::new();
        for (index, text) in text.lines().enumerate() {
            if !text.trim().is_empty() {
                let line = index + 1;
                let fixture = read(line, text).map_err(|reason| FixturesError { line, reason })?;
                list.push(fixture);
            }
        }
        Ok(Self { list })
    }
}

fn read(line: usize, text: &str) -> Result<Fixture, String> {
    let read: Line<'_> = serde_json::from_str(text).map_err(|error| {
        // The line is ours; of the parser's place only the column says something.
        let text = error.to_string();
        let said = text.split(" at line ").next().unwrap_or_default();
        if error.column() > 0 { format!("{said} (column {})", error.column()) } else { text }
    })?;
    if read.answer.is_none() && read.fault.is_none() && read.stop.is_none() {
        return Err("it says neither `answer` nor `stop` nor `fault`".to_owned());
    }
    if read.times == Some(0) {
        return Err("`times` must be at least 1".to_owned());
    }
    let stop = match read.stop {
        None => None,
        Some(named) => {
            let known = STOPS.into_iter().find(|stop| *stop == named);
            let wrong = || format!("`{named}` is no stop reason; they are {}", STOPS.join(", "));
            Some(known.ok_or_else(wrong)?)
        }
    };
    let answer = read.answer.map(|raw| match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Given::Text(text),
        Err(_) => Given::Json(raw.get().to_owned()),
    });
    Ok(Fixture {
        line,
        wanted: read.wanted,
        answer,
        stop,
        usage: read.usage,
        fault: read.fault,
        times: read.times,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_json_are_kept_as_they_were_written() {
        let fixtures: Fixtures = concat!(
            "{\"match\": {\"text\": \"a\"}, \"answer\": \"x \\\"y\\\"\"}\n\n",
            "{\"answer\": {\"n\": 1.50, \"n\": 12345678901234567890123}, \"stop\": \"max_tokens\", ",
            "\"usage\": {\"input\": 3}, \"fault\": \"cut_stream\", \"times\": 2}\n",
        )
        .parse()
        .unwrap();
        let [first, second] = fixtures.list.as_slice() else { panic!("two fixtures") };
        assert_eq!(
            (first.line, first.answer.clone()),
            (1, Some(Given::Text("x \"y\"".to_owned())))
        );
        let json = "{\"n\": 1.50, \"n\": 12345678901234567890123}".to_owned();
        assert_eq!((second.line, second.answer.clone()), (3, Some(Given::Json(json))));
        assert_eq!(second.stop, Some("max_tokens"));
        assert_eq!(second.usage, Some(FixtureUsage { input: Some(3), output: None }));
        assert_eq!((second.fault, second.times), (Some(Fault::CutStream), Some(2)));
    }

    #[test]
    fn a_mistake_is_refused_with_its_line() {
        for (text, expected) in [
            ("{\"answer\": \"x\"}\n{\"anser\": \"x\"}", "line 2: unknown field `anser`"),
            ("\n{\"match\": {\"colour\": 1}, \"answer\": \"x\"}", "line 2: unknown field `colour`"),
            ("{\"match\": {}}", "line 1: it says neither"),
            ("{\"fault\": \"explode\"}", "line 1: no fault is named `explode`"),
            ("{\"answer\": \"x\", \"stop\": \"bored\"}", "line 1: `bored` is no stop reason"),
            ("{\"answer\": \"x\", \"times\": 0}", "line 1: `times` must be at least 1"),
            ("{\"answer\": ", "line 1: EOF"),
        ] {
            let error = text.parse::<Fixtures>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
