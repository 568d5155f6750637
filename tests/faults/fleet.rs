//! Workers as processes of the real binary: started, killed, stopped, continued. None outlives its
//! test. Must not know: what they are to do, or what becomes of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::clocks::Steps;

/// How a worker is started.
pub(crate) struct Orders<'a> {
    pub(crate) store: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) requests_per_minute: u64,
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) clock: Option<&'a Steps>,
    /// No file that it writes may be larger, in KiB: every disk is full for it.
    pub(crate) file_kib_max: Option<u64>,
}

/// Calls that one worker has in flight at most.
pub(crate) const CONCURRENCY: u64 = 12;

pub(crate) struct Worker {
    child: Child,
    folder: PathBuf,
}

/// The real binary, which the system kills with its parent even if a test is cut off.
pub(crate) fn program() -> Command {
    let binary = env!("CARGO_BIN_EXE_quarrier");
    let tied = Path::new("/usr/bin/setpriv");
    if !tied.exists() {
        return Command::new(binary);
    }
    let mut command = Command::new(tied);
    command.args(["--pdeathsig", "KILL", binary]);
    command
}

/// The same in a shell that sets a limit on files first; a write past it is then an error.
fn confined(kib: u64) -> Command {
    let mut command = Command::new("bash");
    let limited = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" \"$@\"");
    command.args(["-c", &limited]);
    let inner = program();
    command.arg(inner.get_program()).args(inner.get_args());
    command
}

impl Worker {
    /// Its spool lies in `folder`, and its log beside it.
    pub(crate) fn start(folder: &Path, orders: &Orders<'_>) -> Self {
        std::fs::create_dir_all(folder.join("spool")).unwrap();
        let log = folder.with_extension("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = orders.file_kib_max.map_or_else(program, confined);
        command
            .args(["serve", "--simulate", "--store", orders.store])
            .args(["--endpoint", orders.endpoint])
            .args(["--concurrency", &CONCURRENCY.to_string()])
            .args(["--requests-per-minute", &orders.requests_per_minute.to_string()])
            .env("QUARRIER_WORKER__SPOOL_DIR", folder.join("spool"))
            .envs(orders.settings.iter().map(|(name, value)| (*name, value.as_str())))
            .envs(orders.clock.map(Steps::environment).unwrap_or_default())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // A confined worker's log would hit the limit, too.
        command.stderr(if orders.file_kib_max.is_some() { Stdio::null() } else { log.into() });
        Self { child: command.spawn().unwrap(), folder: folder.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "kill {name} {}", self.pid());
    }

    /// SIGKILL: nothing is said, nothing is saved.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Lets it write files again.
    pub(crate) fn free_the_disk(&self) {
        let pid = self.pid().to_string();
        let freed = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status();
        assert!(freed.unwrap().success(), "prlimit --fsize");
    }

    /// SIGTERM, and how it ends; none if it has not ended after so long.
    pub(crate) async fn drain(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal("-TERM");
        let began = tokio::time::Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How many spool files it has.
    pub(crate) fn spooled(&self) -> usize {
        let is_finishes = |name: &str| name.contains(".finishes.");
        std::fs::read_dir(self.folder.join("spool"))
            .unwrap()
            .filter(|entry| is_finishes(&entry.as_ref().unwrap().file_name().to_string_lossy()))
            .count()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.with_extension("log"));
            let log = log.unwrap_or_default();
            let lines: Vec<&str> =
                log.lines().filter(|line| !line.contains(" succeeded")).collect();
            let last = lines.len().saturating_sub(25);
            eprintln!("--- {}:\n{}", self.folder.display(), lines[last..].join("\n"));
        }
    }
}
