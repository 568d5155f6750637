//! The relay's loop: takes results that are due, hands them on queue by queue, and notes what became
//! of them before it takes more.
//! Must not know: what a message looks like, how a queue is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Relay;
use super::decide::{Passes, given_up, passes, wait_ms};
use super::send::{Done, End, Part};
use super::target::{News, PROBED_MS, Rest, Targets};
use crate::store::{DueDelivery, Sent, StoreError, Tried};

/// After a failure of the store it is asked again so long after, in milliseconds.
const STORE_MS: u64 = 500;
/// Told of an end, it looks again so long after its last look, in milliseconds ...
const WOKEN_MS: u64 = 50;
/// ... if there was something to send within this time: most jobs ask for no reply.
const WARM_MS: u64 = 60_000;
/// The loop comes round so often at least, in milliseconds.
const LAP_MS: u64 = 1_000;
/// A result takes so much memory until it is known better, in bytes.
const ROW_BYTES: usize = 4_096;

/// When the loop ends.
pub(super) enum Until {
    /// Once this is cancelled and nothing is on its way.
    Drained(CancellationToken),
    /// Once nothing is due and nothing on its way.
    Idle,
}

/// What is needed of a result after it was sent.
struct Slip {
    job_id: Uuid,
    /// Which of its ends.
    seq: i64,
    tries: u32,
    since: i64,
}

/// Results on their way.
struct Flight {
    to: String,
    bytes: usize,
    /// Since when it shows whether its queue takes messages at all; none where that is known.
    probes_since: Option<u64>,
}

/// One run's state.
pub(super) struct Desk<'r> {
    relay: &'r Relay,
    targets: Targets,
    sending: JoinSet<(Vec<Slip>, Done)>,
    flights: HashMap<Id, Flight>,
    /// What became of results and is not noted yet.
    unsettled: Vec<Tried>,
    rng: StdRng,
    /// How large a result was on average when some were taken last.
    row_bytes: usize,
    look_mono_ms: u64,
    looked_mono_ms: u64,
    found_mono_ms: Option<u64>,
    /// Results that wait for a queue to be tried come again at this time.
    comes_mono_ms: u64,
    /// The last look found nothing.
    is_idle: bool,
    store_fails: bool,
}

impl<'r> Desk<'r> {
    pub(super) fn new(relay: &'r Relay) -> Self {
        Self {
            relay,
            targets: Targets::default(),
            sending: JoinSet::new(),
            flights: HashMap::new(),
            unsettled: Vec::new(),
            rng: StdRng::from_rng(&mut rand::rng()),
            row_bytes: ROW_BYTES,
            look_mono_ms: 0,
            looked_mono_ms: 0,
            found_mono_ms: None,
            comes_mono_ms: 0,
            is_idle: false,
            store_fails: false,
        }
    }

    pub(super) async fn work(mut self, until: Until) {
        let (drain, ends_idle) = match until {
            Until::Drained(drain) => (drain, false),
            Until::Idle => (CancellationToken::new(), true),
        };
        loop {
            self.relay.shared.pulse.lap(self.now());
            let store_waits = self.now() < self.look_mono_ms && self.store_fails;
            if !self.unsettled.is_empty() && !store_waits {
                self.settle().await;
            }
            let is_done = self.sending.is_empty() && self.unsettled.is_empty();
            if is_done && (drain.is_cancelled() || (ends_idle && self.is_idle)) {
                return;
            }
            if is_done && ends_idle && !self.store_fails {
                // Nothing more can become due by our own doing but what waits for a queue's trial.
                self.look_mono_ms = self.look_mono_ms.min(self.comes_mono_ms);
            }
            if !drain.is_cancelled() && self.has_room() && self.now() >= self.look_mono_ms {
                self.look().await;
                continue;
            }
            self.wait(&drain).await;
        }
    }

    /// Waits until something has changed.
    async fn wait(&mut self, drain: &CancellationToken) {
        let (now, has_room) = (self.now(), self.has_room());
        let left_ms = match self.look_mono_ms.saturating_sub(now) {
            ms @ 1.. => ms.min(LAP_MS),
            0 => LAP_MS,
        };
        let is_warm = self.found_mono_ms.is_some_and(|found| now.saturating_sub(found) < WARM_MS);
        let listens = has_room && is_warm && !self.store_fails && !drain.is_cancelled();
        tokio::select! {
            Some(ended) = self.sending.join_next_with_id() => self.take(ended),
            () = tokio::time::sleep(Duration::from_millis(left_ms)) => {}
            () = self.relay.wake.notified(), if listens => {
                let soon = self.looked_mono_ms.saturating_add(WOKEN_MS);
                self.look_mono_ms = self.look_mono_ms.min(soon);
            }
            () = drain.cancelled(), if !drain.is_cancelled() => {}
        }
    }

