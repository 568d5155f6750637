//! The arithmetic of the shared quota: what a call reserves, what it settles to, and which calls
//! of a lane may start now.
//! Must not know: stores, clocks, providers, jobs. Time is an argument, state is a value.
//!
//! One [`BudgetState`] stands for one key (`total`, a lane, a queue, a tenant). Two rules guard
//! it, and both must allow a call.
//!
//! * The *guard* is a ring of 243 slots of 0.25 s. A call is charged to the slot in which it is
//!   claimed: its reservation while in flight, its settled use afterwards. A slot is forgotten
//!   when all of it is older than the 60 s window and a 0.5 s guard time. A call is admitted only
//!   if the exact sum plus its reservation does not exceed the limit; a little room is kept for a
//!   call that has used more than it reserved and is not settled yet.
//! * The *pace* is a bucket that refills with limit / window and is charged with the use that is
//!   expected; when a call settles, the difference to its real use is booked. It may run into
//!   debt, but only an even account admits. It turns "everything in the first second of each
//!   minute" into a steady flow, and keeps calls that cost more than they reserve (burndown) from
//!   swinging between too many and none.
//!
//! *Calls that cost more than the provider reserves* (burndown). A reservation is at least the
//! expected use, so on average nothing is left to be charged at the end. A call longer than the
//! window ends when its slot is forgotten: its excess is charged to the present slot, its refund
//! is dropped; where reservations are used up on average, dropped refunds are set against later
//! excesses. None of this lowers what the guard counts for calls of the last window.
//!
//! *A key is kept for whoever waits too long.* Smaller draws pass one that does not fit for 30 s;
//! then nobody else is admitted on the key that it waits for (a shared key too, or another lane
//! could starve it for ever) until it fits, or no longer asks.
//!
//! Measured by `cargo test --lib budget::tests::hour -- --nocapture`, reservations of at most
//! 0.70 % of the limit, providers that count by window and by bucket: with burndown 1, 98.5 to
//! 98.8 % of the provider's window and no throttle, for calls of 1 s to 3 min; with burndown 5,
//! 97.2 to 98.7 % and at most 0.35 % throttled. Where outputs settle to three times what the
//! provider reserves, tokens settled per minute are the measure, because more of them would
//! overdraw a bucket: 98.1 to 98.6 % of the limit and no throttle; 93.8 to 97.2 % if all calls
//! take 70 to 120 s, with up to 0.5 % throttled. The loss is the guard time (0.6 s in 60.6 s) and
//! half a reservation.
//!
//! What the adapter that keeps the states must do:
//!
//! * [`BudgetState::advance`] takes a clock that never runs faster than real time. [`LaneClock`] is
//!   one for processes that share a wall clock (the database's): across a step it stands still.
//!   Processes of one machine may simply use its steady clock. Where lane time must jump (another
//!   boot, another clock), the adapter calls [`BudgetState::step`] instead, or
//!   [`BudgetState::rebase`]: every live charge then counts as if made now. At most one window of
//!   throughput is lost.
//! * A throttled call is settled (tokens 0) before [`BudgetState::throttled`] is called.
//! * The slots that [`Decision::Claim`] names are kept with the attempt and given back to
//!   [`BudgetState::settle`] or [`BudgetState::give_back`], exactly once.

mod charge;
mod effective;
mod excess;
mod fit;
mod lane_clock;
mod late;
mod pace;
mod ring;
mod state;
#[cfg(test)]
mod tests;

pub use charge::{Charge, Dimension, LaneTime, Limit, Slot, reservation, settled};
pub use fit::{Decision, Draw, FitPolicy, Keyed, Plan, fit};
pub use lane_clock::{Contact, LaneClock};
pub use state::{BudgetState, Level, LevelOf, Pass};

/// The provider's window: limits are per minute.
pub const WINDOW_MS: u64 = 60_000;

/// How much longer than the window a charge is kept, for calls that overtake each other on their
/// way to the provider.
pub const GUARD_MS: u64 = 500;

/// The length of a slot of the ring.
pub const SLOT_MS: u64 = 250;
