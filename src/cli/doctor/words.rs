//! How the check-up words what others gave it: moments, sizes, chains of errors.
//! Must not know: any check.

use std::error::Error;

/// The longest chain of causes that is told.
const CAUSES_MAX: usize = 8;
/// The longest text of somebody else's that is told, in characters.
const CHARS_MAX: usize = 400;

/// An error with its causes, each said once, shortened.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(cause) = next else { break };
        let text = cause.to_string();
        if !said.contains(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        next = cause.source();
    }
    shortened(&said)
}

/// At most so many characters of a text.
pub(super) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Unix milliseconds as people and programs read them, to the second.
pub(super) fn moment(unix_ms: i64) -> String {
    let second = unix_ms.div_euclid(1_000);
    jiff::Timestamp::from_second(second)
        .map_or_else(|_| format!("{unix_ms} ms after 1970"), |at| at.to_string())
}

/// `512 bytes`, `3.4 kB`, `1.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in UNITS {
        if count >= unit {
            let tenths = count.saturating_mul(10) / unit;
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} bytes")
}

/// `1 job`, `2 jobs`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_moments_are_short() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(3_456), "3.4 kB");
        assert_eq!(bytes(1_250_000_000), "1.2 GB");
        assert_eq!(moment(1_767_225_600_999), "2026-01-01T00:00:00Z");
        assert_eq!(counted(1, "job"), "1 job");
    }

    #[test]
    fn a_chain_of_errors_is_told_once_each() {
        let error = anyhow::anyhow!("inner").context("middle").context("outer");
        let error: Box<dyn Error + Send + Sync> = error.into();
        assert_eq!(causes(&*error), "outer: middle: inner");
        assert_eq!(shortened(&"x".repeat(500)).chars().count(), 401);
    }
}
