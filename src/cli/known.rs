//! What a name or a pattern may have meant that nothing here answers to. People mistype, and a pause
//! of a queue that nobody has looks like one that works.
//! Must not know: which command asks; nothing here keeps it from doing what it was asked.

use std::collections::BTreeSet;

use super::table::one_line;
use crate::catalogue::nearest;
use crate::store::{Scope, Store, StoreResult};

/// How many names are told at most, where none is near.
const NAMES_MAX: usize = 8;

/// How many groups of due jobs are looked at, the largest.
const GROUPS_MAX: u32 = 10_000;

/// A remark where no queue of this name is configured, and nothing of it waits or runs.
pub(super) async fn queue(name: &str, store: &dyn Store) -> Option<String> {
    remark("queue", "is configured or has jobs that have not ended", name, queues(store).await)
}

/// A remark where no lane matches that has due jobs, limits or a pause.
pub(super) async fn lane(pattern: &str, store: &dyn Store) -> Option<String> {
    remark("lane", "has due jobs or calls", pattern, lanes(store).await)
}

/// A remark where nothing of this tenant is due, and no setting names it.
pub(super) async fn tenant(name: &str, store: &dyn Store) -> Option<String> {
    remark("tenant", "is configured or has jobs that are due", name, tenants(store).await)
}

/// A remark on a limit's pattern.
pub(super) async fn limit(pattern: &str, store: &dyn Store) -> Option<String> {
    match pattern.split_once(':')? {
        ("lane", lane) => self::lane(lane, store).await,
        ("queue", queue) => self::queue(queue, store).await,
        ("tenant", tenant) => self::tenant(tenant, store).await,
        _ => None,
    }
}

/// Nothing where it cannot be found out: what was asked for is done all the same.
fn remark(
    what: &str,
    is_known: &str,
    pattern: &str,
    names: StoreResult<BTreeSet<String>>,
) -> Option<String> {
    let names = names.ok()?;
    let pattern_matches = Scope::Lane(pattern.to_owned());
    if names.iter().any(|name| pattern_matches.covers_lane(name)) {
        return None;
    }
    let pattern = one_line(pattern);
    let said = format!("no {what} {pattern} {is_known}");
    let near = nearest(&pattern, names.iter().map(String::as_str));
    if !near.is_empty() {
        return Some(format!("{said}; the nearest: {}", one_line(&near.join(", "))));
    }
    if names.is_empty() {
        return Some(format!("{said}, nor does any other"));
    }
    let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
    let first: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    Some(format!("{said}; there are: {}{more}", one_line(&first.join(", "))))
}

async fn queues(store: &dyn Store) -> StoreResult<BTreeSet<String>> {
    let mut names: BTreeSet<String> =
        store.queues().await?.into_iter().map(|queue| queue.share.name).collect();
    // What names no queue is of one that a configuration names, and that is none to be told.
    let submitted = store.submitted_queues("").await?;
    names.extend(submitted.into_iter().map(|(queue, _)| queue).filter(|name| !name.is_empty()));
    Ok(names)
}

async fn lanes(store: &dyn Store) -> StoreResult<BTreeSet<String>> {
    let mut names: BTreeSet<String> = store.ready_lanes().await?.into_iter().collect();
    names.extend(store.paused_lanes().await?.into_iter().map(|lane| lane.lane));
    names.extend(keys("lane:", store).await?);
    Ok(names)
}

async fn tenants(store: &dyn Store) -> StoreResult<BTreeSet<String>> {
    let configured = store.shares().await?.tenants;
    let mut names: BTreeSet<String> = configured.into_iter().map(|tenant| tenant.name).collect();
    names.extend(store.backlog(GROUPS_MAX).await?.into_iter().map(|group| group.tenant));
    names.extend(keys("tenant:", store).await?);
    Ok(names)
}

/// What has lately drawn on a budget.
async fn keys(prefix: &str, store: &dyn Store) -> StoreResult<Vec<String>> {
    let levels = store.levels().await?;
    let name = |key: &str| key.strip_prefix(prefix).map(str::to_owned);
    Ok(levels.iter().filter_map(|level| name(&level.key)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;

    #[tokio::test]
    async fn a_name_that_nothing_has_is_remarked_on_with_what_is_near_it() {
        let scene = Scene::new().await;
        assert_eq!(
            queue("reprots", &scene.store).await.unwrap(),
            "no queue reprots is configured or has jobs that have not ended, nor does any other"
        );
        scene.admit(1, r#"{"prompt":"x","queue":"reports","tenant":"acme"}"#).await;
        assert_eq!(
            queue("reprots", &scene.store).await.unwrap(),
            "no queue reprots is configured or has jobs that have not ended; the nearest: reports"
        );
        assert_eq!(
            limit("tenant:zzzzzzzz", &scene.store).await.unwrap(),
            "no tenant zzzzzzzz is configured or has jobs that are due; there are: acme"
        );
        let far = lane("*opus*", &scene.store).await.unwrap();
        assert!(
            far.starts_with("no lane *opus* has due jobs or calls; there are: bedrock/"),
            "{far}"
        );
        for known in ["lane:bedrock/*", "lane:*haiku*", "queue:rep*", "tenant:acme", "total"] {
            assert_eq!(limit(known, &scene.store).await, None, "{known}");
        }
    }
}
