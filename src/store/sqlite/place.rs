//! A job's place: the one number that orders its lane, fixed when it becomes due.
//! Must not know: the budget, attempts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Serialize;

use super::{Tx, bulk};
use crate::store::StoreResult;

/// How many places one step of priority is worth: a job of priority 1 passes those that were due
/// up to so many places before it, and no more, so low priorities age.
const PRIORITY_STEP: f64 = 100.0;

/// A job that becomes due.
pub(super) struct Arrival<'a> {
    pub(super) lane: &'a str,
    pub(super) tenant: &'a str,
    pub(super) priority: i32,
}

#[derive(Serialize)]
struct TenantRow<'a> {
    lane: &'a str,
    tenant: &'a str,
    place: f64,
}

/// Gives each arrival its place, in order, and remembers the last one of each tenant. A tenant
/// that has been away starts at the lane's present place, so it can neither save up turns nor be
/// kept waiting behind a tenant with a long backlog.
pub(super) async fn give(tx: &mut Tx, arrivals: &[Arrival<'_>]) -> StoreResult<Vec<f64>> {
    let mut lanes: HashMap<&str, f64> = HashMap::new();
    let mut tenants: HashMap<(&str, &str), (f64, f64)> = HashMap::new();
    let mut places = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        let Arrival { lane, tenant, priority } = *arrival;
        if let Entry::Vacant(vacant) = lanes.entry(lane) {
            let row = sqlx::query_file!("src/store/sqlite/lane_place.sql", lane)
                .fetch_optional(&mut **tx)
                .await?;
            vacant.insert(row.map_or(0.0, |row| row.place));
        }
        let lane_place = lanes.get(lane).copied().unwrap_or_default();
        let last = match tenants.entry((lane, tenant)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let row = sqlx::query_file!("src/store/sqlite/lane_tenant_place.sql", lane, tenant)
                    .fetch_optional(&mut **tx)
                    .await?;
                unknown.insert(row.map_or((0.0, 1.0), |row| (row.place, row.weight)))
            }
        };
        last.0 = lane_place.max(last.0) + 1.0 / last.1.max(0.001);
        places.push(last.0 - f64::from(priority) * PRIORITY_STEP);
    }
    let rows: Vec<TenantRow<'_>> = tenants
        .iter()
        .map(|((lane, tenant), (place, _))| TenantRow { lane, tenant, place: *place })
        .collect();
    let rows = bulk::list(&rows)?;
    sqlx::query_file!("src/store/sqlite/lane_tenant_write.sql", rows).execute(&mut **tx).await?;
    Ok(places)
}
