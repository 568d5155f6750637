//! The Terraform text of `docs/sqs.md`: read as Terraform reads it, made on the emulator, and looked at
//! by the doctor, who has nothing to mend.
//! Must not know: Terraform's provider (`guide.py` knows the arguments that the text uses).

use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

use crate::doctor::{findings, says};
use crate::{Scene, said};

#[test]
fn the_guides_queues_can_be_made_and_the_doctor_has_nothing_to_mend() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/sqs.md")).unwrap();
    let (_, text) = guide.split_once("\n```hcl\n").unwrap();
    let (text, _) = text.split_once("\n```\n").unwrap();
    let scene = Scene::new();
    scene.write("queues.tf", text);
    let script = root.join("tests/door/guide.py").display().to_string();
    let ending = Uuid::now_v7().simple().to_string();
    let made = scene.program(Path::new(&said("TEST_SQS_PYTHON")), &[&script, "queues.tf", &ending]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let urls: Value = serde_json::from_str(&made.out).unwrap();
    let url = |name: &str| urls[name].as_str().unwrap_or_else(|| panic!("{urls}"));
    let (jobs, answers) = (url("jobs"), url("answers"));

    for ack in ["on_finished", "on_stored"] {
        let found = findings(
            &scene,
            &format!(
                "[[sqs.intake]]\nurl = {jobs:?}\n[sqs]\nack = {ack:?}\nreply_allow = [{answers:?}]\n"
            ),
        );
        // The key is the reader's: the doctor says what it needs, because it cannot see whether it may.
        let wrong =
            |one: &&String| !one.contains(" ok: ") && !one.starts_with("sqs.encryption note");
        assert_eq!(found.iter().find(wrong), None, "{found:#?}");
        says(&found, "sqs.redrive ok", url("jobs_dead").rsplit('/').next().unwrap());
        says(&found, "sqs.permissions ok", jobs);
        says(&found, "sqs.reply ok", answers);
    }
}
