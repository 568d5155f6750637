//! What the check-up says of stores in every state that one can be in.

use std::fs;

use expect_test::{Expect, expect};
use uuid::Uuid;

use super::files;
use super::*;
use crate::cli::testing::{Scene, again};
use crate::clock::Clock;
use crate::config::{self, LoadArgs};
use crate::error::ErrorKind;
use crate::store::{Durability, LaneNews, LeaseInfo, WorkStore as _};

/// Every line that the check-up says of a store, without what differs from run to run.
async fn shown(path: &Path, clock: &Clock, simulate: bool, settings: &[(&str, &str)]) -> String {
    let env = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut env: std::collections::BTreeMap<String, String> = env.collect();
    env.insert("QUARRIER_STORE__URL".to_owned(), path.display().to_string());
    let folder = path.parent().unwrap().to_owned();
    let args = LoadArgs { dir: folder.clone(), env: env.clone(), ..LoadArgs::default() };
    let loaded = config::load(&args).unwrap();
    let subject = Subject {
        loaded: &loaded,
        settings: &loaded.settings,
        env: &env,
        clock,
        simulate,
        offline: true,
        patience: std::time::Duration::from_secs(10),
    };
    let mut report = Report::default();
    check(&subject, &mut report).await;
    // How full the machine's disk is and how large a page belong to no test; the log has its own.
    report.findings.retain(|finding| match finding.check {
        "store.disk" => finding.found.contains("folder"),
        check => check != "store.wal" && check != "store.size",
    });
    let stands = format!("migration {},", SqliteStore::newest_migration());
    report.text().replace(&*folder.to_string_lossy(), "DIR").replace(&stands, "migration N,")
}

async fn check_scene(scene: &Scene, simulate: bool, expected: &Expect) {
    expected.assert_eq(&shown(scene.store.path(), &scene.clock, simulate, &[]).await);
}

