//! The loops that ask for messages: one waits for them, more help while its requests come back full.
//! Must not know: what a message says, how it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::backoff::{self, Backoff};
use super::gate::Open;
use super::stand::Doing;
use super::{Run, admit};
use crate::message_queue::{QueueResult, ReceiveAsk, Received};

/// The most messages of one request, as queue services have it.
const MESSAGES_MAX: u32 = 10;
/// How long a further loop's request waits for a first message, in seconds. One that does not wait at all
/// asks some of the service's servers only, and may bring nothing from a queue that is full.
const FURTHER_WAIT_S: u32 = 1;
/// How often it is looked whether jobs that keep it waiting are done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What one round came to.
enum Round {
    /// As many messages came as were asked for: there may be more.
    Full,
    /// Fewer came, or none.
    Rest,
    /// The queue or the store failed; the round has waited for it.
    Failed,
}

/// Receives until the drain.
pub(super) async fn keep(run: &Arc<Run>) {
    let more = Arc::new(Notify::new());
    let mut further = JoinSet::new();
    for _ in 1..run.bench.options.receive_loops_max {
        further.spawn(go_along(Arc::clone(run), Arc::clone(&more)));
    }
    let mut backoff = Backoff::of_queue();
    while !run.drain.is_cancelled() {
        let wait_s = run.bench.options.wait_s;
        if let Round::Full = round(run, wait_s, &mut backoff).await {
            more.notify_one();
        }
    }
    while let Some(ended) = further.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a loop of the intake broke");
        }
    }
}

/// Asks beside the first loop from a full request on, until its own are not full any more: an idle queue is asked by the
/// first loop alone.
async fn go_along(run: Arc<Run>, more: Arc<Notify>) {
    let mut backoff = Backoff::of_queue();
    loop {
        tokio::select! {
            () = run.drain.cancelled() => return,
            () = more.notified() => {}
        }
        while !run.drain.is_cancelled()
            && let Round::Full = round(&run, FURTHER_WAIT_S, &mut backoff).await
        {
            more.notify_one();
        }
    }
}

/// One request, and all that is done with what it brings.
async fn round(run: &Run, wait_s: u32, backoff: &mut Backoff) -> Round {
    let bench = &run.bench;
    match bench.gate.is_open(bench).await {
        Open::Yes => bench.stand.receives(),
        Open::Backlog => {
            let max = bench.options.backlog_max;
            bench.stand.waits(format!("{max} jobs wait in the store (sqs.backlog_max)"));
            backoff::sleep(LOOK_EVERY, &run.drain).await;
            return Round::Rest;
        }
        Open::Away(why) => {
            bench.stand.store_away(&why);
            backoff.wait(&run.drain).await;
            return Round::Failed;
        }
    }
    let Some(room) = Room::take(run).await else { return Round::Rest };
    let asked_mono_ms = bench.clock.now().mono_ms;
    let received = tokio::select! {
        // Messages that are on their way at this moment come back when their time is over.
        () = run.drain.cancelled() => return Round::Rest,
        received = ask(run, room.messages, wait_s) => received,
    };
    let messages = match received {
        Ok(messages) => messages,
        Err(error) => {
            bench.stand.troubled(Doing::Receive, &error);
            drop(room);
            backoff.wait(&run.drain).await;
            return Round::Failed;
        }
    };
    backoff.reset();
    bench.stand.works(Doing::Receive);
    if messages.is_empty() {
        return Round::Rest;
    }
    bench.stand.count_received(messages.len());
    let is_full = u32::try_from(messages.len()).is_ok_and(|came| came >= room.messages);
    // What waited for its first message cannot say when that came: its time is counted from the
    // answer, which was a moment ago; from the request, where that was not much earlier.
    let got_mono_ms =
        if wait_s <= FURTHER_WAIT_S { asked_mono_ms } else { bench.clock.now().mono_ms };
    admit::take_in(run, messages, got_mono_ms).await;
    drop(room);
    if is_full { Round::Full } else { Round::Rest }
}

async fn ask(run: &Run, messages_max: u32, wait_s: u32) -> QueueResult<Vec<Received>> {
    let ask = ReceiveAsk {
        url: run.place.url.clone(),
        messages_max,
        wait_s,
        visibility_s: run.bench.options.visibility_s,
    };
    run.bench.doors.queue.receive(&ask).await
}

/// Room for messages that are asked for, kept free until they are held.
struct Room<'r> {
    run: &'r Run,
    messages: u32,
    /// Some of it is reserved among the messages that may be held.
    reserved: bool,
}

impl<'r> Room<'r> {
    /// Waits for room; none where it has waited long enough to look at everything anew.
    async fn take(run: &'r Run) -> Option<Self> {
        let bench = &run.bench;
        if !bench.holds_messages() {
            return Some(Self { run, messages: MESSAGES_MAX, reserved: false });
        }
        let max = bench.options.held_max;
        let messages = bench.holds.reserve(MESSAGES_MAX, max);
        if messages > 0 {
            return Some(Self { run, messages, reserved: true });
        }
        bench.stand.waits(format!("{max} messages are held until their jobs end (sqs.held_max)"));
        tokio::select! {
            () = run.drain.cancelled() => {}
            () = bench.holds.freed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        None
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.reserved {
            self.run.bench.holds.release(self.messages);
        }
    }
}
