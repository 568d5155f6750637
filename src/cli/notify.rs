//! What a supervisor such as systemd is told: ready, alive, stopping.
//! Must not know: how any of that is judged.

use std::collections::BTreeMap;
use std::time::Duration;

/// The line to the supervisor; nothing happens where there is none.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<String>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// What this process's environment says of it.
    pub(super) fn of(env: &BTreeMap<String, String>) -> Self {
        // A watchdog that is meant for another process is not ours.
        let pid = env.get("WATCHDOG_PID");
        let is_ours = pid.is_none_or(|pid| *pid == std::process::id().to_string());
        let period_us: Option<u64> = env.get("WATCHDOG_USEC").and_then(|us| us.parse().ok());
        Self {
            socket: env.get("NOTIFY_SOCKET").filter(|path| !path.is_empty()).cloned(),
            watchdog: period_us.filter(|us| is_ours && *us > 0).map(Duration::from_micros),
        }
    }

    /// How often the supervisor wants to hear that the process is alive: half of its patience.
    pub(super) fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2).filter(|_| self.socket.is_some())
    }

    /// Says `READY=1`, `WATCHDOG=1`, `STOPPING=1`. A supervisor that does not listen changes nothing
    /// about the work.
    pub(super) fn say(&self, word: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, word) {
            tracing::warn!(%error, word, "the supervisor was not told");
        }
    }
}

#[cfg(target_os = "linux")]
fn send(socket: &str, word: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    // A name that begins with `@` is no file: it lives in the system's own name space.
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address).map(|_| ())
}

#[cfg(not(target_os = "linux"))]
fn send(_socket: &str, _word: &str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_supervisor_hears_each_word_on_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let path = path.to_str().unwrap();
        let notify = Notify::of(&env(&[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "3000000")]));
        notify.say("READY=1");
        let mut heard = [0; 64];
        let length = supervisor.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
        assert_eq!(notify.watchdog_period(), Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn without_a_supervisor_or_with_another_processs_watchdog_nothing_is_said() {
        let none = Notify::of(&env(&[("WATCHDOG_USEC", "3000000")]));
        none.say("READY=1");
        assert_eq!(none.watchdog_period(), None);
        let others = [("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "9"), ("WATCHDOG_PID", "0")];
        assert_eq!(Notify::of(&env(&others)).watchdog_period(), None);
    }
}
