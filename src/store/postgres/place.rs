//! Gives jobs their places, and remembers whose turn was last.
//! Must not know: how a place is reckoned, budgets, attempts.

use super::error::Outcome;
use super::session::Tx;
use crate::store::shared::places::{self, Arrival, Turn, Turns};

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
    let (lanes, tenants): (Vec<&str>, Vec<&str>) = wanted.iter().copied().unzip();
    let rows =
        sqlx::query_file!("src/store/postgres/lane_tenant_place.sql", &lanes as _, &tenants as _)
            .fetch_all(tx.on())
            .await?;
    let mut turns = Turns::new();
    for row in rows {
        let Some(pair) =
            wanted.iter().find(|(lane, tenant)| *lane == row.lane && *tenant == row.tenant)
        else {
            continue;
        };
        let fallback = Turn::default();
        let turn = Turn {
            lane_place: row.lane_place.unwrap_or(fallback.lane_place),
            place: row.place.unwrap_or(fallback.place),
            weight: row.weight.unwrap_or(fallback.weight),
        };
        turns.insert(*pair, turn);
    }
    let places = places::give(arrivals, &mut turns);
    Ok(Given { places, turns })
}

/// Remembers the last place of each tenant. Every other door of these tenants waits for the commit
/// from here on, so it is the last that a transaction does.
pub(super) async fn remember(tx: &mut Tx, given: &Given<'_>) -> Outcome<()> {
    if given.turns.is_empty() {
        return Ok(());
    }
    let (mut lanes, mut tenants, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for ((lane, tenant), turn) in &given.turns {
        lanes.push(*lane);
        tenants.push(*tenant);
        places.push(turn.place);
    }
    sqlx::query_file!(
        "src/store/postgres/lane_tenant_write.sql",
        &lanes as _,
        &tenants as _,
        &places
    )
    .execute(tx.on())
    .await?;
    Ok(())
}
