//! Reads the package's files, and Rust files as code without comments, quoted text and tests.
//! Must not know: what is looked for in them.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct Source {
    /// From the package's root, with `/`.
    pub(crate) path: String,
    /// Below `src`, with `::`: `store::sqlite::claim`.
    pub(crate) module: String,
    pub(crate) text: String,
    /// The text with comments, quoted text and tests replaced by spaces, line for line.
    pub(crate) code: String,
    /// How many lines are tests.
    pub(crate) test_lines: usize,
}

impl Source {
    pub(crate) fn read(path: String) -> Self {
        let text = read(&path);
        let inner = path.strip_prefix("src/").unwrap_or(&path);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let inner = inner.strip_suffix("/mod").unwrap_or(inner);
        let module = inner.replace('/', "::");
        let (code, test_lines) = if module.ends_with("::tests") || module.contains("::tests::") {
            (String::new(), text.lines().count())
        } else {
            without_tests(&without_quotes(&text))
        };
        Self { path, module, text, code, test_lines }
    }

    /// How many `super` lead from this file's module to the crate's root.
    pub(crate) fn depth(&self) -> usize {
        match self.module.as_str() {
            "lib" | "main" => 0,
            module => module.split("::").count(),
        }
    }
}

/// A name, a number or a single sign of code.
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

pub(crate) fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut within_word = false;
        for letter in line.chars() {
            let of_word = letter.is_alphanumeric() || letter == '_';
            match tokens.last_mut() {
                Some(last) if of_word && within_word => last.text.push(letter),
                _ if letter.is_whitespace() => {}
                _ => tokens.push(Token { line: index + 1, text: letter.to_string() }),
            }
            within_word = of_word;
        }
    }
    tokens
}

/// Replaces comments, strings and characters by spaces; line breaks stay.
pub(crate) fn without_quotes(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut rest = letters.as_slice();
    let mut before = ' ';
    while let Some((first, others)) = rest.split_first() {
        let length = quoted_length(rest, before).min(rest.len());
        if length == 0 {
            code.push(*first);
            before = *first;
            rest = others;
        } else {
            let (quoted, others) = rest.split_at(length);
            code.extend(quoted.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            before = ' ';
            rest = others;
        }
    }
    code
}

/// How many characters at the front of `rest` are one comment, string or character; 0 if none.
/// `before` is the character in front: an `r` within a name opens nothing.
pub(crate) fn quoted_length(rest: &[char], before: char) -> usize {
    let after = |from: usize, end: &[char]| {
        let tail = rest.get(from..).unwrap_or_default();
        let found = tail.windows(end.len()).position(|window| window == end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
        ['/', '*', ..] => after(2, &['*', '/']),
        ['\'', '\\', ..] => after(3, &['\'']),
        ['\'', _, '\'', ..] => 3,
        ['"', ..] => {
            let mut at = 1;
            while let Some(letter) = rest.get(at) {
                match letter {
                    '\\' => at += 2,
                    '"' => return at + 1,
                    _ => at += 1,
                }
            }
            at
        }
        ['r', tail @ ..] if before == 'b' || !(before.is_alphanumeric() || before == '_') => {
            let hashes = tail.iter().take_while(|c| **c == '#').count();
            if tail.get(hashes) != Some(&'"') {
                return 0;
            }
            let mut end = vec!['"'];
            end.resize(hashes + 1, '#');
            after(hashes + 2, &end)
        }
        _ => 0,
    }
}

/// Replaces every item under `#[cfg(test)]` by spaces, and counts its lines.
pub(crate) fn without_tests(code: &str) -> (String, usize) {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    let mut test_lines = 0;
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        let (test, after) = item.split_at(MARK.len() + item_length(&item[MARK.len()..]));
        kept.push_str(before);
        kept.extend(test.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        test_lines += test.lines().count();
        rest = after;
    }
    kept.push_str(rest);
    (kept, test_lines)
}

/// The length of the item at the front: up to its `;`, or to the end of its braces.
pub(crate) fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn sources(folder: &str) -> Vec<Source> {
    files(folder, "rs").into_iter().map(Source::read).collect()
}

/// The files with this extension below a folder of the package, sorted; none if it is not there.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a folder of the package can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn relative(path: &Path) -> String {
    let inner = path.strip_prefix(root()).expect("a path in the package");
    inner.to_string_lossy().replace('\\', "/")
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = "a // sqlx\n\"sqlx \\\" x\" r#\"sqlx\"# 'x' '\\'' &'a b\n#[cfg(test)]\nmod tests { sqlx }\nc";
    let (code, test_lines) = without_tests(&without_quotes(text));
    let words: Vec<String> = tokens(&code).into_iter().map(|token| token.text).collect();
    assert_eq!(words, ["a", "&", "'", "a", "b", "c"]);
    assert_eq!(test_lines, 2);
}
