//! Which entries go into one request: at most ten of them, and so many bytes together.
//! Must not know: what an entry is, the SDK.

use std::ops::Range;

/// The most entries of one batch.
pub(super) const ENTRIES_MAX: usize = 10;

/// Consecutive ranges of `count` entries that are small.
pub(super) fn by_number(count: usize) -> Vec<Range<usize>> {
    let ends = |start: usize| start..start.saturating_add(ENTRIES_MAX).min(count);
    (0..count).step_by(ENTRIES_MAX).map(ends).collect()
}

/// Consecutive ranges of entries of these sizes, each of at most `bytes_max` together. An entry that
/// is larger alone stands alone.
pub(super) fn by_size(sizes: &[u64], bytes_max: u64) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0_u64);
    for (at, size) in sizes.iter().enumerate() {
        let together = bytes.saturating_add(*size);
        if at > start && (together > bytes_max || at - start == ENTRIES_MAX) {
            ranges.push(start..at);
            (start, bytes) = (at, *size);
        } else {
            bytes = together;
        }
    }
    if start < sizes.len() {
        ranges.push(start..sizes.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn batches_hold_ten_entries_at_most() {
        assert!(by_number(0).is_empty());
        assert_eq!(by_number(11), [0..10, 10..11]);
        assert_eq!(by_number(21), [0..10, 10..20, 20..21]);
        assert_eq!(by_size(&[1; 21], 100), [0..10, 10..20, 20..21]);
    }

    #[test]
    fn batches_hold_so_many_bytes_at_most() {
        assert_eq!(by_size(&[60, 40, 1], 100), [0..2, 2..3]);
        assert_eq!(by_size(&[60, 41, 59, 100], 100), [0..1, 1..3, 3..4]);
        assert_eq!(by_size(&[200, 1], 100), [0..1, 1..2], "alone, so that it alone is refused");
        assert_eq!(by_size(&[u64::MAX, u64::MAX, 1], u64::MAX - 1), [0..1, 1..2, 2..3]);
    }

    proptest! {
        #[test]
        fn every_entry_is_in_one_batch_in_its_order_and_no_batch_is_too_large(
            sizes in proptest::collection::vec(0_u64..300, 0..80), bytes_max in 1_u64..1_000,
        ) {
            let ranges = by_size(&sizes, bytes_max);
            let all: Vec<usize> = ranges.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            for range in &ranges {
                let bytes: u64 = sizes[range.clone()].iter().sum();
                prop_assert!(!range.is_empty() && range.len() <= ENTRIES_MAX);
                prop_assert!(bytes <= bytes_max || range.len() == 1);
            }
            // No two neighbours would have gone together: no request is made that need not be.
            for pair in ranges.windows(2) {
                let first: u64 = sizes[pair[0].clone()].iter().sum();
                let next = sizes[pair[1].start];
                prop_assert!(pair[0].len() == ENTRIES_MAX || first + next > bytes_max);
            }
        }
    }
}
