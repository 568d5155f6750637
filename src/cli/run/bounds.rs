//! The flags that end a run early: so much money, so many failures.
//! Must not know: how a run is ended.

use std::str::FromStr;

use crate::worker::Status;

/// `--stop-if-failed 20%/50`: a share of a number of jobs; `--stop-if-failed 10`: a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopIfFailed {
    failed: Failed,
    /// Nothing is stopped before so many jobs of this run have finished.
    finished_min: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Jobs(u64),
    Percent(u64),
}

impl FromStr for StopIfFailed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is neither a number of failed jobs (10) nor a share of a number of \
                 finished ones (20%/50)"
            )
        };
        let number = |part: &str| part.parse::<u64>().ok().filter(|number| *number > 0);
        let Some((share, of)) = text.split_once('/') else {
            let jobs = number(text).ok_or_else(wrong)?;
            return Ok(Self { failed: Failed::Jobs(jobs), finished_min: 0 });
        };
        let percent = share.strip_suffix('%').and_then(number).filter(|percent| *percent <= 100);
        match (percent, number(of)) {
            (Some(percent), Some(finished_min)) => {
                Ok(Self { failed: Failed::Percent(percent), finished_min })
            }
            _ => Err(wrong()),
        }
    }
}

impl StopIfFailed {
    /// Whether so many jobs of this run have failed.
    pub(super) fn is_reached(self, status: &Status) -> bool {
        let failed = status.failed;
        let finished = status.succeeded.saturating_add(failed).saturating_add(status.other_ends);
        match self.failed {
            Failed::Jobs(jobs) => failed >= jobs,
            Failed::Percent(percent) => {
                finished >= self.finished_min
                    && failed.saturating_mul(100) >= finished.saturating_mul(percent)
            }
        }
    }
}

/// Dollars, written as a decimal number, as micro-dollars; exactly.
pub(in crate::cli) fn dollars(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no amount of dollars, such as 5 or 0.25");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty()
        || whole.is_empty()
        || part.len() > 6
        || !all_digits(whole)
        || !all_digits(part)
    {
        return Err(wrong());
    }
    let micros = format!("{part:0<6}").parse::<u64>().map_err(|_| wrong())?;
    let whole = whole.parse::<u64>().map_err(|_| wrong())?;
    whole.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micros)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(succeeded: u64, failed: u64) -> Status {
        Status { succeeded, failed, ..Status::default() }
    }

    #[test]
    fn a_share_is_looked_at_once_enough_jobs_have_finished() {
        let stop: StopIfFailed = "20%/50".parse().unwrap();
        assert!(!stop.is_reached(&after(0, 49)));
        assert!(!stop.is_reached(&after(41, 9)));
        assert!(stop.is_reached(&after(40, 10)));
    }

    #[test]
    fn a_number_holds_from_the_start() {
        let stop: StopIfFailed = "3".parse().unwrap();
        assert!(!stop.is_reached(&after(100, 2)));
        assert!(stop.is_reached(&after(0, 3)));
    }

    #[test]
    fn what_is_no_bound_is_refused() {
        for text in ["", "0", "-1", "20%", "20/50", "120%/50", "20%/0", "x%/5"] {
            assert!(text.parse::<StopIfFailed>().is_err(), "{text}");
        }
    }

    #[test]
    fn dollars_are_read_exactly() {
        assert_eq!(dollars("5"), Ok(5_000_000));
        assert_eq!(dollars("0.25"), Ok(250_000));
        assert_eq!(dollars("0.000001"), Ok(1));
        assert_eq!(dollars("2."), Ok(2_000_000));
        for text in ["", ".5", "-1", "1,5", "0.0000001", "1e3", "99999999999999999"] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }
}
