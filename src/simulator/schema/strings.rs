//! Strings: by format, by pattern, by length, or a plain labelled phrase. Must not know: other
//! types, schemas around them.

use std::collections::HashMap;

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::draw::Draw;

/// Characters that an unbounded pattern or a long minimum may bring.
const CHARS_MAX: u64 = 10_000;
/// Draws of one pattern until its length fits.
const PATTERN_DRAWS_MAX: u64 = 12;
/// Words for longer texts.
pub(crate) const WORDS: [&str; 32] = [
    "report", "quarter", "figure", "market", "result", "review", "between", "several", "regional",
    "growth", "steady", "measure", "account", "change", "detail", "summary", "customer", "process",
    "within", "average", "because", "project", "schedule", "evidence", "compare", "during",
    "outcome", "section", "notable", "period", "further", "overall",
];
/// Property names whose values are a few sentences rather than a few words.
const LONG_NAMES: [&str; 10] = [
    "summary",
    "description",
    "text",
    "body",
    "explanation",
    "answer",
    "content",
    "reason",
    "rationale",
    "notes",
];

/// A string that keeps `format`, `pattern`, `minLength` and `maxLength`.
pub(super) fn string(
    schema: &Map<String, Value>,
    patterns: &HashMap<String, Hir>,
    name: &str,
    draw: &mut Draw,
) -> String {
    let length = |key: &str| schema.get(key).and_then(Value::as_u64);
    let low = length("minLength").unwrap_or(0).min(CHARS_MAX);
    let high = length("maxLength").unwrap_or(u64::MAX);
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if let Some(hir) = pattern.and_then(|pattern| patterns.get(pattern)) {
        return by_pattern(hir, low, high, draw);
    }
    let format = schema.get("format").and_then(Value::as_str);
    if let Some(text) = format.and_then(|format| by_format(format, draw)) {
        return text;
    }
    let mut text = format!("simulated {name} {}", draw.within(1, 99));
    let long = LONG_NAMES.contains(&name) && high > 200;
    let words = if long { draw.within(8, 48) } else { 0 };
    for _ in 0..words {
        push_word(&mut text, draw);
    }
    while chars(&text) < low {
        push_word(&mut text, draw);
    }
    if chars(&text) > high {
        // The number at the end keeps short strings apart, so the front is cut.
        let keep = usize::try_from(high).unwrap_or(usize::MAX);
        let skip = text.chars().count().saturating_sub(keep);
        text = text.chars().skip(skip).collect();
    }
    text
}

/// Appends a blank and one of the stock of words.
pub(crate) fn push_word(text: &mut String, draw: &mut Draw) {
    text.push(' ');
    text.push_str(draw.pick(&WORDS).copied().unwrap_or("simulated"));
}

/// Remembers every pattern of a schema, parsed. One that does not parse is left out: its strings
/// are then plain, and the answer says that it does not fit.
pub(super) fn collect_patterns(schema: &Value, patterns: &mut HashMap<String, Hir>) {
    match schema {
        Value::Array(items) => {
            for item in items {
                collect_patterns(item, patterns);
            }
        }
        Value::Object(map) => {
            if let Some(Value::String(pattern)) = map.get("pattern") {
                remember(pattern, patterns);
            }
            if let Some(Value::Object(properties)) = map.get("patternProperties") {
                for pattern in properties.keys() {
                    remember(pattern, patterns);
                }
            }
            for value in map.values() {
                collect_patterns(value, patterns);
            }
        }
        _ => {}
    }
}

fn remember(pattern: &str, patterns: &mut HashMap<String, Hir>) {
    if let Ok(hir) = regex_syntax::parse(pattern) {
        patterns.insert(pattern.to_owned(), hir);
    }
}

