//! Gives jobs their places, and remembers whose turn was last.
//! Must not know: how a place is reckoned, budgets, attempts.

use super::error::Outcome;
use super::session::Tx;
use crate::store::shared::places::{self, Arrival, Flow, Turn, Turns};

/// The places given, with what is to be remembered of them.
#[derive(Default)]
pub(super) struct Given<'a> {
    pub(super) places: Vec<f64>,
    turns: Turns<'a>,
}

/// Gives each arrival its place, in order.
pub(super) async fn give<'a>(tx: &mut Tx, arrivals: &[Arrival<'a>]) -> Outcome<Given<'a>> {
    if arrivals.is_empty() {
        return Ok(Given::default());
    }
    let wanted = places::wanted(arrivals);
    let lanes: Vec<&str> = wanted.iter().map(|flow| flow.lane).collect();
    let queues: Vec<&str> = wanted.iter().map(|flow| flow.queue).collect();
    let tenants: Vec<&str> = wanted.iter().map(|flow| flow.tenant).collect();
    let rows = sqlx::query_file!(
        "src/store/postgres/lane_tenant_place.sql",
        &lanes as _,
        &queues as _,
        &tenants as _
    )
    .fetch_all(tx.on())
    .await?;
    let mut turns = Turns::new();
    for row in rows {
        let is_this = |flow: &&Flow<'_>| {
            flow.lane == row.lane && flow.queue == row.queue && flow.tenant == row.tenant
        };
        let Some(flow) = wanted.iter().find(is_this) else { continue };
        let fallback = Turn::default();
        let turn = Turn {
            lane_place: row.lane_place.unwrap_or(fallback.lane_place),
            place: row.place.unwrap_or(fallback.place),
            weight: row.weight,
        };
        turns.insert(*flow, turn);
    }
    let places = places::give(arrivals, &mut turns);
    Ok(Given { places, turns })
}

/// Remembers the last place of each flow. Every other door of these flows waits for the commit
/// from here on, so it is the last that a transaction does.
pub(super) async fn remember(tx: &mut Tx, given: &Given<'_>) -> Outcome<()> {
    if given.turns.is_empty() {
        return Ok(());
    }
    let lanes: Vec<&str> = given.turns.keys().map(|flow| flow.lane).collect();
    let queues: Vec<&str> = given.turns.keys().map(|flow| flow.queue).collect();
    let tenants: Vec<&str> = given.turns.keys().map(|flow| flow.tenant).collect();
    let places: Vec<f64> = given.turns.values().map(|turn| turn.place).collect();
    sqlx::query_file!(
        "src/store/postgres/lane_tenant_write.sql",
        &lanes as _,
        &queues as _,
        &tenants as _,
        &places
    )
    .execute(tx.on())
    .await?;
    Ok(())
}
