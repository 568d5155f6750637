//! What every engine decides alike, between reading rows and writing them: pure functions, so that
//! two engines cannot come to differ.
//! Must not know: SQL, engines, transactions.

pub(super) mod admission;
pub(super) mod candidates;
pub(super) mod crash;
pub(super) mod delivering;
pub(super) mod erasing;
pub(super) mod halts;
pub(super) mod places;
pub(super) mod restoring;
pub(super) mod retaining;
pub(super) mod seeds;
pub(super) mod settling;
pub(super) mod sharing;
pub(super) mod taking_back;
