//! What a measurement reads before and after: time, CPU of processes, write-ahead log. Linux tells
//! all of it; elsewhere what cannot be read is left out.
//! Must not know: what is measured between two readings.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Row as _};

use super::report::number;

/// What Linux shows processes' times in: hundredths of a second, whatever the kernel counts in.
const TICK: Duration = Duration::from_millis(10);

/// How often the server's processes are looked through until none ends meanwhile.
#[cfg(feature = "postgres")]
const LOOKS_MAX: u32 = 5;

/// The monotonic clock in nanoseconds; the same for all processes of a machine.
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let since = Duration::try_from(now).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds from one time to another; below 0 where a worker saw the commit before its client
/// heard of it.
pub(super) fn apart_ms(from_ns: u64, to_ns: u64) -> f64 {
    let ms = |ns: u64| number(ns / 1_000) / 1_000.0;
    if to_ns >= from_ns { ms(to_ns - from_ns) } else { -ms(from_ns - to_ns) }
}

/// CPU that this process has used.
pub(super) fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The most memory that this process ever had resident, in MB.
pub(super) fn resident_mb_max() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kb: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kb / 1_024)
}

/// One reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// When it was taken.
    pub(super) at_ns: u64,
    /// CPU of this process.
    own: Duration,
    /// CPU of the database server, all its processes.
    server: Option<Duration>,
    /// Bytes that the server has ever written ahead.
    wal: Option<u64>,
    /// CPU that the whole machine has used.
    machine: Option<Duration>,
}

/// What passed between two readings.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// Time.
    pub(super) elapsed: Duration,
    /// CPU of this process.
    pub(super) own: Duration,
    /// CPU of the server.
    pub(super) server: Option<Duration>,
    /// Bytes written ahead.
    pub(super) wal_bytes: Option<u64>,
    /// CPU of the whole machine.
    pub(super) machine: Option<Duration>,
}

/// Reads the meters; holds a connection where the store is a server.
pub(super) struct Meters {
    #[cfg(feature = "postgres")]
    server: Option<(PgConnection, Option<u32>)>,
}

impl Meters {
    /// Meters of this process and this machine alone.
    pub(super) fn own() -> Self {
        Self {
            #[cfg(feature = "postgres")]
            server: None,
        }
    }

    /// Meters of a server too. Its CPU is read where its processes are seen on this machine.
    #[cfg(feature = "postgres")]
    pub(super) async fn of_server(mut connection: PgConnection) -> anyhow::Result<Self> {
        let row = sqlx::query(
            "select pg_backend_pid() as pid, current_database()::text as name, \
             coalesce(inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1', true) \
                 as near",
        )
        .fetch_one(&mut connection)
        .await?;
        let (pid, name): (i32, String) = (row.try_get("pid")?, row.try_get("name")?);
        let near: bool = row.try_get("near")?;
        let postmaster = if near { postmaster_of(pid, &name) } else { None };
        Ok(Self { server: Some((connection, postmaster)) })
    }

    /// Reads all. The time is read last, so that a measurement begins right after.
    pub(super) async fn begin(&mut self) -> anyhow::Result<Reading> {
        let (server, wal) = self.server().await?;
        let machine = machine_cpu();
        Ok(Reading { own: own_cpu(), server, wal, machine, at_ns: monotonic_ns() })
    }

    /// Reads all again. The time is read first.
    pub(super) async fn end(&mut self, begun: Reading) -> anyhow::Result<Spent> {
        let elapsed = Duration::from_nanos(monotonic_ns().saturating_sub(begun.at_ns));
        let own = own_cpu().saturating_sub(begun.own);
        let machine = machine_cpu();
        let (server, wal) = self.server().await?;
        let since = |now: Option<Duration>, then: Option<Duration>| {
            now.zip(then).map(|(now, then)| now.saturating_sub(then))
        };
        Ok(Spent {
            elapsed,
            own,
            server: since(server, begun.server),
            wal_bytes: wal.zip(begun.wal).map(|(now, then)| now.saturating_sub(then)),
            machine: since(machine, begun.machine),
        })
    }

