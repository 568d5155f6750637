//! The slips that models make when they write JSON. Must not know: the wire, why a slip is made.

use serde::de::IgnoredAny;

use super::draw::Draw;
use super::fault::Fault;

/// Slips after which nothing parses any more; `malformed_json` draws one of them.
const MALFORMED: [Fault; 8] = [
    Fault::JsonNoColon,
    Fault::JsonNoComma,
    Fault::JsonInnerQuotes,
    Fault::JsonSingleQuotes,
    Fault::JsonExtraBracket,
    Fault::JsonUnclosed,
    Fault::JsonTrailingComma,
    Fault::JsonBareKeys,
];
/// How deep `json_deep` nests: deeper than the parsers of most languages go by default.
const DEEP: usize = 200;

/// Compact JSON with a slip; none where this JSON has no place for it.
pub(super) fn spoilt(fault: Fault, json: &str, draw: &mut Draw) -> Option<String> {
    if fault != Fault::MalformedJson {
        return slip(fault, json);
    }
    let first = draw.index(MALFORMED.len());
    let mut order = MALFORMED.iter().cycle().skip(first).take(MALFORMED.len());
    let broken = order.find_map(|slipped| {
        slip(*slipped, json).filter(|text| serde_json::from_str::<IgnoredAny>(text).is_err())
    });
    // A lone number or word has no place for any of them.
    Some(broken.unwrap_or_else(|| format!("{{\"simulated\": {json}")))
}

fn slip(fault: Fault, json: &str) -> Option<String> {
    let spoilt = match fault {
        Fault::JsonNoColon => replaced(json, "\":", "\" "),
        Fault::JsonNoComma => replaced(json, ",\"", " \""),
        Fault::JsonInnerQuotes => in_string(json, "\"so\" "),
        Fault::JsonSingleQuotes => json.contains('"').then(|| json.replace('"', "'")),
        Fault::JsonExtraBracket => Some(format!("{json}}}")),
        Fault::JsonUnclosed => unclosed(json).map(str::to_owned),
        Fault::JsonCut => json.get(..json.floor_char_boundary(json.len() / 2)).map(str::to_owned),
        Fault::JsonTrailingComma => {
            let bracket = json.get(json.len().saturating_sub(1)..)?;
            unclosed(json).map(|open| format!("{open},{bracket}"))
        }
        Fault::JsonBareKeys => bare_keys(json),
        Fault::JsonComments => {
            let rest = json.strip_prefix(['{', '['])?;
            let bracket = json.get(..1)?;
            Some(format!("{bracket} // simulated\n{rest}"))
        }
        Fault::JsonRawNewline => in_string(json, "\n"),
        Fault::JsonNan => in_place_of_a_value(json, "NaN"),
        Fault::JsonPython => in_place_of_a_value(json, "None"),
        Fault::JsonBadEscape => in_string(json, "\\d "),
        Fault::JsonDuplicateKeys => duplicate(json),
        Fault::JsonSeveralValues => Some(format!("{{}}\n{json}")),
        Fault::JsonBrokenAfter => Some(format!("{json}\n{{\"simulated\":")),
        Fault::JsonBareText => {
            Some("[simulated] I would rather say it in words: there is nothing to add.".to_owned())
        }
        Fault::JsonInString => serde_json::to_string(json).ok(),
        Fault::JsonDeep => Some(format!("{}{json}{}", "[".repeat(DEEP), "]".repeat(DEEP))),
        Fault::JsonBom => Some(format!("\u{feff}{json}")),
        Fault::JsonLoneSurrogate => in_string(json, "\\ud800"),
        Fault::Nul => in_string(json, "\\u0000"),
        _ => None,
    };
    spoilt.filter(|text| text != json)
}

fn replaced(json: &str, from: &str, to: &str) -> Option<String> {
    json.contains(from).then(|| json.replacen(from, to, 1))
}

/// The JSON without its last bracket.
fn unclosed(json: &str) -> Option<&str> {
    json.strip_suffix(['}', ']']).filter(|open| open.len() > 1)
}

