//! What the store takes, and what keeps its server from cleaning up: dead rows, old snapshots, too
//! many connections.
//! Must not know: SQL, or what is in the tables.

use crate::cli::doctor::report::Report;
use crate::cli::doctor::words::{bytes, counted, moment};
use crate::cli::table::{one_line, span};
use crate::store::{Health, ServerHealth, Snapshot, StoreSize, TableSize};

/// How many tables are told, the largest.
const TABLES_SHOWN_MAX: usize = 5;
/// A file with more room than this that nobody uses, in bytes, is worth making smaller.
const FREE_NOTE_BYTES: u64 = 1_000_000_000;
/// A table with fewer dead rows than this is small work for any statement.
const DEAD_ROWS_MIN: u64 = 10_000;
/// So many times the dead rows from which on autovacuum cleans means that it does not keep up.
const DEAD_FACTOR: u64 = 3;
/// A snapshot that is held for longer than this, in milliseconds, makes tables grow; up to three
/// minutes cost no throughput at 500 jobs a second (`quarrier bench --what held`).
const SNAPSHOT_MS_MAX: u64 = 300_000;
/// The same for what tells no time: so many transactions ago.
const SNAPSHOT_TRANSACTIONS_MAX: u64 = 1_000_000;
/// From here on, in percent, new workers may find no connection.
const CONNECTIONS_PERCENT_MAX: u64 = 80;

/// Says how large the store is and, of a server, what keeps it from cleaning up.
pub(super) fn check(health: &Health, report: &mut Report) {
    size(&health.size, report);
    let Some(server) = &health.server else { return };
    dead_rows(server, &health.size.tables, report);
    snapshot(server, report);
    connections(server, report);
}

fn size(size: &StoreSize, report: &mut Report) {
    const CHECK: &str = "store.size";
    let mut found = bytes(size.bytes);
    let tables = size.tables.iter().take(TABLES_SHOWN_MAX).map(|table| {
        format!("{} {} + {} of indexes", table.name, bytes(table.bytes), bytes(table.index_bytes))
    });
    let tables: Vec<String> = tables.collect();
    if !tables.is_empty() {
        found = format!("{found}; the largest: {}", tables.join(", "));
    }
    if size.free_bytes > FREE_NOTE_BYTES {
        report.note(
            CHECK,
            format!("{found}, of which {} are free and used again", bytes(size.free_bytes)),
            format!(
                "nothing; to give the disk what is free (noted above {}), stop the workers and run \
                 `sqlite3 FILE vacuum`, which needs as much room again",
                bytes(FREE_NOTE_BYTES)
            ),
        );
    } else {
        report.ok(CHECK, found);
    }
}

fn dead_rows(server: &ServerHealth, tables: &[TableSize], report: &mut Report) {
    const CHECK: &str = "store.vacuum";
    if !server.autovacuum {
        report.error(
            CHECK,
            "autovacuum (or track_counts) is off: dead rows stay, and claims become slower and slower",
            "switch both on in postgresql.conf, then run `vacuum analyze` in this database once",
        );
    }
    let is_behind = |table: &&TableSize| {
        let most = table.dead_rows_max.saturating_mul(DEAD_FACTOR).max(DEAD_ROWS_MIN);
        table.dead_rows > most
    };
    let behind: Vec<&TableSize> = tables.iter().filter(is_behind).collect();
    for table in behind.iter().take(TABLES_SHOWN_MAX) {
        let cleaned = table.vacuumed_at.map_or_else(
            || "it was never cleaned".to_owned(),
            |at| format!("it was last cleaned at {}", moment(at)),
        );
        report.warning(
            CHECK,
            format!(
                "{} has {} dead rows, more than {DEAD_FACTOR} times the {} at which autovacuum \
                 begins; {cleaned}",
                table.name, table.dead_rows, table.dead_rows_max
            ),
            format!(
                "see store.snapshot for who holds it back; else give autovacuum more \
                 (autovacuum_vacuum_cost_limit, autovacuum_max_workers), and run `vacuum quarrier.{}` \
                 once",
                table.name
            ),
        );
    }
    if behind.is_empty() && server.autovacuum {
        let dead = tables.iter().map(|table| table.dead_rows).sum();
        report.ok(CHECK, format!("autovacuum keeps up: {}", counted(dead, "dead row")));
    }
}

