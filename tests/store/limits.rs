//! Limits at run time: set, cleared, and what each process was configured with.

use quarrier::budget::Limit;
use quarrier::store::{
    Disagreement, LimitRule, QueueShare, RetentionPolicy, SeededSettings, Shares, disagreements,
    setting_disagreements,
};

use crate::world::{World, success};

on_every_engine!(
    a_limit_that_is_set_holds_for_every_process_from_the_next_claim_on,
    a_set_limit_wins_over_a_seeded_one_and_survives_a_new_seed,
    a_cleared_limit_makes_way_for_the_one_that_was_seeded_last,
    clearing_a_limit_that_was_not_set_changes_nothing,
    a_limit_below_what_is_in_flight_stops_claims_and_breaks_nothing,
    a_job_larger_than_a_limit_that_was_set_ends_as_never_fitting,
    who_was_configured_with_what_is_kept_for_those_who_work,
    queues_tenants_and_days_of_each_process_are_kept_beside_its_limits,
    what_calls_used_of_their_reservations_is_shown,
);

fn limit(requests: Option<u64>, tokens: Option<u64>) -> Limit {
    Limit { requests_per_minute: requests, tokens_per_minute: tokens }
}

fn total(requests: u64) -> Vec<LimitRule> {
    let (pattern, origin) = ("total".to_owned(), "configuration".to_owned());
    vec![LimitRule { pattern, limit: limit(Some(requests), None), origin }]
}

async fn rules(world: &World) -> Vec<(String, Option<u64>, String)> {
    let rules = world.store.limits().await.unwrap();
    let rule = |rule: LimitRule| (rule.pattern, rule.limit.requests_per_minute, rule.origin);
    rules.into_iter().map(rule).collect()
}

fn row(pattern: &str, requests: Option<u64>, origin: &str) -> (String, Option<u64>, String) {
    (pattern.to_owned(), requests, origin.to_owned())
}

/// How many are claimed in 59 seconds, in which the pace lets them go one by one.
async fn claimed_in_a_minute(world: &World) -> usize {
    let mut claimed = 0;
    for _ in 0..59 {
        claimed += world.claim(10).await.jobs.len();
        world.hand.advance(1_000);
    }
    claimed
}

async fn a_limit_that_is_set_holds_for_every_process_from_the_next_claim_on(mut world: World) {
    world.admit_many(10).await;
    let other = world.another_store().await;
    other.set_limit("total", limit(Some(3), None)).await.unwrap();
    assert_eq!(claimed_in_a_minute(&world).await, 3);
    world.restart().await;
    let denied = world.claim(10).await;
    assert!(denied.jobs.is_empty() && denied.fits_in_ms.is_some());
    world.store.set_limit("total", limit(Some(60_000), None)).await.unwrap();
    world.hand.advance(1_000);
    let ask = world.ask(10);
    assert_eq!(other.claim(ask).await.unwrap().jobs.len(), 7);
}

async fn a_set_limit_wins_over_a_seeded_one_and_survives_a_new_seed(world: World) {
    world.store.seed_limits(total(50), "a/1").await.unwrap();
    world.store.set_limit("total", limit(Some(7), None)).await.unwrap();
    world.store.set_limit("queue:reports", limit(Some(2), Some(9))).await.unwrap();
    world.store.seed_limits(total(60), "b/2").await.unwrap();
    let expected = [row("queue:reports", Some(2), "set"), row("total", Some(7), "set")];
    assert_eq!(rules(&world).await, expected);
}

async fn a_cleared_limit_makes_way_for_the_one_that_was_seeded_last(world: World) {
    world.store.seed_limits(total(50), "a/1").await.unwrap();
    world.store.set_limit("total", limit(Some(7), None)).await.unwrap();
    world.store.set_limit("queue:reports", limit(Some(2), None)).await.unwrap();
    world.store.seed_limits(total(60), "b/2").await.unwrap();
    assert!(world.store.clear_limit("total").await.unwrap());
    assert!(world.store.clear_limit("queue:reports").await.unwrap());
    assert_eq!(rules(&world).await, [row("total", Some(60), "configuration")]);
}

async fn clearing_a_limit_that_was_not_set_changes_nothing(world: World) {
    world.store.seed_limits(total(50), "a/1").await.unwrap();
    assert!(!world.store.clear_limit("total").await.unwrap());
    assert!(!world.store.clear_limit("lane:*").await.unwrap());
    assert_eq!(rules(&world).await, [row("total", Some(50), "configuration")]);
}

