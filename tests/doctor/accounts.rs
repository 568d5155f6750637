//! Credentials, whose they are, and the account's quotas.

use crate::server::{Answers, Server};
use crate::{KEY, SECRET, Scene};

#[tokio::test]
async fn keys_of_the_environment_are_told_with_their_account_and_without_their_secret() {
    let server = Server::start(Answers::default()).await;
    let found = Scene::at(&server).doctor(&[]).await;
    found.says("credentials", "ok", &["key AKIA…MPLE, from the environment"]);
    found.says("credentials.identity", "ok", &["account 111122223333", "user/batch"]);
    assert!(!found.json.to_string().contains(KEY));
}

#[tokio::test]
async fn without_credentials_every_way_to_get_them_is_named() {
    let server = Server::start(Answers::default()).await;
    let found = Scene::bare().served_by(&server).doctor(&[]).await;
    assert_eq!(found.code, Some(1));
    found.says(
        "credentials",
        "error",
        &["none found", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "--simulate"],
    );
    found.says("quotas", "note", &["no credentials"]);
    assert_eq!(server.asked(), ["bedrock"], "the endpoint needs no credentials to be looked at");
}

#[tokio::test]
async fn an_api_key_alone_is_enough_for_calls_and_not_for_quotas() {
    let server = Server::start(Answers::default()).await;
    let scene = Scene::bare().served_by(&server).with("AWS_BEARER_TOKEN_BEDROCK", SECRET);
    let found = scene.doctor(&[]).await;
    found.says("credentials", "ok", &["AWS_BEARER_TOKEN_BEDROCK"]);
    found.says("quotas", "note", &["opens nothing but Bedrock"]);
    assert!(found.of("credentials.identity").is_empty());
    assert!(!server.signed().contains(SECRET), "the key goes where calls go, and nowhere else");
    assert_eq!(found.code, Some(0), "{:#}", found.json);
}

#[tokio::test]
async fn half_of_a_pair_of_keys_is_an_error() {
    let scene = Scene::bare().with("AWS_ACCESS_KEY_ID", KEY);
    let found = scene.doctor(&["--offline"]).await;
    assert!(found.of("credentials")[0].contains("set AWS_SECRET_ACCESS_KEY too"));
    assert_eq!(found.code, Some(1));
}

fn process(scene: Scene, script: &str) -> Scene {
    let file = scene.path("aws-config");
    let text = format!("[profile work]\nregion = eu-west-1\ncredential_process = {script}\n");
    scene
        .write("aws-config", &text)
        .with("AWS_CONFIG_FILE", &file.display().to_string())
        .with("AWS_PROFILE", "work")
}

fn keys_until(expiration: &str) -> String {
    format!(
        r#"echo '{{"Version":1,"AccessKeyId":"{KEY}","SecretAccessKey":"{SECRET}","SessionToken":"t","Expiration":"{expiration}"}}'"#
    )
}

#[tokio::test]
async fn a_profiles_process_is_named_with_the_time_that_is_left() {
    let server = Server::start(Answers::default()).await;
    let scene = process(Scene::bare().served_by(&server), &keys_until("2099-01-01T00:00:00Z"));
    let found = scene.doctor(&[]).await;
    let words = ["profile work, by its credential_process", "until 2099-01-01T00:00:00Z"];
    found.says("credentials", "ok", &words);
    // Its region is not ours, and people think that it is.
    assert!(found.of("region")[1].contains("AWS_REGION=eu-west-1"), "{:?}", found.of("region"));
}

#[tokio::test]
async fn credentials_that_have_expired_are_an_error_with_the_way_out() {
    let server = Server::start(Answers::default()).await;
    let scene = process(Scene::bare().served_by(&server), &keys_until("2020-01-01T00:00:00Z"));
    let found = scene.doctor(&[]).await;
    found.says("credentials", "error", &["expired at 2020-01-01T00:00:00Z", "aws sso login"]);
    assert_eq!(found.code, Some(1));
    assert!(!server.asked().contains(&"sts".to_owned()), "expired keys are not sent anywhere");
}

#[tokio::test]
async fn a_source_of_credentials_that_fails_says_why() {
    let server = Server::start(Answers::default()).await;
    let found = process(Scene::bare().served_by(&server), "false").doctor(&[]).await;
    found.says("credentials", "error", &["exited with code", "run its command by hand"]);
    let slow = process(Scene::bare().served_by(&server), "sleep 30");
    let found = slow.doctor(&["--timeout-s", "1"]).await;
    found.says("credentials", "error", &["no answer in 1 s", "credential_process"]);
    let missing = Scene::bare().served_by(&server).with("AWS_PROFILE", "nobody");
    let found = missing.doctor(&[]).await;
    found.says("credentials", "error", &["nobody"]);
}

#[tokio::test]
async fn a_refusal_of_the_keys_is_an_error_and_one_of_the_question_a_note() {
    for (code, level, word) in [
        ("ExpiredToken", "error", "sign in again"),
        ("InvalidClientTokenId", "error", "AWS does not know this access key"),
        ("SignatureDoesNotMatch", "error", "the clock is off"),
        ("AccessDenied", "note", "calls do not need STS"),
    ] {
        let answers = Answers { sts: Some((403, code)), ..Answers::default() };
        let server = Server::start(answers).await;
        let found = Scene::at(&server).doctor(&[]).await;
        found.says("credentials.identity", level, &[code, "because", word]);
    }
}

