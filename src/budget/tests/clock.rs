//! Lane time from a wall clock that steps.
//! Must not know: charges.

use super::super::*;

#[test]
fn lane_time_follows_the_wall_clock_and_stands_still_across_steps() {
    let mut clock = LaneClock::default();
    let mut read = |last, wall_ms, steady_ms| {
        let (LaneTime(lane_ms), contact) = clock.read(last, wall_ms, steady_ms);
        (lane_ms, Some(contact))
    };
    let (lane, a) = read(None, 1_000_000, 10);
    assert_eq!(lane, 0, "nobody knows how much time has passed");
    let (lane, a) = read(a, 1_005_000, 5_010);
    assert_eq!(lane, 5_000);
    let (lane, b) = read(None, 1_006_000, 77);
    assert_eq!(lane, 5_000, "a process that remembers nothing");
    let (lane, a) = read(a, 1_007_000, 7_010);
    assert_eq!(lane, 6_000, "the second that nobody could vouch for is lost");
    // The wall clock steps by an hour; a sees it, and b learns it from a.
    let (lane, a) = read(a, 4_608_000, 8_010);
    assert_eq!(lane, 6_000);
    let (lane, b) = read(b, 1_009_000, 3_077);
    assert_eq!(lane, 6_000, "it stepped back, and b was asleep all the while");
    let (lane, _) = read(b, 1_010_000, 4_077);
    assert_eq!(lane, 7_000);
    let (lane, _) = read(a, 1_011_000, 11_010);
    assert_eq!(lane, 7_000, "a sees the step back");
}

#[test]
fn a_step_that_only_others_saw_does_not_move_lane_time_on() {
    let mut clock = LaneClock::default();
    let hour_ms = 3_600_000;
    let (_, a) = clock.read(None, 10 * hour_ms, 0);
    let (_, b) = clock.read(None, 10 * hour_ms, 0);
    // Two hours pass without contact; the wall clock goes back by one, b sees it, and it returns.
    let (_, b) = clock.read(Some(b), 11 * hour_ms, 2 * hour_ms);
    let (before, _) = clock.read(Some(b), 11 * hour_ms + 1_000, 2 * hour_ms + 1_000);
    // For a, which slept, wall and steady clock agree.
    let (lane, a) = clock.read(Some(a), 12 * hour_ms + 2_000, 2 * hour_ms + 2_000);
    assert_eq!(lane, before);
    let (lane, _) = clock.read(Some(a), 12 * hour_ms + 3_000, 2 * hour_ms + 3_000);
    assert_eq!(lane, before.plus_ms(1_000));
}

#[test]
fn lane_time_never_passes_faster_than_the_process_s_own_time() {
    let mut clock = LaneClock::default();
    let (_, a) = clock.read(None, 1_000_000, 0);
    let (lane, _) = clock.read(Some(a), 1_002_500, 1_000);
    assert_eq!(lane, LaneTime(1_000), "a second and a half are no step, and not believed");
}
