//! What a fault does to an answer's bytes. Must not know: clocks, who asked, any interface's own
//! words: it works on whole bodies and on frames.

use bytes::{Bytes, BytesMut};

use super::fault::{Fault, Problem, Strike};
use super::frames::{write_event, write_exception};
use super::reply;
use super::spelt::{Event, Events};

/// How a damaged answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// As it should, whatever is missing.
    End,
    /// It never ends.
    Silence,
    /// From this byte on it comes byte by byte, and never ends.
    Drip(usize),
    /// The connection breaks.
    Break,
    /// `content-length` says so many bytes.
    Length(usize),
}

/// The frames that are sent, and what comes then.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) frames: Bytes,
    pub(super) events: Vec<Event>,
    pub(super) then: Then,
    /// The exception that broke it off.
    pub(super) broken_off: Option<&'static str>,
}

/// A stream with its fault.
pub(super) fn stream(events: Events, fault: Option<Fault>, model_id: &str) -> Stream {
    let (frames, events) = events.into_parts();
    let whole = Stream { frames, events, then: Then::End, broken_off: None };
    let Some(fault) = fault else { return whole };
    match fault.strike() {
        Strike::InStream(problem) | Strike::InInvokeStream(problem) => {
            broken_off(whole, &problem, model_id)
        }
        Strike::Wire => on_the_wire(whole, fault),
        _ => whole,
    }
}

