//! The guide for those who speak SQS: its documents are accepted, its settings are settings, and its
//! policies allow what the program asks for and nothing else. `tests/door` makes its queues.
//! Must not know: what a policy means to AWS.

use std::collections::BTreeSet;

use quarrier::admit::ReplyAllow;
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
fn the_guides_documents_and_settings_are_what_the_program_takes() {
    let all: Vec<Value> = blocks("json")
        .iter()
        .map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}")))
        .collect();
    let document = all.iter().find(|one| one.get("prompt").is_some()).expect("a document");
    assert_eq!(accepted(document), (true, true), "{document:#}");
    let result = all.iter().find(|one| one.get("state").is_some()).expect("a result");
    assert_eq!(result["format_version"], 1);
    let keys: BTreeSet<String> = result.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, keys_of_a_result(), "those of a result line");

    let folder = tempfile::tempdir().expect("a folder");
    let settings = blocks("toml").concat();
    std::fs::write(folder.path().join(config::FILE_NAME), settings).expect("a file");
    let args = LoadArgs { dir: folder.path().to_owned(), ..LoadArgs::default() };
    let settings = config::load(&args).expect("the settings are accepted").settings;
    assert_eq!((settings.sqs.intake.len(), settings.sqs.reply_allow.len()), (1, 1));
    let allow = ReplyAllow::new(settings.sqs.reply_allow);
    let reply_to = document["reply_to"].as_str().expect("the example asks for its result");
    assert_eq!(allow.refusal(reply_to), None, "the example's settings take the example's document");
}

/// The keys of every result line, as one is written.
fn keys_of_a_result() -> BTreeSet<String> {
    let text = std::fs::read_to_string(file("docs/job.md")).expect("the page of jobs");
    let (_, page) = text.split_once("## The result\n").expect("its part about results");
    let (table, _) = page.split_once("\n\nThe states before").expect("the table's end");
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`'));
    let seldom = ["deleted", "notice"];
    names.filter(|name| !seldom.contains(name)).map(str::to_owned).collect()
}

/// Every operation that a client of queues or of buckets has and we might call, as the SDK spells it.
const OPERATIONS: [&str; 25] = [
    "add_permission",
    "cancel_message_move_task",
    "change_message_visibility",
    "create_queue",
    "delete_message",
    "delete_queue",
    "get_queue_attributes",
    "get_queue_url",
    "list_dead_letter_source_queues",
    "list_message_move_tasks",
    "list_queue_tags",
    "list_queues",
    "purge_queue",
    "receive_message",
    "remove_permission",
    "send_message",
    "set_queue_attributes",
    "start_message_move_task",
    "tag_queue",
    "untag_queue",
    "put_object",
    "get_object",
    "head_object",
    "delete_object",
    "create_multipart_upload",
];

/// The permission for an operation; a batch of them needs the same one.
fn action(operation: &str) -> String {
    let service =
        if operation.contains("object") || operation.contains("multipart") { "s3" } else { "sqs" };
    let words = operation.split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        format!("{}{rest}", first.to_uppercase())
    });
    format!("{service}:{}", words.collect::<String>())
}

/// All that the adapter calls.
fn called() -> BTreeSet<String> {
    let files = std::fs::read_dir(file("src/sqs")).expect("the adapter");
    let paths = files.map(|entry| entry.expect("a file of it").path());
    let source: String =
        paths.map(|path| std::fs::read_to_string(path).expect("its source")).collect();
    let is_called = |operation: &&str| {
        source.contains(&format!(".{operation}()"))
            || source.contains(&format!(".{operation}_batch()"))
    };
    OPERATIONS.iter().copied().filter(is_called).map(action).collect()
}

/// The actions of the guide's policies: of the producer, the worker and the consumer.
fn allowed() -> [BTreeSet<String>; 3] {
    let all = blocks("json");
    let all = all.iter().filter_map(|block| serde_json::from_str::<Value>(block).ok());
    let policies: Vec<Value> = all.filter(|one| one.get("Statement").is_some()).collect();
    let actions = |policy: &Value| -> BTreeSet<String> {
        let statements = policy["Statement"].as_array().expect("statements").iter();
        let actions = statements.flat_map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            match &statement["Action"] {
                Value::Array(several) => several.clone(),
                one => vec![one.clone()],
            }
        });
        actions.map(|action| action.as_str().expect("an action").to_owned()).collect()
    };
    let policies: Vec<_> = policies.iter().map(actions).collect();
    policies.try_into().expect("one of the producer, one of the worker, one of the consumer")
}

#[test]
fn the_workers_policy_allows_what_the_adapter_calls_and_nothing_else() {
    let [producer, worker, consumer] = allowed();
    let keys = ["kms:Decrypt", "kms:GenerateDataKey"].map(str::to_owned);
    let mut needed = called();
    needed.extend(keys.clone());
    assert_eq!(worker, needed);
    // The others do less of the same, but that the consumer fetches what we put into the bucket.
    assert!(producer.is_subset(&worker) && keys.iter().all(|key| producer.contains(key)));
    let theirs: Vec<&String> = consumer.difference(&worker).collect();
    assert_eq!(theirs, ["s3:GetObject"]);
}

#[test]
fn the_doctor_asks_for_no_permission_that_the_policies_do_not_have() {
    let [_, worker, _] = allowed();
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(file("src/cli/doctor/queues")).expect("the doctor's look") {
        let source =
            std::fs::read_to_string(entry.expect("a file of it").path()).expect("a source");
        for word in source.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':') {
            let is_action = |action: &str| action.starts_with(|letter: char| letter.is_uppercase());
            let name = word.strip_prefix("sqs:").or_else(|| word.strip_prefix("kms:"));
            if name.is_some_and(is_action) {
                named.insert(word.to_owned());
            }
        }
    }
    assert!(named.len() > 4, "{named:?}");
    assert!(named.is_subset(&worker), "{named:?}");
}
