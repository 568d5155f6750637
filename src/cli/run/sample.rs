//! Which lines of a file belong to a sample.
//! Must not know: what a line says.

use std::io::{self, BufRead};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::cli::jsonl::JsonLines;

/// How many lines are not blank.
pub(super) fn count(reader: impl BufRead, bytes_max: usize) -> io::Result<u64> {
    let mut lines = JsonLines::new(reader, bytes_max);
    let mut found = 0_u64;
    while lines.next_line()?.is_some() {
        found = found.saturating_add(1);
    }
    Ok(found)
}

/// One line of each of `wanted` equal stretches of the file, drawn by a fixed seed, so that the
/// same file always gives the same sample.
#[derive(Debug)]
pub(super) struct Sample {
    picks: std::iter::Peekable<std::vec::IntoIter<u64>>,
    at: u64,
}

impl Sample {
    /// Draws from so many lines.
    pub(super) fn draw(lines: u64, wanted: u64) -> Self {
        let wanted = wanted.min(lines);
        let mut rng = StdRng::seed_from_u64(lines);
        let edge = |stretch: u64| {
            let product = u128::from(stretch).saturating_mul(u128::from(lines));
            let edge = product.checked_div(u128::from(wanted)).unwrap_or_default();
            u64::try_from(edge).unwrap_or(lines)
        };
        let picks: Vec<u64> = (0..wanted)
            .map(|stretch| {
                let (first, end) = (edge(stretch), edge(stretch.saturating_add(1)));
                rng.random_range(first..end.max(first.saturating_add(1)))
            })
            .collect();
        Self { picks: picks.into_iter().peekable(), at: 0 }
    }

    /// Whether the next line belongs to it; to be asked once for each line that is not blank.
    pub(super) fn takes_next(&mut self) -> bool {
        let at = self.at;
        self.at = at.saturating_add(1);
        self.picks.next_if_eq(&at).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_one_line_of_each_stretch_and_is_always_the_same() {
        let taken = |lines: u64, wanted: u64| {
            let mut sample = Sample::draw(lines, wanted);
            (0..lines).filter(|_| sample.takes_next()).collect::<Vec<u64>>()
        };
        let sample = taken(1_000, 10);
        assert_eq!(sample, taken(1_000, 10));
        let stretches: Vec<u64> = sample.iter().map(|line| line / 100).collect();
        assert_eq!(stretches, (0..10).collect::<Vec<u64>>());
        assert_eq!(taken(3, 10), [0, 1, 2]);
        assert_eq!(taken(0, 10), Vec::<u64>::new());
    }
}