#[tokio::test]
async fn silence_is_told_after_the_time_that_was_given() {
    let server = Server::start(Answers { is_silent: true, ..Answers::default() }).await;
    let found = Scene::at(&server).doctor(&["--timeout-s", "1"]).await;
    found.says("credentials.identity", "note", &[]);
    found.says("endpoint", "error", &[]);
    found.says("quotas", "note", &["compare by hand"]);
}

/// The quotas of Haiku through a regional profile.
fn haiku(requests: f64, tokens: f64) -> Vec<Vec<(&'static str, &'static str, f64)>> {
    vec![
        vec![
            ("Batch inference job size (in GB) for Claude Haiku 4.5", "L-0", 1.0),
            (
                "On-demand model inference requests per minute for Anthropic Claude 3 Haiku",
                "L-1",
                7.0,
            ),
            (
                "Global cross-region model inference requests per minute for Anthropic Claude Haiku 4.5",
                "L-2",
                9.0,
            ),
        ],
        vec![
            (
                "Cross-Region model inference requests per minute for Anthropic Claude Haiku 4.5",
                "L-CCA5DF70",
                requests,
            ),
            (
                "Cross-region model inference tokens per minute for Anthropic Claude Haiku 4.5",
                "L-58BE175A",
                tokens,
            ),
        ],
    ]
}

async fn quotas(requests: f64, tokens: f64, settings: &str) -> Vec<String> {
    let server =
        Server::start(Answers { quotas: haiku(requests, tokens), ..Answers::default() }).await;
    Scene::at(&server).write("quarrier.toml", settings).doctor(&[]).await.of("quotas")
}

#[tokio::test]
async fn a_limit_above_the_quota_is_an_error_and_one_far_below_names_the_number() {
    let settings = "[limits]\ntotal = { requests_per_minute = 400, tokens_per_minute = 90000 }\n";
    let found = quotas(100.0, 200_000.0, settings).await;
    assert_eq!(found.len(), 2, "{found:?}");
    let wide = "\"lane:*us.anthropic.claude-haiku-4-5-20251001-v1:0\"";
    assert!(
        found[0].starts_with("error: claude-haiku-4.5: the account has 100 requests"),
        "{found:?}"
    );
    assert!(
        found[0].contains(&format!("set limits.{wide}.requests_per_minute = 100")),
        "{found:?}"
    );
    assert!(found[1].starts_with("note: "), "{found:?}");
    assert!(found[1].contains("set limits.total.tokens_per_minute = 200000"), "{found:?}");
}

#[tokio::test]
async fn a_share_of_the_limit_counts_and_a_fitting_limit_is_well() {
    let settings = "[limits]\ntotal = { requests_per_minute = 100, tokens_per_minute = 200000 }\n\
                    [budget]\nquota_share = 0.8\n";
    let found = quotas(90.0, 160_000.0, settings).await;
    assert!(found.iter().all(|one| one.starts_with("ok: ")), "{found:?}");
    // The lane's own rule is the tighter one.
    let settings = "[limits]\n\"lane:*haiku-4-5*\" = { requests_per_minute = 90, tokens_per_minute = 150000 }\n\
                    total = { requests_per_minute = 4000 }\n";
    let found = quotas(90.0, 160_000.0, settings).await;
    assert!(found.iter().all(|one| one.starts_with("ok: ")), "{found:?}");
    assert!(found[0].contains("limits.lane:*haiku-4-5* leaves 90"), "{found:?}");
}

#[tokio::test]
async fn a_quota_of_nothing_and_a_missing_limit_are_told() {
    let found = quotas(0.0, 5_000_000.0, "").await;
    assert!(found[0].starts_with("error: "), "{found:?}");
    assert!(found[0].contains("ask for an increase of L-CCA5DF70"), "{found:?}");
    assert!(found[1].starts_with("warning: "), "{found:?}");
    assert!(found[1].contains("tokens_per_minute = 5000000"), "{found:?}");
}

#[tokio::test]
async fn quotas_that_may_not_be_read_name_the_permission() {
    let answers = Answers { quotas_refused: Some("AccessDeniedException"), ..Answers::default() };
    let server = Server::start(answers).await;
    let found = Scene::at(&server).doctor(&[]).await;
    found.says("quotas", "note", &["servicequotas:ListServiceQuotas"]);
    assert_eq!(found.code, Some(0), "{:#}", found.json);
    let answers = Answers { quotas_refused: Some("NoSuchResourceException"), ..Answers::default() };
    let server = Server::start(answers).await;
    let found = Scene::at(&server).doctor(&[]).await;
    found.says("quotas", "note", &["NoSuchResourceException", "you may not", "compare by hand"]);
}

#[tokio::test]
async fn a_model_that_no_quota_names_is_told() {
    let server = Server::start(Answers { quotas: haiku(9.0, 9.0), ..Answers::default() }).await;
    let found = Scene::at(&server).with("BEDROCK_MODEL_ID", "nova-pro").doctor(&[]).await;
    found.says("quotas", "note", &["none of", "nova-pro", "compare by hand"]);
    let server = Server::start(Answers::default()).await;
    let found = Scene::at(&server).doctor(&[]).await;
    found.says("quotas", "note", &["no quota for model inference"]);
}