    #[cfg(feature = "postgres")]
    async fn server(&mut self) -> anyhow::Result<(Option<Duration>, Option<u64>)> {
        let Some((connection, postmaster)) = &mut self.server else { return Ok((None, None)) };
        let row = sqlx::query(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint as bytes",
        )
        .fetch_one(connection)
        .await?;
        let bytes: i64 = row.try_get("bytes")?;
        Ok((postmaster.and_then(family_cpu), u64::try_from(bytes).ok()))
    }

    #[cfg(not(feature = "postgres"))]
    async fn server(&mut self) -> anyhow::Result<(Option<Duration>, Option<u64>)> {
        Ok((None, None))
    }
}

/// The process that started the backend with this number, if that is a backend of this database
/// here: numbers of another machine or container would name anybody.
#[cfg(feature = "postgres")]
fn postmaster_of(backend: i32, database: &str) -> Option<u32> {
    let title = std::fs::read_to_string(format!("/proc/{backend}/cmdline")).ok()?;
    if !title.starts_with("postgres") || !title.contains(database) {
        return None;
    }
    Stat::of(u32::try_from(backend).ok()?).map(|stat| stat.parent)
}

/// CPU of a process and all that it has started: its own, of its living children, and of those
/// whose end it has seen. A child that ends during the look would be missed, so it looks again.
#[cfg(feature = "postgres")]
fn family_cpu(parent: u32) -> Option<Duration> {
    let mut seen = Stat::of(parent)?;
    for _ in 0..LOOKS_MAX {
        let mut ticks = seen.own.saturating_add(seen.ended_children);
        for entry in std::fs::read_dir("/proc").ok()?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let child = pid.and_then(Stat::of).filter(|stat| stat.parent == parent);
            ticks = ticks.saturating_add(child.map_or(0, |stat| stat.own));
        }
        let now = Stat::of(parent)?;
        if now.ended_children == seen.ended_children {
            return Some(TICK.saturating_mul(u32::try_from(ticks).ok()?));
        }
        seen = now;
    }
    None
}

/// What `/proc/PID/stat` says, in ticks.
#[cfg(feature = "postgres")]
struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

#[cfg(feature = "postgres")]
impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::read(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in brackets, may hold anything; the fields are counted after it.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        // After the parent stand nine fields more, then user and system time.
        let mut times = fields.skip(9).map_while(|field| field.parse::<u64>().ok());
        let mut pair = || Some(times.next()?.saturating_add(times.next()?));
        Some(Self { parent, own: pair()?, ended_children: pair()? })
    }
}

/// CPU that all processes of this machine have used.
fn machine_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests' are in user already.
    let waits = [3, 4];
    let used = fields.iter().take(8).enumerate().filter(|(at, _)| !waits.contains(at));
    let ticks: u64 = used.map(|(_, ticks)| ticks).sum();
    Some(TICK.saturating_mul(u32::try_from(ticks).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "postgres")]
    #[test]
    fn a_start_before_the_acknowledgement_is_a_negative_wait() {
        assert!((apart_ms(1_000_000, 3_500_000) - 2.5).abs() < 1e-9);
        assert!((apart_ms(3_500_000, 1_000_000) + 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_process_is_read_whatever_its_name_holds() {
        let text = "12 (a) b 7 (c) S 3 12 12 0 -1 4194560 9 8 7 6 50 5 40 4 20 0 1";
        let stat = Stat::read(text).unwrap();
        assert_eq!((stat.parent, stat.own, stat.ended_children), (3, 55, 44));
        assert!(Stat::read("12 (a) S").is_none());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn time_and_cpu_go_forwards() {
        let mut meters = Meters::own();
        let begun = meters.begin().await.unwrap();
        let sum: u64 = (0..100_000_u64).map(std::hint::black_box).sum();
        assert!(sum > 0);
        let spent = meters.end(begun).await.unwrap();
        assert!(spent.elapsed > Duration::ZERO && spent.own > Duration::ZERO);
        assert!(spent.machine.is_some() && spent.server.is_none());
        assert!(resident_mb_max().is_some_and(|mb| mb > 0));
    }
}