    fn now(&self) -> u64 {
        self.relay.sender.clock.now().mono_ms
    }

    fn bytes_left(&self) -> usize {
        let in_flight: usize = self.flights.values().map(|flight| flight.bytes).sum();
        self.relay.sender.options.bytes_max.saturating_sub(in_flight)
    }

    /// Whether more results may be taken: nothing waits to be noted, and neither queues nor bytes on
    /// their way are too many.
    fn has_room(&self) -> bool {
        // The next results may be for a queue that is just being tried.
        let now = self.now();
        let is_recent = |since: u64| now.saturating_sub(since) < PROBED_MS;
        if self.flights.values().any(|flight| flight.probes_since.is_some_and(is_recent)) {
            return false;
        }
        let is_free = self.sending.len() < self.relay.sender.options.targets_max.max(1);
        self.unsettled.is_empty() && is_free && self.bytes_left() > 0
    }

    /// Takes what is due and sends it on its way.
    async fn look(&mut self) {
        let options = &self.relay.sender.options;
        let fit = u32::try_from(self.bytes_left() / self.row_bytes.max(1)).unwrap_or(u32::MAX);
        let rows_max = fit.clamp(1, options.rows_max.max(1));
        let (hold_ms, poll_ms) = (options.hold_ms, options.poll_ms.max(1));
        // Before they are taken, so that we never think them ours for longer than they are.
        let now = self.now();
        self.looked_mono_ms = now;
        let rows = match self.relay.store.take_deliveries(rows_max, hold_ms).await {
            Ok(rows) => rows,
            Err(error) => {
                self.store_failed(&error, "results to send are not read");
                self.is_idle = true;
                return;
            }
        };
        self.store_works();
        self.is_idle = rows.is_empty() && now >= self.comes_mono_ms;
        let is_full = u32::try_from(rows.len()).is_ok_and(|rows| rows >= rows_max);
        self.look_mono_ms = if is_full { now } else { now.saturating_add(poll_ms) };
        if rows.is_empty() {
            return;
        }
        self.found_mono_ms = Some(now);
        let bytes: usize = rows.iter().map(size).sum();
        self.row_bytes = (bytes / rows.len().max(1)).max(1);
        let mut parts: BTreeMap<String, Vec<DueDelivery>> = BTreeMap::new();
        for row in rows {
            parts.entry(row.reply.to.clone()).or_default().push(row);
        }
        for (to, rows) in parts {
            self.begin(to, rows, now);
        }
    }

    fn begin(&mut self, to: String, rows: Vec<DueDelivery>, now: u64) {
        // Admission has looked as well; the configuration may be another one since.
        if let Some(reason) = self.relay.sender.options.allow.refusal(&to) {
            let given_up =
                |row: &DueDelivery| Slip::of(row).tried(Sent::Undeliverable(reason.clone()));
            tracing::warn!(queue = to, "{} results were given up: {reason}", rows.len());
            self.unsettled.extend(rows.iter().map(given_up));
            return;
        }
        let slips: Vec<Slip> = rows.iter().map(Slip::of).collect();
        let known = match self.targets.begin(&to, now) {
            Ok(known) => known,
            Err(rest) => {
                if rest.is_short {
                    self.comes_mono_ms = now.saturating_add(rest.ms);
                }
                let put_off: Vec<_> = slips
                    .iter()
                    .map(|slip| slip.tried(self.put_off(slip, Some(&rest), false)))
                    .collect();
                self.unsettled.extend(put_off);
                return;
            }
        };
        let bytes = rows.iter().map(size).sum();
        let probes_since = (!known.is_proven).then_some(now);
        let part = Part { to: to.clone(), known, rows, taken_mono_ms: now };
        let sender = Arc::clone(&self.relay.sender);
        let handle = self.sending.spawn(async move {
            let done = sender.send(&part).await;
            (slips, done)
        });
        self.flights.insert(handle.id(), Flight { to, bytes, probes_since });
    }

