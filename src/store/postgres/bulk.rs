//! Numbers, times and texts on their way into columns and back.
//! Must not know: tables.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::store::StoreError;

use super::error::Outcome;

/// The first and the last instant that a time column is given: the years 1 to 9999.
const EARLIEST_MS: i64 = -62_135_596_800_000;
const LATEST_MS: i64 = 253_402_300_799_999;

/// A count as a column's integer; the largest where it does not fit.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column's integer as a count; zero where it is negative.
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// A small count as a column's integer; the largest where it does not fit.
pub(super) fn small_int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A column's integer as a small count; zero where it is negative.
pub(super) fn small(value: i32) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// An instant in Unix ms, within what a time column holds.
pub(super) fn instant(ms: i64) -> i64 {
    ms.clamp(EARLIEST_MS, LATEST_MS)
}

/// A column of an `unnest`: empty where all of it is null. The server pads it with nulls then, which
/// costs it less than reading one a row.
pub(super) fn sparse<T>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let values: Vec<Option<T>> = values.collect();
    if values.iter().all(Option::is_none) { Vec::new() } else { values }
}

/// A list that came as JSON; none is empty.
pub(super) fn list<T: DeserializeOwned>(json: Option<String>) -> Outcome<Vec<T>> {
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or_default())
}

/// How a text with NUL, which `text` cannot hold, is shown in its column.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The exact bytes of a text, where its column cannot hold it.
pub(super) fn exact(text: &str) -> Option<Vec<u8>> {
    text.contains('\0').then(|| text.as_bytes().to_vec())
}

/// A text as it was handed in: its exact bytes where there are some, else what its column shows.
pub(super) fn text_of(shown: Option<String>, exact: Option<Vec<u8>>) -> Outcome<Option<String>> {
    let Some(exact) = exact else { return Ok(shown) };
    let text = String::from_utf8(exact)
        .map_err(|_| StoreError::Bug("bytes of a text that are not UTF-8".to_owned()))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_nul_comes_back_exactly_and_shows_a_mark() {
        let text = "a\0b";
        assert_eq!(shown(text), "a\u{fffd}b");
        let back = text_of(Some(shown(text).into_owned()), exact(text)).unwrap();
        assert_eq!(back.as_deref(), Some(text));
        assert_eq!(exact("plain"), None);
        assert_eq!(text_of(Some("plain".to_owned()), None).unwrap().as_deref(), Some("plain"));
    }

    #[test]
    fn only_a_column_without_any_value_is_left_out() {
        assert_eq!(sparse([None, Some(1)].into_iter()), [None, Some(1)]);
        assert!(sparse([None::<i64>, None].into_iter()).is_empty());
    }

    #[test]
    fn an_instant_beyond_the_calendar_is_the_nearest() {
        assert_eq!(instant(i64::MAX), LATEST_MS);
        assert_eq!(instant(i64::MIN), EARLIEST_MS);
        assert_eq!(instant(5), 5);
    }
}
