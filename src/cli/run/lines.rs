//! A file's lines, one at a time, in bounded memory: a line that is too long is passed over unread,
//! and a sample is drawn by counting.
//! Must not know: what a line says.

use std::io::{self, BufRead};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// One line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number in the file, from 1, blank lines counted.
    pub(super) number: u64,
    /// Its text without white space around it, or what keeps it from being read.
    pub(super) text: Result<String, String>,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    bytes_max: usize,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines of at most so many bytes.
    pub(super) fn new(reader: R, bytes_max: usize) -> Self {
        Self { reader, number: 0, bytes_max }
    }

    /// The next line that is not blank; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some(raw) = self.next_raw()? else { return Ok(None) };
            let text = match raw {
                Raw::TooLong(bytes) => Err(format!(
                    "the line has {bytes} bytes and job.document_bytes_max is {}; shorten it or \
                     raise the setting",
                    self.bytes_max
                )),
                Raw::Bytes(bytes) => match String::from_utf8(bytes) {
                    Ok(text) => Ok(without_mark(&text, self.number).trim().to_owned()),
                    Err(error) => {
                        let at = error.utf8_error().valid_up_to();
                        Err(format!("is not UTF-8 at byte {at}"))
                    }
                },
            };
            if text.as_ref().is_ok_and(String::is_empty) {
                continue;
            }
            return Ok(Some(Line { number: self.number, text }));
        }
    }

    fn next_raw(&mut self) -> io::Result<Option<Raw>> {
        let mut kept = Vec::new();
        let mut length = 0_usize;
        let mut began = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() && !began {
                return Ok(None);
            }
            began = true;
            let (part, used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (buffer.get(..at).unwrap_or_default(), at.saturating_add(1), true),
                None => (buffer, buffer.len(), buffer.is_empty()),
            };
            length = length.saturating_add(part.len());
            // The line's end may be a carriage return that does not count.
            if length <= self.bytes_max.saturating_add(1) {
                kept.extend_from_slice(part);
            }
            self.reader.consume(used);
            if ended {
                break;
            }
        }
        self.number = self.number.saturating_add(1);
        if kept.len() == length && kept.last() == Some(&b'\r') {
            kept.pop();
            length = length.saturating_sub(1);
        }
        let fits = length <= self.bytes_max;
        Ok(Some(if fits { Raw::Bytes(kept) } else { Raw::TooLong(length) }))
    }
}

enum Raw {
    Bytes(Vec<u8>),
    TooLong(usize),
}

/// Some editors open a file with a byte-order mark.
fn without_mark(text: &str, number: u64) -> &str {
    if number == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text }
}

/// How many lines are not blank.
pub(super) fn count(reader: impl BufRead, bytes_max: usize) -> io::Result<u64> {
    let mut lines = Lines::new(reader, bytes_max);
    let mut found = 0_u64;
    while lines.next()?.is_some() {
        found = found.saturating_add(1);
    }
    Ok(found)
}

/// Which lines belong to a sample: one of each of `wanted` equal stretches of the file, drawn by a
/// fixed seed, so that the same file always gives the same sample.
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
    use std::io::BufReader;

    fn read(text: &[u8], bytes_max: usize) -> Vec<(u64, Result<String, String>)> {
        // A tiny buffer, so that every line crosses its edges.
        let mut lines = Lines::new(BufReader::with_capacity(3, text), bytes_max);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.text));
        }
        found
    }

    #[test]
    fn blank_lines_are_counted_and_passed_over() {
        let lines = read(b"\xef\xbb\xbfone\r\n\n  \ntwo\n three", 10);
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(lines, [(1, ok("one")), (4, ok("two")), (5, ok("three"))]);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_is_read() {
        let lines = read(b"0123456789\r\n0123456789a\nnext", 10);
        assert_eq!(lines[0], (1, Ok("0123456789".to_owned())));
        let reason = lines[1].1.as_ref().unwrap_err();
        assert!(reason.contains("has 11 bytes"), "{reason}");
        assert_eq!(lines[2], (3, Ok("next".to_owned())));
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_refused() {
        assert_eq!(read(b"ok\n\xff\nok", 10)[1], (2, Err("is not UTF-8 at byte 0".to_owned())));
    }

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