async fn a_limit_below_what_is_in_flight_stops_claims_and_breaks_nothing(world: World) {
    world.limit(&[("total", Some(60_000), Some(6_000_000))]).await;
    world.admit_many(8).await;
    let claimed = world.claim(5).await;
    assert_eq!(claimed.jobs.len(), 5);
    world.store.set_limit("total", limit(Some(2), Some(2_000))).await.unwrap();
    let denied = world.claim(5).await;
    assert!(denied.jobs.is_empty() && denied.never_fit == 0 && denied.fits_in_ms.is_some());
    let requests = world.requests("total").await;
    assert_eq!((requests.in_flight, requests.limit), (5, Some(2)));
    for job in &claimed.jobs {
        world.succeed(job).await;
    }
    assert_eq!(world.requests("total").await.used, 5);
    world.hand.advance(61_000);
    assert!((1..=2).contains(&claimed_in_a_minute(&world).await));
}

async fn a_job_larger_than_a_limit_that_was_set_ends_as_never_fitting(world: World) {
    let id = world.admit_one().await;
    world.store.set_limit("queue:default", limit(None, Some(999))).await.unwrap();
    let claimed = world.claim(1).await;
    assert_eq!((claimed.jobs.len(), claimed.never_fit), (0, 1));
    let result = world.result(id).await.unwrap();
    assert_eq!(result.error_kind.as_deref(), Some("never_fits"));
    assert!(result.error_message.unwrap().contains("queue:default allows 999"));
}

async fn who_was_configured_with_what_is_kept_for_those_who_work(world: World) {
    let own = format!("here/{}", std::process::id());
    world.store.seed_limits(total(50), &own).await.unwrap();
    world.store.seed_limits(total(40), "gone/7").await.unwrap();
    world.store.seed_limits(total(60), "late/9").await.unwrap();
    let seeds = world.store.limit_seeds().await.unwrap();
    let seen: Vec<(&str, bool)> =
        seeds.iter().map(|seed| (seed.seeder.as_str(), seed.alive)).collect();
    // The lease of this world's own process is `here/PID`.
    assert_eq!(seen, [(own.as_str(), true), ("gone/7", false), ("late/9", false)]);
    let rules = world.store.limits().await.unwrap();
    let expected = Disagreement {
        pattern: "total".to_owned(),
        in_force_of: "late/9".to_owned(),
        in_force: Some(limit(Some(60), None)),
        seeder: own.clone(),
        configured: Some(limit(Some(50), None)),
    };
    assert_eq!(disagreements(&seeds, &rules), [expected]);

    // Written again by the same process, it is the last; who has long gone is forgotten.
    world.hand.advance(3_700_000);
    world.store.seed_limits(total(60), &own).await.unwrap();
    let seeds = world.store.limit_seeds().await.unwrap();
    assert_eq!(seeds.len(), 1);
    assert_eq!((seeds[0].seeder.as_str(), seeds[0].seeded_at), (own.as_str(), world.now_ms()));
}

async fn what_calls_used_of_their_reservations_is_shown(world: World) {
    world.admit_one().await;
    world.store.set_limit("total", limit(Some(10), None)).await.unwrap();
    let job = world.claim_one().await;
    let permille = |levels: Vec<quarrier::store::KeyLevel>| levels[0].used_permille;
    assert_eq!(permille(world.store.levels().await.unwrap()), 1_000, "nothing is known yet");
    world.finish(success(&job)).await;
    assert_eq!(permille(world.store.levels().await.unwrap()), 300);
}

async fn queues_tenants_and_days_of_each_process_are_kept_beside_its_limits(world: World) {
    let own = format!("here/{}", std::process::id());
    let queue = |most| QueueShare { concurrency_max: Some(most), ..QueueShare::plain("reports") };
    let shares = |most| Shares { queues: vec![queue(most)], tenants: Vec::new() };
    let settings = |most, bodies_days| SeededSettings {
        shares: shares(most),
        retention: RetentionPolicy { bodies_days, ..RetentionPolicy::for_ever() },
        reply_allow: Some([format!("answers-{bodies_days}")].into()),
    };
    for (seeder, settings) in [(own.as_str(), settings(5, 30)), ("late/9", settings(9, 7))] {
        world.store.seed_limits(total(50), seeder).await.unwrap();
        world.store.seed_shares(&settings.shares).await.unwrap();
        world.store.seed_settings(&settings, seeder).await.unwrap();
    }
    let seeds = world.store.limit_seeds().await.unwrap();
    assert_eq!(seeds[0].settings, Some(settings(5, 30)));
    assert_eq!(seeds[1].settings, Some(settings(9, 7)));
    let found = setting_disagreements(&seeds, &world.store.shares().await.unwrap());
    let told: Vec<(&str, &str)> =
        found.iter().map(|one| (one.setting.as_str(), one.in_force_of.as_str())).collect();
    assert_eq!(told, [("queue reports", "late/9")], "who has ended deletes nothing");
    // An earlier release writes its limits alone.
    world.store.seed_limits(total(50), &own).await.unwrap();
    assert_eq!(world.store.limit_seeds().await.unwrap()[1].settings, None);
}
