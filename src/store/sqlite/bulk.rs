//! Rows as JSON lists, the form in which statements take many at once.
//! Must not know: tables.

use serde::Serialize;

use crate::store::StoreResult;

/// The list as JSON text.
pub(super) fn list<T: Serialize>(rows: &[T]) -> StoreResult<String> {
    Ok(serde_json::to_string(rows)?)
}

/// A count as SQLite's integer; the largest where it does not fit.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// SQLite's integer as a count; zero where it is negative.
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// SQLite's integer as a small count.
pub(super) fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// A model's text on its way into a JSON list. SQLite's JSON functions end a text at NUL, so a
/// text with NUL travels as hex and is turned back by the statement.
#[derive(Debug, Default, Serialize)]
pub(super) struct Text {
    plain: Option<String>,
    hex: Option<String>,
}

impl Text {
    pub(super) fn of(text: Option<&str>) -> Self {
        match text {
            Some(text) if text.contains('\0') => Self { plain: None, hex: Some(hex(text)) },
            Some(text) => Self { plain: Some(text.to_owned()), hex: None },
            None => Self::default(),
        }
    }
}

fn hex(text: &str) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0F)]).collect()
}
