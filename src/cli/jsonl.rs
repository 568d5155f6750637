//! Lines of a JSONL file with bounded memory, for every command that takes one.
//! Must not know: what a line says.

use std::io::{self, BufRead};

use crate::job::Problem;

/// Reads a JSONL file line by line. Blank lines are passed over and counted; a line that is too
/// long or is no UTF-8 comes out as a problem, and the next line is read all the same.
#[derive(Debug)]
pub struct JsonLines<R> {
    reader: R,
    line_bytes_max: usize,
    number: u64,
}

/// One line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonLine {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its text without the line break, or why it cannot be read.
    pub text: Result<String, Problem>,
}

impl<R: BufRead> JsonLines<R> {
    /// Lines of at most `line_bytes_max` bytes, the line break not counted.
    pub fn new(reader: R, line_bytes_max: usize) -> Self {
        Self { reader, line_bytes_max, number: 0 }
    }

    /// The next line that is not blank; nothing at the file's end.
    ///
    /// # Errors
    /// Where the file cannot be read. Nothing after that can be relied on.
    pub fn next_line(&mut self) -> io::Result<Option<JsonLine>> {
        while let Some((bytes, length)) = self.raw_line()? {
            self.number = self.number.saturating_add(1);
            if length > self.line_bytes_max {
                let reason = format!(
                    "the line has {length} bytes and {} are allowed; shorten it or raise job.document_bytes_max",
                    self.line_bytes_max
                );
                let text = Err(Problem::new("$", reason));
                return Ok(Some(JsonLine { number: self.number, text }));
            }
            // Some editors open a file with a byte order mark, which is not JSON.
            let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
                Some(rest) if self.number == 1 => rest,
                _ => bytes.as_slice(),
            };
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let text = match std::str::from_utf8(bytes) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => {
                    let reason = format!("is not UTF-8 from byte {} on", error.valid_up_to());
                    Err(Problem::new("$", reason))
                }
            };
            return Ok(Some(JsonLine { number: self.number, text }));
        }
        Ok(None)
    }

    /// The next line's bytes and its whole length. Of a line that is too long only the length is
    /// kept: the rest is read and forgotten piece by piece.
    fn raw_line(&mut self) -> io::Result<Option<(Vec<u8>, usize)>> {
        let mut kept = Vec::new();
        let mut length = 0_usize;
        let mut any = false;
        let mut last = None;
        loop {
            let piece = match self.reader.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if piece.is_empty() {
                break;
            }
            any = true;
            let end = piece.iter().position(|byte| *byte == b'\n');
            let part = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
            length = length.saturating_add(part.len());
            last = part.last().copied().or(last);
            // One byte more than allowed, for the `\r` of a line that just fits.
            if length <= self.line_bytes_max.saturating_add(1) {
                kept.extend_from_slice(part);
            } else {
                kept = Vec::new();
            }
            let used = part.len().saturating_add(usize::from(end.is_some()));
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        if last == Some(b'\r') {
            kept.pop();
            length = length.saturating_sub(1);
        }
        Ok(any.then_some((kept, length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{BufReader, Read};

    fn lines(
        bytes: &[u8],
        line_bytes_max: usize,
        buffer: usize,
    ) -> Vec<(u64, Result<String, String>)> {
        let mut lines = JsonLines::new(BufReader::with_capacity(buffer, bytes), line_bytes_max);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push((line.number, line.text.map_err(|problem| problem.to_string())));
        }
        all
    }

    fn ok(number: u64, text: &str) -> (u64, Result<String, String>) {
        (number, Ok(text.to_owned()))
    }

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        for buffer in [1, 3, 8_192] {
            let found = lines(b"\xEF\xBB\xBF{}\r\n\n  \t\r\n[1]\n{\"a\":2}", 100, buffer);
            assert_eq!(found, [ok(1, "{}"), ok(4, "[1]"), ok(5, "{\"a\":2}")]);
        }
        assert_eq!(lines(b"", 100, 8), []);
        assert_eq!(lines(b"\n\n", 100, 8), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_one_is_read() {
        for buffer in [1, 4, 8_192] {
            let found = lines(b"12345\n123456\n12345\r\n1234567\r\nx", 5, buffer);
            let reason = |length: usize| {
                Err(format!(
                    "$: the line has {length} bytes and 5 are allowed; shorten it or raise job.document_bytes_max"
                ))
            };
            let expected =
                [ok(1, "12345"), (2, reason(6)), ok(3, "12345"), (4, reason(7)), ok(5, "x")];
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_line_that_is_no_utf_8_is_refused_and_the_next_one_is_read() {
        let found = lines(b"{\"a\":\"\xFF\"}\n{}", 100, 8_192);
        assert_eq!(found, [(1, Err("$: is not UTF-8 from byte 6 on".to_owned())), ok(2, "{}")]);
    }

    #[test]
    fn an_endless_line_takes_no_more_memory_than_allowed() {
        let endless = std::io::repeat(b'x').take(64 * 1024 * 1024);
        let mut lines = JsonLines::new(BufReader::new(endless), 1_024);
        let line = lines.next_line().unwrap().unwrap();
        assert!(line.text.unwrap_err().reason.contains("67108864 bytes"));
        assert_eq!(lines.next_line().unwrap(), None);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_every_line_that_is_not_blank_comes_out_once(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            buffer in 1_usize..20,
        ) {
            let found = lines(&bytes, 10, buffer);
            let numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
            prop_assert!(numbers.is_sorted());
            prop_assert_eq!(&found, &lines(&bytes, 10, 8_192));
            for (_, text) in found {
                prop_assert!(text.map_or(true, |text| text.len() <= 10 && !text.contains('\n')));
            }
        }
    }
}
