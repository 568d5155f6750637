//! The guide for those who speak SQS: its documents are accepted, its settings are settings, its
//! policies are JSON.

use quarrier::config::{self, LoadArgs};
use serde_json::Value;

use super::{accepted, file};

/// The blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file("docs/sqs.md")).expect("the guide");
    let parts = text.split("\n```");
    let named = parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'));
    named.map(str::to_owned).collect()
}

#[test]
fn the_guides_documents_policies_and_settings_are_what_the_program_takes() {
    let all: Vec<Value> = blocks("json")
        .iter()
        .map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}")))
        .collect();
    let document = all.iter().find(|one| one.get("prompt").is_some()).expect("a document");
    assert_eq!(accepted(document), (true, true), "{document:#}");
    let result = all.iter().find(|one| one.get("state").is_some()).expect("a result");
    assert_eq!(result["format_version"], 1);
    let policies = all.iter().filter(|one| one.get("Statement").is_some()).count();
    assert_eq!(policies, 3, "of producer, worker and consumer");

    let folder = tempfile::tempdir().expect("a folder");
    let settings = blocks("toml").concat();
    std::fs::write(folder.path().join(config::FILE_NAME), settings).expect("a file");
    let args = LoadArgs { dir: folder.path().to_owned(), ..LoadArgs::default() };
    let settings = config::load(&args).expect("the settings are accepted").settings;
    assert_eq!((settings.sqs.intake.len(), settings.sqs.reply_allow.len()), (1, 1));
}