fn snapshot(server: &ServerHealth, report: &mut Report) {
    const CHECK: &str = "store.snapshot";
    let limit = span(i64::try_from(SNAPSHOT_MS_MAX).unwrap_or(i64::MAX));
    match &server.snapshot {
        Some(oldest) if is_old(oldest) => report.warning(
            CHECK,
            format!(
                "{}; above {limit} (or {SNAPSHOT_TRANSACTIONS_MAX} transactions) tables grow by what \
                 cannot be cleaned",
                held_by(oldest)
            ),
            way_out(oldest),
        ),
        Some(oldest) => {
            report.ok(CHECK, format!("{}, less than {limit}", held_by(oldest)));
        }
        None => report.ok(CHECK, "nobody holds old rows back"),
    }
    if server.hidden > 0 {
        report.note(
            CHECK,
            format!(
                "{} of other roles on this database may hold old rows back too: this role may not \
                 see what they do",
                counted(server.hidden, "session")
            ),
            "grant pg_read_all_stats to it, or run this as a role that has it",
        );
    }
}

fn is_old(oldest: &Snapshot) -> bool {
    match oldest.age_ms {
        Some(age_ms) => age_ms > SNAPSHOT_MS_MAX,
        None => oldest.transactions > SNAPSHOT_TRANSACTIONS_MAX,
    }
}

/// Who it is: `session 4711 (psql, role ann, idle in transaction) holds back what died in the last
/// 2 h`.
fn held_by(oldest: &Snapshot) -> String {
    let pid = oldest.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
    let name = oldest.name.as_deref().filter(|name| !name.is_empty()).map(one_line);
    let owner = oldest.owner.as_deref().map(|owner| format!("role {}", one_line(owner)));
    let told: Vec<String> = [name, owner, oldest.state.clone()].into_iter().flatten().collect();
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    let since = oldest.age_ms.map_or_else(
        || format!("{} transactions", oldest.transactions),
        |age_ms| span(i64::try_from(age_ms).unwrap_or(i64::MAX)),
    );
    format!("the {}{pid}{told} holds back what died in the last {since}", oldest.kind)
}

fn way_out(oldest: &Snapshot) -> String {
    match (oldest.kind.as_str(), oldest.pid) {
        ("session", Some(pid)) => format!(
            "end that transaction (`select pg_terminate_backend({pid})`), and set \
             idle_in_transaction_session_timeout for such programs"
        ),
        ("standby", _) => "end the long query on the standby, or set hot_standby_feedback = off \
             there"
            .to_owned(),
        ("prepared transaction", _) => {
            "commit or roll it back by its name: `rollback prepared 'NAME'`".to_owned()
        }
        _ => "let its reader catch up, or drop the slot: `select pg_drop_replication_slot('NAME')`"
            .to_owned(),
    }
}