/// A string that the pattern matches, with a length inside the bounds where a few draws find one.
pub(super) fn by_pattern(hir: &Hir, low: u64, high: u64, draw: &mut Draw) -> String {
    let mut text = String::new();
    for number in 0..PATTERN_DRAWS_MAX {
        // Repetitions without an end start modest and reach for the minimum length in later draws.
        let stretch = match number % 3 {
            0 => 8_u64.max(low / 4),
            1 => low,
            _ => high.min(3),
        };
        text.clear();
        expand(hir, stretch.min(CHARS_MAX), draw, &mut text);
        if (low..=high).contains(&chars(&text)) {
            return text;
        }
    }
    // A pattern without an end anchor still matches when more follows.
    while chars(&text) < low {
        text.push('x');
    }
    text
}

fn expand(hir: &Hir, stretch: u64, draw: &mut Draw, out: &mut String) {
    if chars(out) > CHARS_MAX {
        return;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.push(character(class, draw)),
        HirKind::Repetition(repetition) => {
            let low = u64::from(repetition.min);
            let high = match repetition.max {
                Some(max) => u64::from(max).min(low.saturating_add(stretch.max(8))),
                None => low.saturating_add(stretch),
            };
            for _ in 0..draw.within(low, high) {
                expand(&repetition.sub, stretch, draw, out);
            }
        }
        HirKind::Capture(capture) => expand(&capture.sub, stretch, draw, out),
        HirKind::Concat(parts) => {
            for part in parts {
                expand(part, stretch, draw, out);
            }
        }
        HirKind::Alternation(branches) => {
            if let Some(branch) = draw.pick(branches) {
                expand(branch, stretch, draw, out);
            }
        }
    }
}

/// A character of the class: a plain one where it has any, so that answers read well and the
/// narrower classes of ECMA expressions are kept too.
fn character(class: &Class, draw: &mut Draw) -> char {
    let holds = |c: char| match class {
        Class::Unicode(class) => class.ranges().iter().any(|r| r.start() <= c && c <= r.end()),
        Class::Bytes(class) => {
            class.ranges().iter().any(|r| char::from(r.start()) <= c && c <= char::from(r.end()))
        }
    };
    let alphanumeric = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    let mut plain: Vec<char> = alphanumeric.filter(|c| holds(*c)).collect();
    if plain.is_empty() {
        plain = (' '..='~').filter(|c| holds(*c)).collect();
    }
    draw.pick(&plain).copied().unwrap_or_else(|| match class {
        Class::Unicode(class) => class.ranges().first().map_or('x', ClassUnicodeRange::start),
        Class::Bytes(class) => class.ranges().first().map_or('x', |r| char::from(r.start())),
    })
}

fn by_format(format: &str, draw: &mut Draw) -> Option<String> {
    let year = draw.within(2020, 2029);
    let month = draw.within(1, 12);
    let day = draw.within(1, 28);
    let number = draw.within(1, 9_999);
    let date = format!("{year}-{month:02}-{day:02}");
    let time = format!("{:02}:{:02}:{:02}Z", day % 24, number % 60, month);
    Some(match format {
        "date" => date,
        "time" => time,
        "date-time" => format!("{date}T{time}"),
        "duration" => format!("P{day}D"),
        "email" | "idn-email" => format!("simulated{number}@example.com"),
        "hostname" | "idn-hostname" => format!("simulated{number}.example.com"),
        "uri" | "iri" | "uri-reference" | "iri-reference" => {
            format!("https://example.com/simulated/{number}")
        }
        "ipv4" => format!("192.0.2.{}", number % 256),
        "ipv6" => format!("2001:db8::{number:x}"),
        "uuid" => uuid::Builder::from_random_bytes(
            Uuid::from_u64_pair(draw.bits(), draw.bits()).into_bytes(),
        )
        .into_uuid()
        .to_string(),
        "json-pointer" => format!("/simulated/{number}"),
        "regex" => format!("simulated{number}"),
        _ => return None,
    })
}

fn chars(text: &str) -> u64 {
    u64::try_from(text.chars().count()).unwrap_or(u64::MAX)
}
