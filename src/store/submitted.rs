//! Documents that other programs have put in and no worker has admitted yet, as people look at them
//! and take them back.
//! Must not know: SQL, engines, how they are printed.

use uuid::Uuid;

/// What is shown of a document that does not say it.
#[derive(Debug, Clone, Default)]
pub struct SubmittedDefaults {
    /// Its named queue.
    pub queue: String,
    /// Whose it is.
    pub tenant: String,
    /// Its model.
    pub model: String,
}

/// Which of them.
#[derive(Debug, Clone, Default)]
pub struct SubmittedFilter {
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// For this model, in the document's own words.
    pub model: Option<String>,
    /// Put in at or after this time, in Unix ms; what came in at an unknown time passes.
    pub since: Option<i64>,
    /// Put in before this one: the last one's `seq` of the page before.
    pub before: Option<i64>,
    /// What a document has that does not say it.
    pub defaults: SubmittedDefaults,
    /// At most so many.
    pub rows_max: u32,
}

/// A document that waits to be admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The order of its arrival.
    pub seq: i64,
    /// The row's key.
    pub key: String,
    /// The id that its job will have, where that is settled already.
    pub job_id: Option<Uuid>,
    /// The producer's id.
    pub external_id: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// Its queue.
    pub queue: String,
    /// Its model, in the document's own words.
    pub model: String,
    /// When it was put in, in Unix ms; absent where nothing says so.
    pub submitted_at: Option<i64>,
    /// What was handed in, unchecked; left out of lists.
    pub document: Option<String>,
}

/// A document that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    /// The row's key.
    pub key: String,
    /// The job that it became, which is cancelled.
    pub job_id: Uuid,
}
