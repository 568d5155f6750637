//! Keeps the promises about the source that no compiler checks: layers, headings, words, sizes, the
//! SQL twins, the documented settings and the code map.
//! Must not know: what any room does.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that it cannot read"
)]

use std::collections::BTreeSet;

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use documents::{names_in_code_map, settings_without_one_comment};
use layers::{Layer, crate_paths, may_use, outside_is_forbidden};
use source::{files, read, root, sources, tokens};

/// Lines of a file, without its tests, from which on it is named; and at which the test fails.
const FILE_LINES_SOFT: usize = 400;
const FILE_LINES_MAX: usize = 600;

/// Words that DESIGN's list replaces: `job`, `worker`, or a name that says what the thing does.
const FORBIDDEN_WORDS: &[&str] =
    &["manager", "managers", "processor", "processors", "task", "tasks", "util", "utils"];

/// Statements that one engine alone needs, with the reason.
const WITHOUT_TWIN: &[(&str, &str)] = &[
    ("postgres/budget_key_add", "SQLite's one writer needs no locks of keys"),
    ("postgres/budget_lock", "SQLite's one writer needs no locks of keys"),
    ("postgres/budget_trim", "SQLite updates a key's state in place"),
    ("postgres/claim_new_look", "one round trip for what SQLite reads by several"),
    ("postgres/claim_new_write", "one round trip for what SQLite writes by several"),
    ("postgres/claim_passing", "SQLite's planner does not guess by what the queues hold"),
    ("postgres/claim_look", "one round trip for what SQLite reads by two"),
    ("postgres/claim_take", "one round trip for what SQLite writes by two"),
    ("postgres/clock_now", "SQLite's processes share their machine's clock"),
    ("postgres/finish_body_again", "SQLite's insert costs no more where nothing is in its way"),
    ("postgres/finish_usual", "SQLite needs no round trips, so it has nothing to put together"),
    ("postgres/finish_lock", "SQLite's one writer needs no locks of jobs"),
    ("postgres/health_server", "SQLite has no server"),
    ("postgres/health_settings", "SQLite tells its settings by pragmas"),
    ("postgres/health_sizes", "SQLite would read every page to tell tables apart"),
    ("postgres/health_snapshot", "SQLite has no server that tells who reads"),
    ("postgres/limit_turn", "SQLite has one writer at a time anyway"),
    ("postgres/job_lock", "SQLite's one writer needs no locks of jobs"),
    ("postgres/lease_wake", "SQLite cannot tell other processes of new work"),
    (
        "postgres/submission_take",
        "SQLite's submissions are always admitted before they are claimed",
    ),
    ("postgres/wake", "SQLite cannot tell other processes of new work"),
    ("sqlite/claim_attempt", "Postgres writes job and attempt of a claim in one round trip"),
    ("sqlite/claim_job", "Postgres writes job and attempt of a claim in one round trip"),
    ("sqlite/job_live", "Postgres hears from the update which jobs it has ended"),
    ("postgres/queue_turn", "SQLite's one writer needs no turns of those who configure"),
    ("sqlite/retention_ended", "Postgres hears from the update which jobs have still ended"),
    ("sqlite/lane_advance", "Postgres appends a lane's place with its budget's state"),
];

// ---- The tests

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut wrong = Vec::new();
    for root in ["src", "tests", "benches"] {
        for source in sources(root) {
            if !source.text.starts_with("//! ") {
                wrong.push(format!(
                    "{}: the first line must be `//! ` and say what the file is for",
                    source.path
                ));
            }
        }
    }
    report(&wrong);
}

