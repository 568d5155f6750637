//! What a model says comes back byte for byte, whatever it is (G6).

use quarrier::error::ErrorKind;
use quarrier::job::State;
use quarrier::store::{Finish, Next};

use crate::world::{World, failure, success};

behind_a_pooler_too!(
    nul_comes_back_byte_for_byte,
    any_text_comes_back_byte_for_byte,
    json_output_comes_back_byte_for_byte,
    ten_megabytes_come_back_byte_for_byte,
);

/// Ends a job with this text, and reads it back as text and as evidence.
async fn through_text(world: &World, text: &str) -> (String, String) {
    let id = world.admit_one().await;
    let job = world.claim_one().await;
    let next = Next::End {
        state: State::Succeeded,
        output: None,
        text: Some(text.to_owned()),
        provenance: None,
    };
    world.finish(Finish { raw_text: Some(text.to_owned()), next, ..success(&job) }).await;
    let page = world.store.job(&id.to_string()).await.unwrap().unwrap();
    (page.result.unwrap().text.unwrap(), page.attempts[0].raw_text.clone().unwrap())
}

async fn nul_comes_back_byte_for_byte(world: World) {
    for text in ["\0", "a\0b", "\0\0", "before\0after \u{1}\u{1f} grüße", "ends\0"] {
        let (result, raw) = through_text(&world, text).await;
        assert_eq!((result.as_str(), raw.as_str()), (text, text));
    }
    world.admit_one().await;
    let job = world.claim_one().await;
    let error = Some((ErrorKind::ModelError, "it said \0 and stopped".to_owned()));
    world.finish(Finish { error, ..failure(&job, ErrorKind::ModelError) }).await;
    let message = world.result(job.job_id).await.unwrap().error_message.unwrap();
    assert!(message.starts_with("it said") && message.ends_with("and stopped"), "{message}");
}

async fn any_text_comes_back_byte_for_byte(world: World) {
    let texts = [
        "",
        " leading and trailing \n",
        "\u{feff}with a mark",
        "日本語 👩‍👩‍👧 é e\u{301} \u{202e}rtl \u{2028}\u{2029} \u{10ffff} \u{fffd}",
        "\"quotes\" \\ back \\u0041 \\\\u0000 /",
        "\r\n\t\u{8}\u{c}\u{7f}",
        "{\"not\": \"an object\"}",
        "null",
        "1e2",
        "x'41'",
    ];
    for text in texts {
        let (result, raw) = through_text(&world, text).await;
        assert_eq!((result.as_str(), raw.as_str()), (text, text));
    }
}

async fn json_output_comes_back_byte_for_byte(world: World) {
    let outputs = [
        "1e2",
        "100.0",
        "-0",
        "12345678901234567890123456789",
        "0.1000",
        r#"{"b":1,"a":2,"a":3}"#,
        "{ \"a\" :\n\t[ 1 , 2 ] }",
        r#""\u00e9\/\ud83d\ude00 \u0000""#,
        "\"é\u{2028}\"",
        "null",
        "true",
        "[]",
    ];
    for output in outputs {
        let id = world.admit_one().await;
        let job = world.claim_one().await;
        let next = Next::End {
            state: State::Succeeded,
            output: Some(output.to_owned()),
            text: None,
            provenance: Some("repaired:[\"quote\"]".to_owned()),
        };
        world.finish(Finish { next, ..success(&job) }).await;
        let result = world.result(id).await.unwrap();
        assert_eq!(result.output.as_deref(), Some(output));
        assert_eq!(result.text, None);
        assert_eq!(result.provenance.as_deref(), Some("repaired:[\"quote\"]"));
    }
}

async fn ten_megabytes_come_back_byte_for_byte(world: World) {
    let line = "a line with \"quotes\", \\ and ünïcode\n";
    let mut text = line.repeat(10_000_000 / line.len());
    let (result, raw) = through_text(&world, &text).await;
    assert!(result == text && raw == text);
    text.push('\0');
    let (result, raw) = through_text(&world, &text).await;
    assert!(result == text && raw == text);
}