/// Puts something at the beginning of the first string that is a value.
fn in_string(json: &str, what: &str) -> Option<String> {
    let place = string_value(json)?;
    let (before, after) = json.split_at_checked(place)?;
    Some(format!("{before}{what}{after}"))
}

/// Where the first string that is a value begins, after its quote. In compact JSON a colon before a
/// quote is rare within strings; it is then a quote that is escaped, and passed over.
fn string_value(json: &str) -> Option<usize> {
    if let Some(found) = json.find(":\"") {
        return Some(found + 2);
    }
    json.strip_prefix("[\"").map(|_| 2).or_else(|| json.strip_prefix('"').map(|_| 1))
}

fn in_place_of_a_value(json: &str, what: &str) -> Option<String> {
    let after_colon = json.find("\":")? + 2;
    let (before, after) = json.split_at_checked(after_colon)?;
    let mut values = serde_json::Deserializer::from_str(after).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let rest = after.get(values.byte_offset()..)?;
    Some(format!("{before}{what}{rest}"))
}

fn bare_keys(json: &str) -> Option<String> {
    let rest = json.strip_prefix("{\"")?;
    let (key, rest) = rest.split_once("\":")?;
    Some(format!("{{{key}:{rest}"))
}

fn duplicate(json: &str) -> Option<String> {
    let rest = json.strip_prefix("{\"")?;
    let (key, _) = rest.split_once("\":")?;
    Some(format!("{{\"{key}\":null,\"{rest}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::fault::{FAULTS, Strike};
    use super::*;

    const JSON: &str = r#"{"title":"simulated stone","n":3,"tags":["a","b"]}"#;

    #[test]
    fn every_slip_changes_the_json_and_few_still_parse() {
        let good: Value = serde_json::from_str(JSON).unwrap();
        for fault in FAULTS.iter().filter(|fault| fault.strike() == Strike::Json) {
            if matches!(fault, Fault::Prose | Fault::WrongSchema) {
                continue;
            }
            let spoilt = spoilt(*fault, JSON, &mut Draw::new(1)).unwrap();
            assert_ne!(spoilt, JSON);
            let parsed: Option<Value> = serde_json::from_str(&spoilt).ok();
            match fault {
                Fault::JsonDuplicateKeys => assert_eq!(parsed, Some(good.clone())),
                Fault::JsonInString => assert_eq!(parsed, Some(JSON.into())),
                _ => assert_eq!(parsed, None, "{fault}: {spoilt}"),
            }
        }
    }

    #[test]
    fn malformed_json_never_parses_whatever_it_was() {
        for json in [JSON, "{}", "[]", "[1,2]", "\"x\"", "3", "null", "{\"a\":{}}", "[\"\"]"] {
            for seed in 0..40 {
                let spoilt = spoilt(Fault::MalformedJson, json, &mut Draw::new(seed)).unwrap();
                assert!(serde_json::from_str::<IgnoredAny>(&spoilt).is_err(), "{json}: {spoilt}");
            }
        }
    }

    #[test]
    fn a_slip_without_a_place_is_none() {
        assert_eq!(spoilt(Fault::JsonNan, "[]", &mut Draw::new(1)), None);
        assert_eq!(spoilt(Fault::JsonRawNewline, "{\"n\":1}", &mut Draw::new(1)), None);
    }

    #[test]
    fn a_nul_and_half_a_character_are_escapes_within_a_string() {
        let nul = spoilt(Fault::Nul, JSON, &mut Draw::new(1)).unwrap();
        assert!(nul.contains(r#""title":"\u0000simulated"#), "{nul}");
        let value: Value = serde_json::from_str(&nul).unwrap();
        assert!(value["title"].as_str().unwrap().starts_with('\0'));
        let half = spoilt(Fault::JsonLoneSurrogate, JSON, &mut Draw::new(1)).unwrap();
        assert!(half.contains(r#""title":"\ud800simulated"#), "{half}");
    }
}
