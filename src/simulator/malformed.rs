//! The words in which InvokeModel refuses a body that is not of its model's form. Must not know: any
//! model's fields.

use super::heard::{Fielded, Fields};
use super::request::Refusal;

/// Reads a body of InvokeModel.
pub(crate) fn read<'a, B: Fields<'a>>(bytes: &'a [u8]) -> Result<Fielded<B>, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| unreadable::<B>(bytes, &error))
}

/// A refusal that names what is wrong with the body.
pub(crate) fn refusal(flaws: &str) -> Refusal {
    Refusal::validation(format!(
        "Malformed input request: {flaws}, please reformat your input and try again."
    ))
}

/// A number that lies outside its bounds.
pub(crate) fn bound(pointer: &str, value: f64, least: f64, most: f64) -> Result<(), Refusal> {
    if value < least {
        Err(refusal(&format!("#{pointer}: {value} is not greater or equal to {least}")))
    } else if value > most {
        Err(refusal(&format!("#{pointer}: {value} is not less or equal to {most}")))
    } else {
        Ok(())
    }
}

/// A limit of output tokens, at least 1; `default` where the body has none.
pub(crate) fn max_tokens(pointer: &str, value: Option<i64>, default: u64) -> Result<u64, Refusal> {
    let Some(value) = value else {
        return Ok(default);
    };
    match u64::try_from(value) {
        Ok(tokens) if (1..=u64::from(u32::MAX)).contains(&tokens) => Ok(tokens),
        _ => Err(refusal(&format!("#{pointer}: {value} is not greater or equal to 1"))),
    }
}

/// Fields that are missing and fields that are unknown.
pub(crate) fn keys(unknown: &[String], missing: &[&str]) -> Result<(), Refusal> {
    if unknown.is_empty() && missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(|key| format!("#: required key [{key}] not found"));
    let unknown = unknown.iter().map(|key| format!("#: extraneous key [{key}] is not permitted"));
    Err(refusal(&missing.chain(unknown).collect::<Vec<_>>().join(", ")))
}

/// Why a body could not be read. It is read once more, to find the place.
fn unreadable<'a, B: Fields<'a>>(bytes: &'a [u8], error: &serde_json::Error) -> Refusal {
    let mut again = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, Fielded<B>>(&mut again) {
        Err(placed) if error.is_data() => {
            let mut pointer = String::from("#");
            for segment in placed.path() {
                use serde_path_to_error::Segment;
                pointer.push('/');
                match segment {
                    Segment::Seq { index } => pointer.push_str(&index.to_string()),
                    Segment::Map { key } => pointer.push_str(key),
                    Segment::Enum { variant } => pointer.push_str(variant),
                    Segment::Unknown => pointer.push('?'),
                }
            }
            refusal(&format!("{pointer}: {}", placed.inner()))
        }
        _ => Refusal::validation(
            "Malformed input request, please reformat your input and try again.",
        ),
    }
}
