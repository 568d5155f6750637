//! The one place that reads time: the wall clock for records, and a clock that runs on while the
//! machine sleeps for waits and leases. Also the text form of instants.
//! Must not know: what the time is used for.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Unix time in milliseconds. May jump, forwards and back.
    pub wall_ms: i64,
    /// Milliseconds since the machine's boot, time asleep included (on Linux; elsewhere what the
    /// system's monotonic clock counts). Never goes back within one `boot_id`.
    pub mono_ms: u64,
}

impl Now {
    /// This reading moved on, or back, to where the steady clock stands at this: no step of the wall
    /// clock since is in it.
    #[must_use]
    pub fn at(self, mono_ms: u64) -> Self {
        let wall_ms = self
            .wall_ms
            .saturating_add_unsigned(mono_ms.saturating_sub(self.mono_ms))
            .saturating_sub_unsigned(self.mono_ms.saturating_sub(mono_ms));
        Self { wall_ms, mono_ms }
    }
}

/// A source of time, cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Real,
    Manual(Arc<Mutex<Now>>),
}

/// Moves a clock made by [`Clock::manual`].
#[derive(Debug, Clone)]
pub struct ClockHand(Arc<Mutex<Now>>);

/// What never goes back and counts sleep. Only Linux promises both under one name.
#[cfg(target_os = "linux")]
const MONO: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const MONO: ClockId = ClockId::Monotonic;

impl Clock {
    /// The machine's own clocks.
    #[must_use]
    pub fn real() -> Self {
        Self(Source::Real)
    }

    /// A clock that stands still until its hand moves it. It starts on 1 January 2026, UTC, an
    /// hour after boot.
    #[must_use]
    pub fn manual() -> (Self, ClockHand) {
        let shared = Arc::new(Mutex::new(Now { wall_ms: 1_767_225_600_000, mono_ms: 3_600_000 }));
        (Self(Source::Manual(Arc::clone(&shared))), ClockHand(shared))
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::Real => Now {
                // By the system's library and not past it, so that tools which step a single
                // process's wall clock reach this one.
                wall_ms: Timestamp::now().as_millisecond(),
                mono_ms: read_mono_ms(),
            },
            Source::Manual(shared) => *shared.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Names the machine's present boot: two values of `mono_ms` can be compared only under the
    /// same name. Where the system has no such name it is always `unknown`.
    #[must_use]
    pub fn boot_id(&self) -> String {
        match &self.0 {
            Source::Real => std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map(|id| id.trim().to_owned())
                .ok()
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| "unknown".to_owned()),
            Source::Manual(_) => "manual".to_owned(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

impl ClockHand {
    /// Lets both clocks run on by so many milliseconds.
    pub fn advance(&self, by_ms: u64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.mono_ms = now.mono_ms.saturating_add(by_ms);
        now.wall_ms = now.wall_ms.saturating_add_unsigned(by_ms);
    }

    /// Sets both clocks, for instance to let the wall clock jump while the other runs on.
    pub fn set(&self, to: Now) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

fn read_mono_ms() -> u64 {
    let at = clock_gettime(MONO);
    let ms = at.tv_sec.saturating_mul(1_000).saturating_add(at.tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}

/// An instant in Unix milliseconds as RFC 3339 in UTC, always with three decimals, so that the
/// texts sort as the instants do. Instants outside the years -9999 to 9999 show as the nearest.
#[must_use]
pub fn rfc3339(wall_ms: i64) -> String {
    let nearest = if wall_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(wall_ms)
        .unwrap_or(nearest)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// An RFC 3339 text, with any offset, as Unix milliseconds; finer parts are cut off.
pub fn parse_rfc3339(text: &str) -> Result<i64, jiff::Error> {
    text.parse::<Timestamp>().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_moved_on_or_back_has_no_step_of_the_wall_clock_in_it() {
        let read = Now { wall_ms: 1_000_000, mono_ms: 5_000 };
        assert_eq!(read.at(5_700), Now { wall_ms: 1_000_700, mono_ms: 5_700 });
        assert_eq!(read.at(4_700), Now { wall_ms: 999_700, mono_ms: 4_700 });
        assert_eq!(read.at(5_000), read);
    }

    #[test]
    fn the_real_clock_reads_this_century_and_does_not_go_back() {
        let clock = Clock::real();
        let first = clock.now();
        let second = clock.now();
        assert!(first.wall_ms > 1_700_000_000_000);
        assert!(second.mono_ms >= first.mono_ms);
        assert_eq!(clock.boot_id(), clock.boot_id());
        assert!(!clock.boot_id().is_empty());
    }

    #[test]
    fn a_manual_clock_moves_only_by_its_hand_and_all_clones_see_it() {
        let (clock, hand) = Clock::manual();
        let twin = clock.clone();
        let start = clock.now();
        assert_eq!(twin.now(), start);
        hand.advance(1_500);
        assert_eq!(twin.now().mono_ms, start.mono_ms + 1_500);
        assert_eq!(twin.now().wall_ms, start.wall_ms + 1_500);
        hand.set(Now { wall_ms: 5, mono_ms: start.mono_ms });
        assert_eq!(clock.now().wall_ms, 5);
    }

    #[test]
    fn an_instant_survives_its_text_form() {
        for ms in [0, 1, 1_767_225_600_000, 1_767_225_600_123, -1] {
            assert_eq!(parse_rfc3339(&rfc3339(ms)).unwrap(), ms);
        }
        assert_eq!(rfc3339(1_767_225_600_000), "2026-01-01T00:00:00.000Z");
        assert_eq!(parse_rfc3339("2026-01-01T01:00:00+01:00").unwrap(), 1_767_225_600_000);
    }

    #[test]
    fn a_text_without_an_offset_is_refused() {
        assert!(parse_rfc3339("2026-01-01T00:00:00").is_err());
        assert!(parse_rfc3339("tomorrow").is_err());
    }

    #[test]
    fn an_instant_beyond_the_calendar_shows_as_the_nearest() {
        assert!(rfc3339(i64::MAX).starts_with("9999-12-30"));
        assert!(rfc3339(i64::MIN).starts_with("-9999-01-02"));
    }
}
