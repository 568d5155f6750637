//! How queues and tenants share lanes, as it passes through the store port: what configuration says
//! of them, and where each queue stands.
//! Must not know: SQL, engines, how any of it is printed.

use serde::{Deserialize, Serialize};

/// How one named queue shares its lanes with others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueShare {
    /// As jobs name it.
    pub name: String,
    /// How many of its jobs run at once in all processes; none = as many as fit.
    pub concurrency_max: Option<u32>,
    /// The part of each rate, in thousandths, within which its jobs go before all others.
    pub reserved_permille: u32,
    /// How many turns it has for one of another queue's; more than 0.
    pub weight: f64,
}

impl QueueShare {
    /// A queue of which nothing is said.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, concurrency_max: None, reserved_permille: 0, weight: 1.0 }
    }

    /// Claims must look at it: it has a cap or a reserved share.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.concurrency_max.is_some() || self.reserved_permille > 0
    }
}

/// How many turns a tenant has for one of another's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantShare {
    /// As jobs name it.
    pub name: String,
    /// More than 0; a tenant of which nothing is said has 1.
    pub weight: f64,
}

/// What configuration says of queues and tenants. All processes read it from the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// By name.
    pub queues: Vec<QueueShare>,
    /// By name.
    pub tenants: Vec<TenantShare>,
}

impl Shares {
    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.tenants.is_empty()
    }
}

/// Where one queue stands. A queue is listed if it is configured, or has jobs that have not ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueRow {
    /// What is configured of it.
    pub share: QueueShare,
    /// Jobs that wait, for their time or for their turn.
    pub ready: u64,
    /// Jobs in flight.
    pub running: u64,
    /// Jobs that wait for a person.
    pub held: u64,
}

/// The beginning of the names of keys that only measure what a queue has used of a lane's own limit.
/// No limit matches them.
pub const SHARE_PREFIX: &str = "share:";
