//! What the settings file and the architecture page promise.
//! Must not know: where those files are.

use std::collections::BTreeSet;

/// Every key must have a comment in the lines right above it, or one behind it, and not both.
pub(crate) fn settings_without_one_comment(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut comment_above = false;
    let mut open_brackets = 0_usize;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let (value, comment) = split_comment(line);
        let inside = open_brackets > 0;
        open_brackets += value.matches(['[', '{']).count();
        open_brackets = open_brackets.saturating_sub(value.matches([']', '}']).count());
        if inside {
            continue;
        }
        let is_key = !value.starts_with('[') && value.contains('=');
        if is_key {
            let comments = usize::from(comment_above) + usize::from(comment.is_some());
            if comments != 1 {
                let key = value.split('=').next().unwrap_or_default().trim();
                let number = index + 1;
                wrong.push(format!(
                    "{path}:{number}: `{key}` has {comments} comments, one is needed"
                ));
            }
        }
        comment_above = value.is_empty() && comment.is_some();
    }
    wrong
}

/// A line of TOML as its value and its comment. A `#` within quotes is no comment.
pub(crate) fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') => {
                let (value, comment) = line.split_at(at);
                return (value.trim(), Some(comment));
            }
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
    }
    (line, None)
}

/// The paths that stand in backticks below a heading `Code map`, up to the next heading that is not
/// below it. A path is what holds a `/` and no space.
pub(crate) fn names_in_code_map(text: &str) -> BTreeSet<String> {
    let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
    let mut map_level = None;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if level(line) > 0 {
            let is_map = line.to_lowercase().contains("code map");
            if is_map {
                map_level = Some(level(line));
            } else if map_level.is_some_and(|map| level(line) <= map) {
                map_level = None;
            }
        }
        if map_level.is_some() {
            let spans = line.split('`').skip(1).step_by(2);
            names.extend(
                spans
                    .filter(|span| span.contains('/') && !span.contains([' ', '*', '{', '<']))
                    .map(|span| span.trim_end_matches('/').to_owned()),
            );
        }
    }
    names
}

#[test]
fn a_setting_has_a_comment_above_or_behind() {
    let text = "# one\na = 1\nb = 2\nc = '#' # two\n# three\nd = [ # four\n  1,\n]\n";
    let wrong = settings_without_one_comment("x", text);
    assert_eq!(
        wrong,
        ["x:3: `b` has 0 comments, one is needed", "x:6: `d` has 2 comments, one is needed"]
    );
}

#[test]
fn the_code_map_ends_at_the_next_heading() {
    let text =
        "# A\n`src/no`\n## Code map\n`src/a.rs` and `b` in `src/c/`\n### Inner\n`d/e`\n## Z\n`f/g`";
    let names: Vec<String> = names_in_code_map(text).into_iter().collect();
    assert_eq!(names, ["d/e", "src/a.rs", "src/c"]);
}