#[test]
fn a_module_uses_only_lower_layers() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some(from) = Layer::of(&source.module) else {
            wrong.push(format!(
                "{}: no layer for `{}`: list it in tests/tidy.rs",
                source.path, source.module
            ));
            continue;
        };
        let tokens = tokens(&source.code);
        for (line, path) in crate_paths(&tokens, source.depth()) {
            if !may_use(from, &source.module, &path) {
                wrong
                    .push(format!("{}:{line}: {from:?} must not use `crate::{path}`", source.path));
            }
        }
        for token in &tokens {
            if outside_is_forbidden(from, &token.text) {
                wrong.push(format!(
                    "{}:{}: {from:?} must not mention `{}`",
                    source.path, token.line, token.text
                ));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_statement_says_its_engine_is_used_and_has_its_twin() {
    let rust: String = sources("src").into_iter().map(|s| s.text).collect();
    let mut wrong = Vec::new();
    let mut names_by_engine = Vec::new();
    for engine in ["sqlite", "postgres"] {
        let folder = format!("src/store/{engine}");
        let statements = files(&folder, "sql");
        for path in &statements {
            if !read(path).starts_with(&format!("-- {engine}: ")) {
                wrong.push(format!(
                    "{path}: the first line must open with `-- {engine}: ` \
                    (equal text on both engines would share one description)"
                ));
            }
            if !rust.contains(&format!("\"{path}\"")) {
                wrong.push(format!("{path}: no Rust file names it"));
            }
        }
        if !statements.is_empty() {
            let names: BTreeSet<String> =
                statements.iter().map(|path| path.replacen(&folder, "", 1)).collect();
            names_by_engine.push((engine, names));
        }
    }
    if let [(a, of_a), (b, of_b)] = names_by_engine.as_slice() {
        let excused: BTreeSet<String> =
            WITHOUT_TWIN.iter().map(|(name, _)| format!("{name}.sql")).collect();
        let alone: BTreeSet<String> = of_a
            .symmetric_difference(of_b)
            .map(|name| format!("{}{name}", if of_a.contains(name) { a } else { b }))
            .collect();
        for name in alone.difference(&excused) {
            wrong.push(format!("{name}: only one of {a} and {b} has it"));
        }
        for name in excused.difference(&alone) {
            wrong.push(format!("{name}: excused in WITHOUT_TWIN, and need not be"));
        }
    }
    if names_by_engine.is_empty() {
        wrong.push("src/store: no statements found".to_owned());
    }
    report(&wrong);
}

#[test]
fn every_setting_has_one_comment() {
    let path = "config/default.toml";
    report(&settings_without_one_comment(path, &read(path)));
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let lines = source.text.lines().count() - source.test_lines;
        if lines > FILE_LINES_MAX {
            wrong.push(format!(
                "{}: {lines} lines without its tests, {FILE_LINES_MAX} at most: split it",
                source.path
            ));
        } else if lines > FILE_LINES_SOFT {
            eprintln!("{}: {lines} lines without its tests, aim at {FILE_LINES_SOFT}", source.path);
        }
    }
    report(&wrong);
}

#[test]
fn the_code_map_is_true() {
    let path = "ARCHITECTURE.md";
    let named = names_in_code_map(&read(path));
    let mut wrong = Vec::new();
    if named.is_empty() {
        wrong.push(format!(
            "{path}: no section `Code map` that names paths in backticks, like `src/budget/`"
        ));
    }
    for name in &named {
        if !root().join(name).exists() {
            wrong.push(format!("{path}: the code map names `{name}`, which is not there"));
        }
    }
    for name in code_map_must_name() {
        if !named.contains(&name) {
            wrong.push(format!("{path}: the code map does not name `{name}`"));
        }
    }
    report(&wrong);
}

#[test]
fn names_use_the_designs_words() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module.rsplit("::").next().unwrap_or_default();
        if let Some(word) = forbidden_word(module) {
            wrong.push(format!("{}: the word `{word}` is not ours", source.path));
        }
        let tokens = tokens(&source.code);
        for pair in tokens.windows(2) {
            let [keyword, name] = pair else { continue };
            if !defines(&keyword.text) {
                continue;
            }
            if let Some(word) = forbidden_word(&name.text) {
                wrong.push(format!(
                    "{}:{}: `{}` holds the word `{word}`, which is not ours",
                    source.path, name.line, name.text
                ));
            }
        }
    }
    report(&wrong);
}

// ---- What they share

/// Whether the next name is one that we chose.
fn defines(keyword: &str) -> bool {
    matches!(
        keyword,
        "fn" | "struct" | "enum" | "trait" | "mod" | "type" | "const" | "static" | "let" | "mut"
    )
}

/// The forbidden word within a snake or camel case name.
fn forbidden_word(name: &str) -> Option<String> {
    let mut spaced = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            spaced.push('_');
        }
        spaced.extend(letter.to_lowercase());
    }
    spaced.split('_').find(|word| FORBIDDEN_WORDS.contains(word)).map(str::to_owned)
}

/// Every folder of `src` and every file directly in it.
fn code_map_must_name() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files("src", "rs") {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let is_top_level = folder == "src";
        names.insert(if is_top_level { path } else { folder.to_owned() });
    }
    names
}

/// Fails with every finding on a line of its own.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn forbidden_words_are_whole_words() {
    assert_eq!(forbidden_word("TaskRunner").as_deref(), Some("task"));
    assert_eq!(forbidden_word("file_utils").as_deref(), Some("utils"));
    assert_eq!(forbidden_word("multitasking_utility"), None);
}