fn on_the_wire(mut stream: Stream, fault: Fault) -> Stream {
    let count = stream.events.len();
    let half = count.div_ceil(2);
    let all = stream.frames.len();
    match fault {
        Fault::HangHead => stream.keep(0, Then::Silence),
        Fault::HangStream => stream.keep(half, Then::Silence),
        Fault::Drip => stream.keep(half, Then::Drip(stream.end_of(half))),
        Fault::CutStream => stream.keep(half, Then::End),
        Fault::CutFrame => {
            let torn = stream.middle_of(half);
            stream.keep(half, Then::End);
            stream.end_at(torn);
        }
        Fault::Broken => stream.keep(half, Then::Break),
        Fault::NoClosing => stream.keep(count.saturating_sub(2).max(1), Then::End),
        Fault::NoUsage => stream.keep(count.saturating_sub(1).max(1), Then::End),
        Fault::LengthLong => stream.then = Then::Length(all + all / 10 + 1),
        Fault::LengthShort => stream.then = Then::Length(all / 2),
        Fault::CorruptFrame => {
            // The last byte of a frame belongs to its checksum.
            let place = stream.end_of(half.min(count.saturating_sub(1)).max(1)).saturating_sub(1);
            stream.frames = flipped(&stream.frames, place);
        }
        Fault::UnknownEvent => {
            stream = stream.with(half, |frames| {
                write_event(frames, "somethingNewer", br#"{"simulated":true}"#.to_vec());
            });
        }
        _ => {}
    }
    stream
}

impl Stream {
    fn keep(&mut self, events: usize, then: Then) {
        self.events.truncate(events);
        self.then = then;
    }

    /// Where so many events end.
    fn end_of(&self, events: usize) -> usize {
        let last = events.checked_sub(1).and_then(|last| self.events.get(last));
        last.map_or(0, |event| event.end)
    }

    /// The middle of the event after so many.
    fn middle_of(&self, events: usize) -> usize {
        let (begin, end) = (self.end_of(events), self.end_of(events + 1));
        begin + end.saturating_sub(begin) / 2
    }

    fn end_at(&mut self, end: usize) {
        if let Some(last) = self.events.last_mut() {
            last.end = end.max(last.end);
        }
    }

    /// The same, with one more frame after so many events.
    fn with(self, events: usize, write: impl FnOnce(&mut BytesMut)) -> Self {
        let place = self.end_of(events);
        let (before, after) = self.frames.split_at(place);
        let mut frames = BytesMut::with_capacity(self.frames.len() + 256);
        frames.extend_from_slice(before);
        write(&mut frames);
        let added = frames.len() - place;
        frames.extend_from_slice(after);
        let tokens = events.checked_sub(1).and_then(|last| self.events.get(last));
        let new = Event { tokens: tokens.map_or(0, |event| event.tokens), end: place + added };
        let mut list = self.events;
        list.iter_mut().skip(events).for_each(|event| event.end += added);
        list.insert(events.min(list.len()), new);
        Self { frames: frames.freeze(), events: list, ..self }
    }
}

/// Half of the events, and then an exception.
fn broken_off(stream: Stream, problem: &Problem, model_id: &str) -> Stream {
    let half = stream.events.len().div_ceil(2);
    let payload = reply::problem_body(problem, model_id, true).to_string();
    let mut stream = stream.with(half, |frames| {
        write_exception(frames, problem.code, payload.into_bytes());
    });
    stream.keep(half + 1, Then::End);
    stream.broken_off = Some(problem.code);
    stream
}

/// A whole body and how it ends.
pub(super) fn whole(body: String, fault: Option<Fault>) -> (Bytes, Then) {
    let all = body.len();
    let half = all / 2;
    let kept = |body: String| Bytes::from(body).slice(..half);
    match fault {
        Some(Fault::HangHead) => (Bytes::new(), Then::Silence),
        Some(Fault::HangStream) => (kept(body), Then::Silence),
        Some(Fault::Drip) => (Bytes::from(body), Then::Drip(half)),
        Some(Fault::CutStream | Fault::CutFrame | Fault::Broken) => (kept(body), Then::Break),
        Some(Fault::NoClosing | Fault::NoUsage | Fault::LengthShort) => {
            (Bytes::from(body), Then::Length(half))
        }
        Some(Fault::LengthLong) => (Bytes::from(body), Then::Length(all + all / 10 + 1)),
        Some(Fault::CorruptFrame) => (flipped(&Bytes::from(body), half), Then::End),
        _ => (Bytes::from(body), Then::End),
    }
}

/// The same with one byte turned over: in text, a control character or worse.
fn flipped(bytes: &Bytes, place: usize) -> Bytes {
    let mut changed = BytesMut::from(bytes.as_ref());
    if let Some(byte) = changed.get_mut(place) {
        *byte ^= 0xFF;
    }
    changed.freeze()
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;

    use super::*;

    fn events(payloads: &[&str]) -> Events {
        let mut events = Events::for_text("");
        for (tokens, payload) in (1..).zip(payloads) {
            events.push(tokens, |frames| write_event(frames, "x", payload.as_bytes().to_vec()));
        }
        events
    }

    fn payloads(stream: &Stream) -> Vec<String> {
        let mut left = stream.frames.slice(..stream.end_of(stream.events.len()));
        let mut found = Vec::new();
        while let Ok(message) = read_message_from(&mut left) {
            found.push(String::from_utf8_lossy(message.payload()).into_owned());
        }
        found
    }

    #[test]
    fn events_are_kept_added_and_left_out() {
        let five = || events(&["1", "2", "3", "4", "5"]);
        for (fault, expected) in [
            (Fault::CutStream, vec!["1", "2", "3"]),
            (Fault::CutFrame, vec!["1", "2", "3"]),
            (Fault::NoClosing, vec!["1", "2", "3"]),
            (Fault::NoUsage, vec!["1", "2", "3", "4"]),
            (Fault::UnknownEvent, vec!["1", "2", "3", "{\"simulated\":true}", "4", "5"]),
            (Fault::CorruptFrame, vec!["1", "2"]),
            (Fault::Truncated, vec!["1", "2", "3", "4", "5"]),
        ] {
            assert_eq!(payloads(&stream(five(), Some(fault), "m")), expected, "{fault}");
        }
        let off = stream(five(), Some(Fault::StreamModelError), "m");
        assert_eq!(off.broken_off, Some("ModelStreamErrorException"));
        let last = payloads(&off).pop().unwrap();
        assert!(last.contains("\"originalStatusCode\":500"), "{last}");
    }

    #[test]
    fn an_answer_of_one_event_survives_every_fault() {
        for fault in super::super::fault::FAULTS {
            for list in [&["1"][..], &[][..]] {
                let damaged = stream(events(list), Some(*fault), "m");
                assert!(damaged.end_of(damaged.events.len()) <= damaged.frames.len(), "{fault}");
            }
        }
    }
}