    /// What came back is judged; the store hears of it next.
    fn take(&mut self, ended: Result<(Id, (Vec<Slip>, Done)), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(Flight { to, .. }) = self.flights.remove(&id) else { return };
        let (slips, done) = match ended {
            Ok((_, ended)) => ended,
            Err(error) => {
                // They are due again when the hold is over.
                tracing::error!(queue = to, %error, "sending results broke");
                self.targets.lost(&to);
                return;
            }
        };
        let at = (&self.relay.sender.options, self.now());
        let found = (done.known, done.whole.as_ref());
        let (rest, news) = self.targets.end(&to, found, at, &mut self.rng);
        self.relay.shared.note(self.targets.failing());
        tell(&to, news);
        let failed = matches!(done.whole, Some(Err(_)));
        let (mut given_up, mut waits) = (0_usize, None);
        for (slip, end) in slips.iter().zip(done.ends) {
            let sent = match end {
                End::Delivered => Sent::Delivered,
                End::Failed(error) if passes(error.kind) == Passes::Never => {
                    Sent::Undeliverable(error.message)
                }
                End::Failed(error) => {
                    let passes = passes(error.kind);
                    let options = &self.relay.sender.options;
                    let own_ms = wait_ms(passes, slip.tries, options, &mut self.rng);
                    let ms = rest.as_ref().map_or(own_ms, |rest| rest.ms.max(own_ms));
                    waits.get_or_insert_with(|| error.message.clone());
                    self.put_off(slip, Some(&Rest::of(ms, error.message)), true)
                }
                // A queue that failed as a whole was tried for all of them.
                End::Unsent if failed => self.put_off(slip, rest.as_ref(), true),
                End::Unsent => self.put_off(slip, rest.as_ref(), false),
            };
            given_up = given_up.saturating_add(usize::from(matches!(sent, Sent::Undeliverable(_))));
            self.unsettled.push(slip.tried(sent));
        }
        if let Some(why) = waits.filter(|_| !failed)
            && self.targets.may_tell(&to, self.now())
        {
            // As where the bucket of large ones fails: the queue itself takes the others.
            tracing::warn!(queue = to, "results to {to} wait: {why}; they are tried again");
        }
        if given_up > 0 {
            tracing::warn!(
                queue = to,
                "{given_up} results were given up; `quarrier deliveries list` says why, `quarrier \
                 deliveries retry` sends them again"
            );
        }
    }

    /// A result that comes again, or is given up because that went on for too long.
    fn put_off(&mut self, slip: &Slip, rest: Option<&Rest>, was_tried: bool) -> Sent {
        let options = &self.relay.sender.options;
        let reason = rest.map_or("there was no time left to send it", |rest| rest.reason.as_str());
        let age_ms = self.relay.sender.clock.now().wall_ms.saturating_sub(slip.since);
        let age_ms = u64::try_from(age_ms).unwrap_or(0);
        let tries = slip.tries.saturating_add(u32::from(was_tried));
        let wait_ms = rest.map_or(0, |rest| rest.ms);
        match given_up(tries, age_ms, options) {
            Some(why) => Sent::Undeliverable(format!("{why}; the last try: {reason}")),
            None if was_tried => Sent::Again(wait_ms, reason.to_owned()),
            None => Sent::Later(wait_ms, reason.to_owned()),
        }
    }

    /// Notes what became of results. One that cannot be noted is sent again, so the others are kept
    /// from it.
    async fn settle(&mut self) {
        let store = &self.relay.store;
        match store.settle_deliveries(&self.unsettled).await {
            Ok(()) => {}
            Err(StoreError::Data(_)) => {
                for one in std::mem::take(&mut self.unsettled) {
                    if let Err(error) = store.settle_deliveries(std::slice::from_ref(&one)).await {
                        tracing::error!(job.id = %one.job_id, %error, "what became of a result is not noted");
                    }
                }
            }
            Err(error) => {
                self.store_failed(&error, "what became of results is not noted");
                return;
            }
        }
        self.unsettled.clear();
        self.store_works();
    }

    fn store_failed(&mut self, error: &StoreError, what: &str) {
        if !self.store_fails {
            tracing::warn!(%error, "{what}");
        }
        self.store_fails = true;
        self.look_mono_ms = self.now().saturating_add(STORE_MS);
    }

    fn store_works(&mut self) {
        if std::mem::take(&mut self.store_fails) {
            tracing::info!("results are read and noted again");
        }
    }
}

impl Slip {
    fn of(row: &DueDelivery) -> Self {
        let DueDelivery { result, tries, since, .. } = row;
        Self { job_id: result.job_id, seq: result.seq, tries: *tries, since: *since }
    }

    fn tried(&self, sent: Sent) -> Tried {
        Tried { job_id: self.job_id, seq: self.seq, sent }
    }
}

/// About how much memory a result takes.
fn size(row: &DueDelivery) -> usize {
    let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let result = &row.result;
    let bodies = [&result.output, &result.text, &result.metadata, &result.error_message];
    bodies.into_iter().map(of).sum::<usize>().saturating_add(1_024)
}

/// Once for each queue and reason.
fn tell(to: &str, news: Option<News>) {
    match news {
        Some(News::Fails(error)) => tracing::warn!(
            queue = to,
            "results wait for the queue {to}: {error}; they are sent when it takes them"
        ),
        Some(News::Works) => tracing::info!(queue = to, "the queue {to} takes results again"),
        None => {}
    }
}
