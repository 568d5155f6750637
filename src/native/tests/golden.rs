//! Bodies to the byte, and answers whole and streamed, against the fixtures.
//! Must not know: how the fixtures are stored.

use super::fixture::{Fixture, Said, fixtures};
use crate::catalogue::Format;
use crate::native::{Answer, Gather, Unreadable, body};

/// What every format has a file for.
const CASES: &[&str] = &[
    "all-parameters",
    "blank-system",
    "errors",
    "guardrail",
    "multi-turn",
    "single-turn",
    "special-tokens",
    "stop-reasons",
    "system",
    "unicode-and-newlines",
    "usage",
];

const BYTES_MAX: usize = 1_000_000;

#[test]
#[expect(clippy::print_stdout, reason = "the list is wanted: run it with --no-capture")]
fn every_fixture_holds_and_is_listed() {
    let (mut bodies, mut answers) = (0, 0);
    for format in Format::ALL {
        let found = fixtures(format);
        for case in CASES {
            assert!(found.iter().any(|fixture| fixture.case == *case), "{format} has no {case}");
        }
        for fixture in found {
            println!("{format}/{}", fixture.case);
            if fixture.ask.is_some() {
                bodies += 1;
                check_body(format, &fixture);
            }
            for said in &fixture.answers {
                println!("    {}", said.name);
                answers += 1;
                check_answer(format, &fixture.case, said);
            }
        }
    }
    println!("{bodies} bodies, {answers} answers");
}

#[track_caller]
fn check_body(format: Format, fixture: &Fixture) {
    let asked = fixture.ask.as_ref().unwrap();
    match body(format, &asked.ask()) {
        // As text: the order of fields and the spelling of numbers count.
        Ok(found) => {
            let expected = fixture.body.as_ref().expect("the fixture says that it is refused");
            assert_eq!(found.to_string(), expected.to_string(), "{format}/{}", fixture.case);
        }
        Err(refused) => {
            assert_eq!(Some(refused.to_string()), fixture.refused, "{format}/{}", fixture.case);
        }
    }
}

#[track_caller]
fn check_answer(format: Format, case: &str, said: &Said) {
    let place = format!("{format}/{case}, {}", said.name);
    let streamed = said.chunks.is_some();
    let (gather, heard, end) = gathered(format, said, streamed);
    if let Some(reason) = &said.unreadable {
        assert_eq!(end, Err(Unreadable::Form(reason.clone())), "{place}");
        assert_eq!(gather.partial(), said.partial, "{place}");
        return;
    }
    assert_eq!(end, Ok(()), "{place}");
    let complete = gather.is_complete();
    let found = gather.finish(said.counted());
    match (&said.answer, said.incomplete) {
        (Some(expected), false) => {
            let usage = expected.usage;
            let answer = Answer { text: expected.text.clone(), stop: expected.stop, usage };
            assert_eq!(found, Ok(answer), "{place}");
            assert!(complete || said.counted.is_some(), "{place}: not complete");
            assert!(!streamed || heard == expected.text, "{place}: heard {heard:?}");
        }
        (None, true) => {
            assert_eq!(found, Err(said.partial.clone()), "{place}");
            assert!(!complete, "{place}: taken for complete");
        }
        _ => panic!("{place}: expects nothing, or two things"),
    }
}

/// Everything that arrives, with the pieces that were heard of a stream.
fn gathered(
    format: Format,
    said: &Said,
    streamed: bool,
) -> (Gather, String, Result<(), Unreadable>) {
    let mut gather = Gather::new(format, BYTES_MAX);
    let mut heard = String::new();
    for bytes in said.arrivals() {
        let taken = if streamed {
            gather.chunk(bytes).map(|piece| heard.push_str(piece))
        } else {
            gather.whole(bytes)
        };
        if taken.is_err() {
            return (gather, heard, taken);
        }
    }
    (gather, heard, Ok(()))
}
