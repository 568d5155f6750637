//! An answer piece by piece, as the model writes it.
//! Must not know: how the pieces travel.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use tokio::task::JoinHandle;

use super::answer::Answer;
use super::error::Error;

/// An answer's text as it arrives. The pieces, joined, are the answer's text; an error is the last
/// item. Dropping the stream aborts the call, which is then recorded as cut: it may be billed.
///
/// What is not read is kept and joined into one piece, so a slow reader holds nothing up, and no
/// more is kept than the longest answer has (`check.answer_bytes_max`).
#[derive(Debug)]
pub struct AnswerStream {
    heard: Arc<Pieces>,
    ending: JoinHandle<Result<Answer, Error>>,
    ended: Option<Result<Answer, Error>>,
    told: bool,
}

/// The text that has arrived and is not read yet.
#[derive(Debug, Default)]
pub(super) struct Pieces(Mutex<Unread>);

#[derive(Debug, Default)]
struct Unread {
    text: String,
    reader: Option<Waker>,
}

impl Pieces {
    pub(super) fn push(&self, piece: &str) {
        let reader = {
            let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            unread.text.push_str(piece);
            unread.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// What has arrived; where that is nothing, the reader is woken when something has.
    fn take(&self, context: &Context<'_>) -> Option<String> {
        let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.text.is_empty() {
            unread.reader = Some(context.waker().clone());
            return None;
        }
        Some(std::mem::take(&mut unread.text))
    }
}

impl AnswerStream {
    pub(super) fn new(heard: Arc<Pieces>, ending: JoinHandle<Result<Answer, Error>>) -> Self {
        Self { heard, ending, ended: None, told: false }
    }

    /// The next piece of text; none after the last.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Waits for the end: the whole answer, with what it took.
    ///
    /// # Errors
    /// Those of [`Client::generate`](super::Client::generate).
    pub async fn answer(mut self) -> Result<Answer, Error> {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        let ended = std::future::poll_fn(|context| Pin::new(&mut self.ending).poll(context)).await;
        ended.unwrap_or(Err(Error::Closed))
    }
}

impl Stream for AnswerStream {
    type Item = Result<String, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended.is_none()
            && let Poll::Ready(ended) = Pin::new(&mut self.ending).poll(context)
        {
            // It is cut off only where its runtime ends.
            self.ended = Some(ended.unwrap_or(Err(Error::Closed)));
        }
        // After the end, so that what came with it is not missed.
        if let Some(piece) = self.heard.take(context) {
            return Poll::Ready(Some(Ok(piece)));
        }
        match &self.ended {
            None => Poll::Pending,
            Some(Err(error)) if !self.told => {
                let error = error.clone();
                self.told = true;
                Poll::Ready(Some(Err(error)))
            }
            Some(_) => Poll::Ready(None),
        }
    }
}

impl Drop for AnswerStream {
    fn drop(&mut self) {
        self.ending.abort();
    }
}
