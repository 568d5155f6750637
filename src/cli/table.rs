//! What the commands' texts share: tables, sums of money, spans of time, and text made safe to show.
//! Must not know: what is shown.

use comfy_table::{CellAlignment, Table};

/// Lines of aligned columns under a header. The columns whose numbers stand in `right` lean to the
/// right, as figures do.
pub(super) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)));
    }
    for position in right {
        if let Some(column) = table.column_mut(*position) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut lines = String::new();
    for line in table.to_string().lines() {
        // Every cell is padded by one space on each side.
        lines.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
        lines.push('\n');
    }
    lines
}

/// Micro-dollars as dollars, exactly: `35_000` is `0.035`, `1_000_000` is `1.00`.
pub(super) fn dollars(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    let digits = format!("{part:06}");
    let digits = digits.trim_end_matches('0');
    format!("{whole}.{digits:0<2}")
}

/// A span of time with as many digits as a person reads: `420 ms`, `3.2 s`, `5 min`, `7 h 5 min`,
/// `3 d 4 h`.
pub(super) fn span(ms: i64) -> String {
    let two = |large: i64, name: &str, small: i64, rest: &str| {
        if small == 0 {
            format!("{large} {name}")
        } else {
            format!("{large} {name} {small} {rest}")
        }
    };
    let (s, min, h) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms.max(0) {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms @ 1_000..60_000 => format!("{s}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => two(min, "min", s % 60, "s"),
        3_600_000..172_800_000 => two(h, "h", min % 60, "min"),
        _ => two(h / 24, "d", h % 24, "h"),
    }
}

/// A span of time as people write it (`90s`, `30m`, `2h`, `7d`), in milliseconds.
pub(super) fn parse_span(text: &str) -> Option<i64> {
    let unit_ms = match text.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit_ms)
}

/// A text in which nothing can steer a terminal: line breaks and tabs stay, other control
/// characters become visible marks. Models and producers write what they like.
pub(super) fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter,
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(letter)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        letter if letter.is_control() || is_direction(letter) => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// The same, on one line.
pub(super) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\u{240a}").replace('\t', " ")
}

/// Marks that turn the direction of writing, and with it the order in which a line is read.
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned(), "x\ny".to_owned()],
            vec!["long name".to_owned(), "1000".to_owned(), String::new()],
        ];
        expect![[r#"
            name       calls  why
            a              1  x␊y
            long name   1000
        "#]]
        .assert_eq(&table(&["name", "calls", "why"], &[1], rows));
    }

    #[test]
    fn dollars_are_exact() {
        assert_eq!(dollars(35_000), "0.035");
        assert_eq!(dollars(1_000_000), "1.00");
        assert_eq!(dollars(2_650_000), "2.65");
        assert_eq!(dollars(8_750), "0.00875");
        assert_eq!(dollars(500_000), "0.50");
        assert_eq!(dollars(0), "0.00");
    }

    #[test]
    fn spans_are_short() {
        let cases = [
            (-5, "0 ms"),
            (0, "0 ms"),
            (420, "420 ms"),
            (3_250, "3.2 s"),
            (60_000, "1 min"),
            (301_000, "5 min 1 s"),
            (25_500_000, "7 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text);
        }
        assert!(span(i64::MAX).ends_with(" h"));
        assert_eq!(span(i64::MIN), "0 ms");
    }

    #[test]
    fn no_text_can_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31m\0\u{9b}\u{202e}b\n\tc"), "a␛[31m␀��b\n\tc");
        assert_eq!(one_line("a\r\n\tb"), "a␍␊ b");
    }
}
