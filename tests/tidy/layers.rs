//! Which module may use which, and what a file's code names.
//! Must not know: files, or any other promise.

use crate::source::{Token, is, tokens};

/// Modules by layer, lowest first: names below `src`, with `::` for a folder's inner module.
/// A module that is listed nowhere fails the test: a new room gets its layer here first.
const PURE: &[&str] = &[
    "budget",
    "catalogue",
    "check",
    "completion",
    "error",
    "estimate",
    "family",
    "job",
    "native",
    "prompt",
    "retry",
];
const PORTS: &[&str] = &["clock", "message_queue", "provider", "store"];
const ENGINE: &[&str] = &["admit", "intake", "relay", "result_line", "scheduler", "worker"];
const ADAPTERS: &[&str] =
    &["provider::bedrock", "provider::openai", "sqs", "store::postgres", "store::sqlite"];
const SHELL: &[&str] =
    &["bench", "cli", "client", "config", "http", "lib", "main", "rooms", "simulator", "telemetry"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Pure,
    Port,
    Engine,
    Adapter,
    Shell,
}

impl Layer {
    /// The layer of `module` (`store::sqlite::claim`), none if its top is listed nowhere.
    pub(crate) fn of(module: &str) -> Option<Self> {
        let top = module.split("::").next().unwrap_or_default();
        if adapter_of(module).is_some() {
            Some(Self::Adapter)
        } else if PURE.contains(&top) {
            Some(Self::Pure)
        } else if PORTS.contains(&top) {
            Some(Self::Port)
        } else if ENGINE.contains(&top) {
            Some(Self::Engine)
        } else if SHELL.contains(&top) {
            Some(Self::Shell)
        } else {
            None
        }
    }
}

/// The adapter that `module` is or belongs to.
pub(crate) fn adapter_of(module: &str) -> Option<&'static str> {
    ADAPTERS
        .iter()
        .copied()
        .find(|adapter| module == *adapter || module.starts_with(&format!("{adapter}::")))
}

/// Whether the file of module `from_module` may name `path` (what follows `crate::`).
pub(crate) fn may_use(from: Layer, from_module: &str, path: &str) -> bool {
    let top = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let Some(to) = Layer::of(path) else {
        // A name that `lib.rs` re-exports or defines itself: only the shell may go that way.
        return from == Layer::Shell;
    };
    match from {
        Layer::Pure => to == Layer::Pure,
        // What a clock read is a value, whoever read it.
        Layer::Port => {
            let own = to == Layer::Port && top(from_module) == top(path);
            to == Layer::Pure || own || path == "clock::Now"
        }
        Layer::Engine => matches!(to, Layer::Pure | Layer::Port | Layer::Engine),
        Layer::Adapter => {
            matches!(to, Layer::Pure | Layer::Port) || adapter_of(from_module) == adapter_of(path)
        }
        Layer::Shell => true,
    }
}

/// Whether a layer must not mention this name from outside the crate.
pub(crate) fn outside_is_forbidden(from: Layer, name: &str) -> bool {
    let adapters_own = name == "sqlx" || name == "axum" || name.starts_with("aws_");
    match from {
        Layer::Pure => {
            adapters_own
                || name == "tokio"
                || name.starts_with("tokio_")
                || name == "SystemTime"
                || name == "Instant"
        }
        Layer::Port | Layer::Engine => adapters_own,
        Layer::Adapter => name == "axum",
        Layer::Shell => false,
    }
}

/// Every path below the crate's root that `tokens` name, by `crate::` or by enough `super::`, with
/// its line. Groups are taken apart: `crate::{job, store::{self, sqlite}}` gives three paths.
pub(crate) fn crate_paths(tokens: &[Token], depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut supers = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let separated = is(tokens, at, ":") && is(tokens, at + 1, ":");
        if !separated {
            supers = 0;
            continue;
        }
        supers = if token.text == "super" { supers + 1 } else { 0 };
        let at_root = token.text == "crate" || (supers > 0 && supers >= depth);
        at += 2;
        if at_root && !is(tokens, at, "super") {
            supers = 0;
            let mut inner = at;
            expand(tokens, &mut inner, "", &mut found);
        }
    }
    found
}

/// Reads one branch of a path at `at` and adds what it names to `found`.
pub(crate) fn expand(
    tokens: &[Token],
    at: &mut usize,
    prefix: &str,
    found: &mut Vec<(usize, String)>,
) {
    let Some(token) = tokens.get(*at) else { return };
    if token.text == "{" {
        *at += 1;
        while let Some(token) = tokens.get(*at) {
            match token.text.as_str() {
                "}" => break,
                "," => *at += 1,
                _ => {
                    expand(tokens, at, prefix, found);
                    // What is left of this branch is at most `as name`.
                    while !is(tokens, *at, ",") && !is(tokens, *at, "}") && *at < tokens.len() {
                        *at += 1;
                    }
                }
            }
        }
        *at += 1;
        return;
    }
    if !token.is_name() || token.text == "self" {
        found.push((token.line, prefix.to_owned()));
        *at += 1;
        return;
    }
    let path =
        if prefix.is_empty() { token.text.clone() } else { format!("{prefix}::{}", token.text) };
    *at += 1;
    if is(tokens, *at, ":") && is(tokens, *at + 1, ":") {
        *at += 2;
        expand(tokens, at, &path, found);
    } else {
        found.push((token.line, path));
    }
}

#[test]
fn paths_are_found_through_groups_and_supers() {
    let code = "use crate::{job, store::{self, sqlite as s}}; use super::super::admit::X; \
                fn f() { crate::cli::run::<u8>(); super::near(); }";
    let found: Vec<String> =
        crate_paths(&tokens(code), 2).into_iter().map(|(_, path)| path).collect();
    assert_eq!(found, ["job", "store", "store::sqlite", "admit::X", "cli::run"]);
}

#[test]
fn layers_look_down_only() {
    assert!(may_use(Layer::Engine, "worker::lease", "store::Store"));
    assert!(!may_use(Layer::Engine, "worker", "store::sqlite::Sqlite"));
    assert!(!may_use(Layer::Pure, "job", "clock::Clock"));
    assert!(!may_use(Layer::Adapter, "store::sqlite", "provider::bedrock"));
    assert!(may_use(Layer::Adapter, "store::sqlite::a", "store::sqlite::b"));
    assert!(!may_use(Layer::Port, "store", "provider::Provider"));
    assert!(may_use(Layer::Port, "store", "clock::Now"));
    assert!(!may_use(Layer::Port, "store", "clock::Clock"));
    assert!(!may_use(Layer::Port, "store", "store::postgres::PostgresStore"));
}
