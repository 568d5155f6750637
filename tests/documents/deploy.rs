//! The container's, the fleet's and the service's files: the paths, commands, settings and times
//! that they name are real ones.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser as _;
use quarrier::cli::Cli;
use quarrier::config::{self, LoadArgs, Settings};

use super::file;

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect("the file is there")
}

/// The instructions of the Dockerfile, continued lines joined, comments left out.
fn instructions() -> Vec<String> {
    let text = text("Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.join("\n").replace("\\\n", " ").lines().map(str::to_owned).collect()
}

/// What the build copies from this folder.
fn copied() -> Vec<String> {
    let ours = |line: &String| line.strip_prefix("COPY ").map(str::to_owned);
    let copies = instructions().iter().filter_map(ours).collect::<Vec<_>>();
    let mut paths = Vec::new();
    for copy in copies.iter().filter(|copy| !copy.contains("--from=")) {
        let words: Vec<&str> = copy.split_whitespace().collect();
        let (_, sources) = words.split_last().expect("a target");
        paths.extend(sources.iter().map(|source| (*source).to_owned()));
    }
    paths
}

/// The lists in brackets that are commands of the program: `["migrate"]`.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lists = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let lists = lists.filter(|line| line.contains("command:") || line.contains("/quarrier\""));
    lists
        .filter_map(|line| serde_json::from_str::<Vec<String>>(line.get(line.find('[')?..)?).ok())
        .map(|list| list.into_iter().skip_while(|word| word == "CMD").collect::<Vec<_>>())
        .map(|list| list.into_iter().skip_while(|word| word.ends_with("/quarrier")).collect())
        .collect()
}

#[track_caller]
fn is_a_command(words: &[String]) {
    let line = std::iter::once("quarrier").chain(words.iter().map(String::as_str));
    let read = Cli::try_parse_from(line).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(read, Ok(()), "{words:?} is no command");
}

/// Reads settings as a process with these variables would.
#[track_caller]
fn settings(variables: &[(String, String)]) -> Settings {
    let folder = tempfile::tempdir().expect("a folder");
    let env: BTreeMap<String, String> = variables.iter().cloned().collect();
    let args = LoadArgs { dir: folder.path().to_owned(), env, ..LoadArgs::default() };
    config::load(&args).expect("the settings are accepted").settings
}

/// `NAME: value` and `NAME=value` of our variables, comments left out.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("ENV "));
    let ours = lines.filter(|line| line.starts_with("QUARRIER_"));
    let pairs = ours.filter_map(|line| {
        let at = line.find([':', '='])?;
        let (name, value) = line.split_at(at);
        Some((name.to_owned(), value.get(1..)?.trim().trim_matches('"').to_owned()))
    });
    pairs.collect()
}

#[test]
fn the_image_is_built_from_files_that_are_there_and_sent_to_the_builder() {
    let sent = text(".dockerignore");
    let paths = copied();
    assert!(paths.len() > 8, "{paths:?}");
    for path in &paths {
        assert!(file(path).exists(), "{path}");
        assert!(sent.lines().any(|line| line == format!("!{path}")), "{path} is not sent");
    }
    for line in sent.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(paths.iter().any(|path| path == line), "{line} is sent for nothing");
    }
    let manifest: toml::Table = text("Cargo.toml").parse().expect("TOML");
    let stubs = instructions().join("\n");
    for (kind, folder) in [("bench", "benches"), ("example", "examples")] {
        for target in manifest[kind].as_array().expect("targets") {
            let path = format!("{folder}/{}.rs", target["name"].as_str().expect("a name"));
            assert!(stubs.contains(&path), "the manifest names {path}");
        }
    }
}

/// Files that the source includes from outside `src`.
fn included(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            included(&path, found);
            continue;
        }
        let code = std::fs::read_to_string(&path).unwrap_or_default();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        // The guide is compiled for its own tests alone.
        let code = code.replace("#[cfg(doctest)]\n#[doc = include_str!", "");
        for rest in code.split("include_str!(\"").skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            let outside = name.trim_start_matches("../");
            if name.starts_with("../") && file(outside).exists() {
                found.push(outside.to_owned());
            }
        }
    }
}

#[test]
fn the_image_is_built_with_every_file_that_the_source_includes() {
    let mut found = Vec::new();
    included(&file("src"), &mut found);
    assert!(found.iter().any(|path| path == "config/default.toml"), "{found:?}");
    let paths = copied();
    for path in found {
        let is_copied = |copied: &String| Path::new(&path).starts_with(copied);
        assert!(paths.iter().any(is_copied), "{path} is not in the image's build");
    }
}

#[test]
fn the_image_and_the_fleet_run_commands_and_set_settings_that_there_are() {
    let (image, fleet) = (text("Dockerfile"), text("compose.yaml"));
    let found: Vec<Vec<String>> = [commands(&image), commands(&fleet)].concat();
    let named = |name: &str| found.iter().any(|words| words.first().is_some_and(|it| it == name));
    for name in ["health", "migrate", "simulate", "serve"] {
        assert!(named(name), "{name}: {found:?}");
    }
    found.iter().filter(|words| !words.is_empty()).for_each(|words| is_a_command(words));
    let listen = settings(&variables(&image)).http.address().expect("health is answered");
    assert!(listen.ip().is_unspecified());
    let worker = settings(&variables(&fleet));
    assert_eq!(worker.limits["total"].requests_per_minute, Some(600));
    assert!(worker.store.url.starts_with("postgres://"));
}

#[test]
fn the_service_starts_a_command_that_there_is() {
    let unit = text("packaging/quarrier.service");
    let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a start");
    let words: Vec<String> = started.split_whitespace().skip(1).map(str::to_owned).collect();
    is_a_command(&words);
}

#[test]
fn whoever_stops_a_worker_waits_for_longer_than_its_drain() {
    let worker = settings(&[]).worker;
    let drain_s = worker.drain_soft_s + 2 * worker.drain_hard_s;
    for (name, key) in [
        ("packaging/quarrier.service", "TimeoutStopSec="),
        ("compose.yaml", "stop_grace_period: "),
        ("docs/deploy.md", "terminationGracePeriodSeconds: "),
        ("Dockerfile", "--time "),
    ] {
        let text = text(name);
        let rest = text.split(key).nth(1).unwrap_or_else(|| panic!("{name} has no {key}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let seconds: u64 = digits.parse().expect("a number");
        assert!(seconds >= drain_s + 30, "{name}: {key}{seconds}, and the drain takes {drain_s}");
    }
}
