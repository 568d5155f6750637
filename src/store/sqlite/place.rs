//! Gives jobs their places, and remembers whose turn was last.
//! Must not know: how a place is reckoned, budgets, attempts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Serialize;

use super::{Tx, bulk};
use crate::store::StoreResult;
use crate::store::shared::places::{self, Arrival, Flow, Turn, Turns};

#[derive(Serialize)]
struct TenantRow<'a> {
    lane: &'a str,
    queue: &'a str,
    tenant: &'a str,
    place: f64,
}

/// Gives each arrival its place, in order, and remembers the last one of each flow.
pub(super) async fn give(tx: &mut Tx, arrivals: &[Arrival<'_>]) -> StoreResult<Vec<f64>> {
    if arrivals.is_empty() {
        return Ok(Vec::new());
    }
    let mut turns = turns(tx, arrivals).await?;
    let places = places::give(arrivals, &mut turns);
    let rows: Vec<TenantRow<'_>> = turns
        .iter()
        .map(|(flow, turn)| TenantRow {
            lane: flow.lane,
            queue: flow.queue,
            tenant: flow.tenant,
            place: turn.place,
        })
        .collect();
    let rows = bulk::list(&rows)?;
    sqlx::query_file!("src/store/sqlite/lane_tenant_write.sql", rows).execute(&mut **tx).await?;
    Ok(places)
}

/// Where the flows of these arrivals stand.
async fn turns<'a>(tx: &mut Tx, arrivals: &[Arrival<'a>]) -> StoreResult<Turns<'a>> {
    let mut lanes: HashMap<&str, f64> = HashMap::new();
    let mut turns = Turns::new();
    for flow in places::wanted(arrivals) {
        let Flow { lane, queue, tenant } = flow;
        let mut turn = Turn::default();
        match lanes.entry(lane) {
            Entry::Occupied(known) => turn.lane_place = *known.get(),
            Entry::Vacant(unknown) => {
                let row = sqlx::query_file!("src/store/sqlite/lane_place.sql", lane)
                    .fetch_optional(&mut **tx)
                    .await?;
                turn.lane_place = row.map_or(turn.lane_place, |row| row.place);
                unknown.insert(turn.lane_place);
            }
        }
        let row = sqlx::query_file!("src/store/sqlite/lane_tenant_place.sql", lane, queue, tenant)
            .fetch_one(&mut **tx)
            .await?;
        turn.place = row.place.unwrap_or(turn.place);
        turn.weight = row.weight;
        turns.insert(flow, turn);
    }
    Ok(turns)
}