#[tokio::test]
async fn a_sound_store_at_rest_has_nothing_to_change() {
    let scene = Scene::new().await;
    check_scene(
        &scene,
        false,
        &expect![[r#"
            ok       store.spool       DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
            ok       store             sqlite DIR/quarrier.db, migration N, holds real work
            ok       store.durability  journal_mode is wal, synchronous is full
            ok       store.integrity   every page is sound (quick_check)
            ok       store.workers     0 workers at work, 0 jobs running
            ok       store.jobs        0 jobs ready
            ok       store.retention   content is kept for 30 days, jobs for 90 days; over by now: content of 0 jobs, 0 whole jobs; it has not run here yet
        "#]],
    )
    .await;
    // Simulated work has no business here.
    check_scene(
        &scene,
        true,
        &expect![[r#"
            ok       store.spool       DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
            warning  store             sqlite DIR/quarrier.db, migration N, holds real work
                                       -> simulated work needs another store: name it with --store
            ok       store.durability  journal_mode is wal, synchronous is full
            ok       store.integrity   every page is sound (quick_check)
            ok       store.workers     0 workers at work, 0 jobs running
            ok       store.jobs        0 jobs ready
            ok       store.retention   content is kept for 30 days, jobs for 90 days; over by now: content of 0 jobs, 0 whole jobs; it has not run here yet
        "#]],
    )
    .await;
}

#[tokio::test]
async fn jobs_that_wait_without_a_worker_are_told_and_held_ones_warned_of() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene.admit(2, r#"{"prompt":"y"}"#).await;
    scene.call(|finish| finish.next = crate::store::Next::Held).await;
    let url = format!("sqlite://{}", scene.store.path().display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("insert into submission (id, document) values ('a', '{}')")
        .execute(&mut other)
        .await
        .unwrap();
    check_scene(&scene, false, &expect![[r#"
        ok       store.spool        DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
        ok       store              sqlite DIR/quarrier.db, migration N, holds real work
        ok       store.durability   journal_mode is wal, synchronous is full
        ok       store.integrity    every page is sound (quick_check)
        ok       store.clock        its newest row is of 2026-01-01T00:00:00Z
        ok       store.workers      0 workers at work, 0 jobs running
        note     store.jobs         1 job ready, and no worker runs
                                    -> start one: `quarrier serve`
        warning  store.jobs         1 job held: nobody knows whether their call was answered
                                    -> look at them (`quarrier jobs list --state held`), then `quarrier jobs retry` or `cancel`
        note     store.submissions  1 submission admitted by nobody yet
                                    -> start a worker: `quarrier serve`
        ok       store.retention    content is kept for 30 days, jobs for 90 days; over by now: content of 0 jobs, 0 whole jobs; it has not run here yet
    "#]]).await;
}

#[tokio::test]
async fn a_paused_lane_says_its_reason() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    scene
        .call(|finish| {
            again(finish, ErrorKind::AccessDenied, "no access", 60_000);
            finish.lane = LaneNews { pause_ms: Some(60_000), ..LaneNews::default() };
        })
        .await;
    check_scene(&scene, false, &expect![[r#"
        ok       store.spool       DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
        ok       store             sqlite DIR/quarrier.db, migration N, holds real work
        ok       store.durability  journal_mode is wal, synchronous is full
        ok       store.integrity   every page is sound (quick_check)
        ok       store.clock       its newest row is of 2026-01-01T00:00:00Z
        ok       store.workers     0 workers at work, 0 jobs running
        warning  store.lanes       bedrock/us-east-1/us.anthropic.claude-haiku-4-5-20251001-v1:0 is paused for 1 min more, because of access_denied
                                   -> `quarrier explain access_denied` says what to do; it goes on by itself then
        note     store.jobs        1 job ready, and no worker runs
                                   -> start one: `quarrier serve`
        ok       store.retention   content is kept for 30 days, jobs for 90 days; over by now: content of 0 jobs, 0 whole jobs; it has not run here yet
    "#]]).await;
}

#[tokio::test]
async fn a_living_process_is_counted_and_a_dead_ones_lease_warned_of() {
    let scene = Scene::new().await;
    let lease = LeaseInfo { id: Uuid::now_v7(), host: "here".to_owned(), pid: 1, takes_jobs: true };
    scene.store.open_lease(&lease).await.unwrap();
    check_scene(
        &scene,
        false,
        &expect![[r#"
            ok       store.spool       DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
            ok       store             sqlite DIR/quarrier.db, migration N, holds real work
            ok       store.durability  journal_mode is wal, synchronous is full
            ok       store.integrity   every page is sound (quick_check)
            ok       store.clock       its newest row is of 2026-01-01T00:00:00Z
            ok       store.workers     1 worker at work, 0 jobs running
            ok       store.jobs        0 jobs ready
            ok       store.retention   content is kept for 30 days, jobs for 90 days; over by now: content of 0 jobs, 0 whole jobs; it has not run here yet
        "#]],
    )
    .await;
    // A lock file that nobody holds is what a dead process leaves behind.
    let dead = Uuid::now_v7();
    let mut name = scene.store.path().as_os_str().to_owned();
    name.push(format!("-lease-{dead}"));
    fs::write(name, "").unwrap();
    let url = format!("sqlite://{}", scene.store.path().display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::query("insert into lease (id, beat, host, pid, started_at) values (?, 1, 'here', 2, 0)")
        .bind(dead.to_string())
        .execute(&mut other)
        .await
        .unwrap();
    scene.store.close_lease(lease.id).await.unwrap();
    check_scene(&scene, false, &expect![[r#"
        ok       store.spool       DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
        ok       store             sqlite DIR/quarrier.db, migration N, holds real work
        ok       store.durability  journal_mode is wal, synchronous is full
        ok       store.integrity   every page is sound (quick_check)
        ok       store.clock       its newest row is of 1970-01-01T00:00:00Z
        warning  store.workers     0 workers at work, 0 jobs running; 1 lease of dead processes
                                   -> start a worker (`quarrier serve`): it puts their jobs back first
        ok       store.jobs        0 jobs ready
        ok       store.retention   content is kept for 30 days, jobs for 90 days; over by now: content of 0 jobs, 0 whole jobs; it has not run here yet
    "#]]).await;
}

#[tokio::test]
async fn rows_of_the_future_tell_of_a_wrong_clock() {
    let scene = Scene::new().await;
    scene.admit(1, r#"{"prompt":"x"}"#).await;
    let (earlier, hand) = Clock::manual();
    let now = earlier.now();
    hand.set(crate::clock::Now { wall_ms: now.wall_ms - 7_200_000, ..now });
    let text = shown(scene.store.path(), &earlier, false, &[]).await;
    let line = text.lines().skip_while(|line| !line.contains("store.clock")).take(2);
    expect![[r#"
        warning  store.clock       its newest row is of 2026-01-01T00:00:00Z, 2 h from now
                                   -> the clock was ahead when it was written, or is behind now: deadlines count from it; set it by NTP"#]].assert_eq(&line.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn what_is_no_store_of_this_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _) = Clock::manual();
    let path = folder.path().join("new.db");
    expect![[r#"
        ok       store.spool  DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
        note     store        DIR/new.db is not there yet
                              -> nothing: the first command that works makes it; or name another with --store
    "#]].assert_eq(&shown(&path, &clock, false, &[]).await);
    assert!(!path.exists(), "a check-up makes no store");

    fs::write(&path, "this is a text and no database, which is found out by its first bytes")
        .unwrap();
    expect![[r#"
        ok       store.spool    DIR can be written; 0 files waiting, 0 bytes of 1.0 GB
        error    store.version  DIR/new.db cannot be read: error returned from database: (code: 26) file is not a database
                                -> name another file with --store, or restore this one from a copy
    "#]].assert_eq(&shown(&path, &clock, false, &[]).await);

    for version in [0_i64, 99] {
        let path = folder.path().join(format!("v{version}.db"));
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let mut file = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
        sqlx::query("create table _sqlx_migrations (version bigint)")
            .execute(&mut file)
            .await
            .unwrap();
        sqlx::query("insert into _sqlx_migrations values (?)")
            .bind(version)
            .execute(&mut file)
            .await
            .unwrap();
        let text = shown(&path, &clock, false, &[]).await;
        let line = text.lines().skip_while(|line| !line.contains("store.version"));
        let line: String = line.collect::<Vec<_>>().join("\n");
        let newest = SqliteStore::newest_migration();
        let line = line
            .replace(&format!("this version at {newest};"), "this version at N;")
            .replace(&format!("knows only {newest}"), "knows only N");
        match version {
            0 => expect![[r#"
                note     store.version  DIR/v0.db stands at migration 0, this version at N; not looked into
                                        -> run `quarrier migrate`; every command that works does the same"#]].assert_eq(&line),
            _ => expect![[r#"
                error    store.version  DIR/v99.db stands at migration 99, and this version knows only N
                                        -> use the release that wrote it, or a newer one"#]].assert_eq(&line),
        }
    }
    let nowhere = folder.path().join("not/there.db");
    let text = shown(&nowhere, &clock, false, &[]).await;
    assert!(text.contains("mkdir -p"), "{text}");
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let scene = Scene::new().await;
    for n in 1..200 {
        scene.admit(n, &format!(r#"{{"prompt":"{}"}}"#, "x".repeat(2_000))).await;
    }
    let path = scene.store.path().to_owned();
    scene.store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    let page = 4_096 * 60;
    bytes[page..page + 4_000].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let text = shown(&path, &scene.clock, false, &[]).await;
    assert!(text.contains("the file is damaged") || text.contains("cannot be read"), "{text}");
    assert!(text.contains("recover") || text.contains("restore"), "{text}");
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_or_is_full_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _) = Clock::manual();
    let store = folder.path().join("q.db");
    let spool = folder.path().join("spool");
    let at = spool.display().to_string();
    let line = |text: &str| {
        let lines = text.lines().skip_while(|line| !line.contains("store.spool"));
        lines.take_while(|line| !line.contains("store  ")).collect::<Vec<_>>().join("\n")
    };
    let settings = [
        ("QUARRIER_WORKER__SPOOL_DIR", at.as_str()),
        ("QUARRIER_WORKER__SPOOL_BYTES_MAX", "1048576"),
    ];
    let text = shown(&store, &clock, false, &settings).await;
    assert!(text.contains("is not there yet"), "{text}");

    fs::write(&spool, "a file in its place").unwrap();
    let text = line(&shown(&store, &clock, false, &settings).await);
    assert!(text.contains("cannot be written"), "{text}");
    fs::remove_file(&spool).unwrap();

    fs::create_dir(&spool).unwrap();
    fs::write(spool.join("a.finishes.jsonl"), vec![b'x'; 900_000]).unwrap();
    fs::write(spool.join("b.finishes.refused"), "x").unwrap();
    expect![[r#"
        warning  store.spool  DIR/spool can be written; 1 file waiting, 900.0 kB of 1.0 MB: it is nearly full
                              -> mend the store, so that a worker can empty it
        warning  store.spool  1 file put aside: answers that no store took
                              -> look at *.refused and *.unreadable there: each line is a paid answer; delete them afterwards"#]].assert_eq(&line(&shown(&store, &clock, false, &settings).await));
    fs::write(spool.join("c.finishes.jsonl"), vec![b'x'; 200_000]).unwrap();
    let text = line(&shown(&store, &clock, false, &settings).await);
    assert!(text.starts_with("error") && text.contains("it is full"), "{text}");
}

#[test]
fn little_space_and_a_long_log_are_told_before_they_hurt() {
    let mut report = Report::default();
    files::free(50_000_000, &mut report);
    files::free(1_500_000_000, &mut report);
    files::free(5_000_000_000, &mut report);
    files::wal_of(600_000_000, &mut report);
    files::wal_of(4_000_000, &mut report);
    expect![[r#"
        error    store.disk  only 50.0 MB free: answers may not be stored
                             -> free some, or move the store; it takes about five times the size of what is put in
        warning  store.disk  only 1.5 GB free
                             -> free some, or move the store; it takes about five times the size of what is put in
        ok       store.disk  5.0 GB free
        warning  store.wal   the write-ahead log has 600.0 MB: it is not being written back
                             -> end programs that hold a long read on the store (an open sqlite3 shell, a backup)
        ok       store.wal   the write-ahead log has 4.0 MB
    "#]].assert_eq(&report.text());
}

#[test]
fn settings_that_lose_commits_are_an_error_and_an_unfinished_check_a_note() {
    let unsafe_one = Durability {
        setting: "synchronous".to_owned(),
        found: "normal".to_owned(),
        wanted: "full".to_owned(),
        safe: false,
    };
    let health = Health { durability: vec![unsafe_one], ..Health::default() };
    let mut report = Report::default();
    durability(&health, "sqlite", &mut report);
    integrity(&Integrity::Unfinished, &mut report);
    integrity(&Integrity::Broken(vec!["row 3 missing".to_owned()]), &mut report);
    expect![[r#"
        error    store.durability  synchronous is normal: a power cut can lose what was committed
                                   -> it must be full: put the store on a local file system that allows it
        note     store.integrity   the file is too large to be checked in the time given
                                   -> run `sqlite3 FILE 'pragma quick_check'` when there is time
        error    store.integrity   the file is damaged: row 3 missing
                                   -> stop the workers, keep a copy, and save what can be read: `sqlite3 FILE .recover | sqlite3 NEW`
    "#]].assert_eq(&report.text());
}
