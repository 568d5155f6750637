//! One wire call under its clocks, through whichever interface: begun, awaited piece by piece,
//! and ended as a completion or as a typed failure.
//! Must not know: the SDK, credentials, regions, retries.

use std::pin::Pin;

use tokio::time::timeout_at;

use super::clocks::Running;
use super::fault::failed;
use crate::completion::Completion;
use crate::error::ErrorKind;
use crate::native;
use crate::provider::{CallError, FailedCharge, Heard};

/// An answer whose HTTP status was 200, as it arrives. What is not streamed arrives as one piece.
pub(super) trait Arriving: Sized + Send {
    /// Awaits the next piece and takes it in. Gives the answer's text that a stream's piece
    /// added, perhaps none, or nothing at the answer's end. `began` says whether a piece had
    /// arrived before.
    fn next(&mut self, began: bool)
    -> impl Future<Output = Result<Option<&str>, CallError>> + Send;

    /// True once a stream's closing parts have arrived.
    fn is_complete(&self) -> bool;

    /// Reads a complete answer's stream to its own end, and passes over what still comes.
    fn rest(&mut self) -> impl Future<Output = ()> + Send;

    /// The text so far, for the record of a call that failed.
    fn partial(self) -> Option<String>;

    /// The complete answer; the text so far where its closing parts never came.
    fn finish(self) -> Result<native::Answer, Option<String>>;
}

/// An answer that has begun, and the provider's request id.
pub(super) struct Begun<A> {
    pub(super) answer: A,
    pub(super) request_id: Option<String>,
}

/// A call on its way to an answer that has begun. The SDK's own future is large; on the heap it
/// does not grow every future that awaits this one.
pub(super) type Beginning<'a, A> =
    Pin<Box<dyn Future<Output = Result<Begun<A>, CallError>> + Send + 'a>>;

/// Makes the call.
pub(super) async fn make<A: Arriving>(
    beginning: Beginning<'_, A>,
    running: &Running,
    heard: &Heard,
) -> Result<Completion, CallError> {
    let first = running.first();
    let Begun { mut answer, request_id } = match timeout_at(first.at, beginning).await {
        Ok(begun) => begun?,
        Err(_) => return Err(running.missed(first)),
    };
    let mut first_token_ms = None;
    let hear = |piece: &str| {
        first_token_ms.get_or_insert_with(|| running.elapsed_ms());
        heard(piece);
    };
    let read = read(&mut answer, running, hear).await;
    let ended = match read {
        // Too long, or refused in the middle: whatever was said, the answer does not stand.
        Err(error) if !fell_silent(error.kind) => Err((error, answer.partial())),
        read => answer.finish().map_err(|partial| (read.err().unwrap_or_else(cut), partial)),
    };
    match ended {
        Ok(whole) => Ok(Completion {
            text: whole.text,
            stop: whole.stop,
            usage: whole.usage,
            request_id,
            first_token_ms,
            total_ms: running.elapsed_ms(),
        }),
        Err((error, partial_text)) => Err(CallError { request_id, partial_text, ..error }),
    }
}

/// Whether a stream that failed so has merely not ended. If everything had been said by then, the
/// answer stands: it is paid for.
fn fell_silent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::IdleTimeout | ErrorKind::CallTimeout | ErrorKind::StreamCut)
}

/// Reads the answer to its end.
async fn read<A: Arriving>(
    answer: &mut A,
    running: &Running,
    mut hear: impl FnMut(&str),
) -> Result<(), CallError> {
    let mut deadline = running.first();
    let mut began = false;
    loop {
        match timeout_at(deadline.at, answer.next(began)).await {
            Err(_) => return Err(running.missed(deadline)),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(""))) => {}
            Ok(Ok(Some(added))) => hear(added),
        }
        began = true;
        if running.streamed() && answer.is_complete() {
            // Whatever comes or fails here, the answer is whole and paid for.
            drop(timeout_at(running.stream_end(), answer.rest()).await);
            return Ok(());
        }
        deadline = running.idle();
    }
}

/// The failure of a stream that ended too early.
fn cut() -> CallError {
    let message = "the answer ended without its stop reason and usage";
    failed(ErrorKind::StreamCut, message, FailedCharge::Unknown)
}

/// The failure of an answer that outgrew the bytes allowed.
pub(super) fn too_large(answer_bytes_max: usize) -> CallError {
    let message = format!("the answer is longer than {answer_bytes_max} bytes (answer_bytes_max)");
    failed(ErrorKind::AnswerTooLarge, &message, FailedCharge::Unknown)
}