fn connections(server: &ServerHealth, report: &mut Report) {
    const CHECK: &str = "store.connections";
    let found = format!(
        "{} of {} in use, {} by this program",
        server.connections, server.connections_max, server.connections_own
    );
    let percent = server.connections.saturating_mul(100) / server.connections_max.max(1);
    if percent >= CONNECTIONS_PERCENT_MAX {
        report.warning(
            CHECK,
            format!("{found}: {percent} %, and from {CONNECTIONS_PERCENT_MAX} % on a new worker may \
                     find none"),
            "a worker takes up to store.connections_max and one to listen: make that smaller, put a \
             pooler before the server (store.pooled), or raise max_connections",
        );
    } else {
        report.ok(CHECK, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn told(health: &Health, expected: &Expect) {
        let mut report = Report::default();
        check(health, &mut report);
        expected.assert_eq(&report.text());
    }

    fn table(name: &str, dead_rows: u64) -> TableSize {
        TableSize {
            name: name.to_owned(),
            bytes: 3_000_000,
            index_bytes: 1_000_000,
            dead_rows,
            dead_rows_max: 5_000,
            vacuumed_at: Some(1_767_225_600_000),
        }
    }

    fn health(tables: Vec<TableSize>, server: ServerHealth) -> Health {
        let size = StoreSize { bytes: 8_000_000, free_bytes: 0, tables };
        let server = ServerHealth { autovacuum: true, connections_max: 97, ..server };
        Health { size, server: Some(server), ..Health::default() }
    }

    #[test]
    fn a_server_that_keeps_up_has_nothing_to_change() {
        let server =
            ServerHealth { connections: 12, connections_own: 9, ..ServerHealth::default() };
        told(
            &health(vec![table("job", 15_000), table("attempt", 0)], server),
            &expect![[r#"
            ok       store.size         8.0 MB; the largest: job 3.0 MB + 1.0 MB of indexes, attempt 3.0 MB + 1.0 MB of indexes
            ok       store.vacuum       autovacuum keeps up: 15000 dead rows
            ok       store.snapshot     nobody holds old rows back
            ok       store.connections  12 of 97 in use, 9 by this program
        "#]],
        );
    }

    #[test]
    fn dead_rows_old_snapshots_and_too_many_connections_are_told_with_who_and_what_to_do() {
        let snapshot = Snapshot {
            kind: "session".to_owned(),
            pid: Some(4_711),
            name: Some("psql".to_owned()),
            owner: Some("ann".to_owned()),
            state: Some("idle in transaction".to_owned()),
            transactions: 12,
            age_ms: Some(7_200_000),
        };
        let server = ServerHealth {
            snapshot: Some(snapshot),
            hidden: 2,
            connections: 90,
            connections_own: 80,
            ..ServerHealth::default()
        };
        told(
            &health(vec![table("attempt", 15_001)], server),
            &expect![[r#"
                ok       store.size         8.0 MB; the largest: attempt 3.0 MB + 1.0 MB of indexes
                warning  store.vacuum       attempt has 15001 dead rows, more than 3 times the 5000 at which autovacuum begins; it was last cleaned at 2026-01-01T00:00:00Z
                                            -> see store.snapshot for who holds it back; else give autovacuum more (autovacuum_vacuum_cost_limit, autovacuum_max_workers), and run `vacuum quarrier.attempt` once
                warning  store.snapshot     the session 4711 (psql, role ann, idle in transaction) holds back what died in the last 2 h; above 5 min (or 1000000 transactions) tables grow by what cannot be cleaned
                                            -> end that transaction (`select pg_terminate_backend(4711)`), and set idle_in_transaction_session_timeout for such programs
                note     store.snapshot     2 sessions of other roles on this database may hold old rows back too: this role may not see what they do
                                            -> grant pg_read_all_stats to it, or run this as a role that has it
                warning  store.connections  90 of 97 in use, 80 by this program: 92 %, and from 80 % on a new worker may find none
                                            -> a worker takes up to store.connections_max and one to listen: make that smaller, put a pooler before the server (store.pooled), or raise max_connections
            "#]],
        );
        let slot = Snapshot {
            kind: "replication slot".to_owned(),
            name: Some("copy".to_owned()),
            transactions: 2_000_000,
            ..Snapshot::default()
        };
        let server = ServerHealth { snapshot: Some(slot), ..ServerHealth::default() };
        let mut off = health(Vec::new(), server);
        off.server.as_mut().unwrap().autovacuum = false;
        told(
            &off,
            &expect![[r#"
                ok       store.size         8.0 MB
                error    store.vacuum       autovacuum (or track_counts) is off: dead rows stay, and claims become slower and slower
                                            -> switch both on in postgresql.conf, then run `vacuum analyze` in this database once
                warning  store.snapshot     the replication slot (copy) holds back what died in the last 2000000 transactions; above 5 min (or 1000000 transactions) tables grow by what cannot be cleaned
                                            -> let its reader catch up, or drop the slot: `select pg_drop_replication_slot('NAME')`
                ok       store.connections  0 of 97 in use, 0 by this program
            "#]],
        );
    }

    #[test]
    fn a_file_with_much_free_room_may_be_made_smaller() {
        let size = StoreSize { bytes: 5_000_000_000, free_bytes: 2_000_000_000, tables: vec![] };
        told(
            &Health { size, ..Health::default() },
            &expect![[r#"
            note     store.size  5.0 GB, of which 2.0 GB are free and used again
                                 -> nothing; to give the disk what is free (noted above 1.0 GB), stop the workers and run `sqlite3 FILE vacuum`, which needs as much room again
        "#]],
        );
    }
}
