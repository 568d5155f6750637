//! Clocks that step: the database's, and one worker's. Must not know: how time is used.

use std::path::PathBuf;
use std::time::Duration;

use crate::scene::{Scene, Size};

/// Where Debian's package `libfaketime` puts it, by architecture.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// A wall clock that a test steps while processes read it. Steady clocks run on.
pub(crate) struct Steps {
    folder: tempfile::TempDir,
    library: &'static str,
}

impl Steps {
    pub(crate) fn new() -> Self {
        let library = LIBRARIES.into_iter().find(|path| std::path::Path::new(path).exists());
        let library =
            library.expect("no libfaketime here; scripts/test installs it (Debian: faketime)");
        let folder = tempfile::tempdir().unwrap();
        let steps = Self { folder, library };
        steps.open_to_all();
        steps.step_to("+0");
        steps
    }

    /// The server runs as another user.
    fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.folder.path(), readable).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// How far the clock is off from now on, such as `+3600` seconds.
    pub(crate) fn step_to(&self, offset: &str) {
        let fresh = self.folder.path().join("next");
        std::fs::write(&fresh, offset).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }

    /// What makes a process read this clock.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().to_str().unwrap().to_owned()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

/// An hour ahead, back, an hour behind, and right again.
const OFFSETS: [&str; 4] = ["+3600", "+0", "-3600", "+0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_databases_clock_steps_by_an_hour_either_way() {
    let size = Size::asked();
    let steps = Steps::new();
    let mut scene = Scene::under(size, size.of(220, 9_000), &steps);
    scene.start_workers(3).await;
    for offset in OFFSETS {
        scene.until_calls_more(size.of(40, 2_000)).await;
        steps.step_to(offset);
        scene.fault_hits().await;
    }
    let recovered = scene.recovered().await;
    let found = scene.judge("database's clock steps an hour, 4 times", recovered).await;
    found.expect_no_duplicates();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_workers_clock_steps_by_an_hour_either_way() {
    let size = Size::asked();
    let steps = Steps::new();
    // Half an hour: the worker that is an hour ahead must not take it for over.
    let mut scene = Scene::with_deadline(size, size.of(400, 9_000), 1_800);
    scene.start_workers(2).await;
    scene.start_worker_under(&steps).await;
    for offset in OFFSETS {
        scene.until_calls_more(size.of(20, 2_000)).await;
        steps.step_to(offset);
        scene.fault_hits().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let recovered = scene.recovered().await;
    let found = scene.judge("one worker's clock steps an hour, 4 times", recovered).await;
    found.expect_no_duplicates();
}
