//! The matrix: what each way came to under each fault, against what was expected, and as a table.

use std::fmt::Write as _;

use futures_util::stream::{self, StreamExt as _};
use quarrier::catalogue::Format;
use quarrier::check::{self, Limits};
use quarrier::completion::Api;
use quarrier::error::ErrorKind;
use quarrier::provider::{FailedCharge, GenerateRequest, Provider as _};
use quarrier::simulator::{FAULTS, Fault, SimulatorOptions};
use tokio::sync::mpsc;

use crate::ways::{self, Way};
use crate::{End, bed, bed_with, end_of, ends_under, expected, schema};

struct Seen {
    fault: Fault,
    ends: Vec<(Way, End, String)>,
}

async fn seen() -> Vec<Seen> {
    let seen = |fault: Fault| async move { Seen { fault, ends: ends_under(fault).await } };
    // Several at once, so that the silent ones are not waited for one after the other.
    stream::iter(FAULTS.iter().copied()).map(seen).buffered(6).collect().await
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the table is there to be read")]
async fn matrix() {
    let seen = seen().await;
    println!("{}", table(&seen));
    let mut wrong = String::new();
    for Seen { fault, ends } in &seen {
        for (way, end, said) in ends {
            let expected = expected::ends(*fault, *way);
            if !expected.contains(end) {
                let said: String = said.chars().take(300).collect();
                writeln!(wrong, "{fault} {way:?}: {end}, not {expected:?}: {said}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// One line a fault; the six formats of a column share a cell where they came to the same.
fn table(seen: &[Seen]) -> String {
    let mut rows = vec![
        ["fault", "Converse, stream", "Converse, whole", "Invoke, stream", "Invoke, whole"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for Seen { fault, ends } in seen {
        let mut row = vec![fault.as_str().to_owned()];
        row.extend(ways::columns().map(|column| cell(*fault, column, ends)));
        rows.push(row);
    }
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::from(
        "Each cell: the error's kind, its charge (0: none, ?: the reservation stays), and whether \
         text was kept; or what the check room says of the answer.\n",
    );
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "{cell:width$}  ").unwrap();
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn cell(fault: Fault, (api, stream): (Api, bool), ends: &[(Way, End, String)]) -> String {
    let mut grouped: Vec<(String, Vec<Format>)> = Vec::new();
    for (way, end, _) in ends.iter().filter(|(way, ..)| (way.api, way.stream) == (api, stream)) {
        let end = end.to_string();
        match grouped.iter_mut().find(|(known, _)| *known == end) {
            Some((_, formats)) => formats.push(way.format),
            None => grouped.push((end, vec![way.format])),
        }
    }
    match grouped.as_slice() {
        [(end, _)] => end.clone(),
        // The simulator draws which of them; the format plays no part.
        several if drawn(fault, (api, stream)) => {
            let mut names: Vec<&str> = several.iter().map(|(end, _)| end.as_str()).collect();
            names.sort_unstable();
            names.join(" or ")
        }
        several => several
            .iter()
            .map(|(end, formats)| {
                let names: Vec<&str> = formats.iter().map(|format| format.as_str()).collect();
                format!("{end} ({})", names.join(" "))
            })
            .collect::<Vec<_>>()
            .join("; "),
    }
}

fn drawn(fault: Fault, (api, stream): (Api, bool)) -> bool {
    Format::ALL
        .into_iter()
        .all(|format| expected::ends(fault, Way { format, api, stream }).len() > 1)
}

#[tokio::test]
async fn the_quotas_themselves_throttle_every_way_with_their_own_text() {
    let none = SimulatorOptions::default();
    let requests = SimulatorOptions { requests_per_minute: Some(1), ..none.clone() };
    let tokens = SimulatorOptions { tokens_per_minute: Some(4_000), ..none };
    for (options, kind) in
        [(requests, ErrorKind::ThrottledRequests), (tokens, ErrorKind::ThrottledTokens)]
    {
        let (_simulator, provider) = bed_with(options).await;
        let mut ways = ways::all();
        let first = ways.next().unwrap();
        // What it used leaves no room for a call that asks for nearly the whole quota.
        assert_eq!(end_of(&provider, &first.request(expected::LONG)).await.0, End::Passes);
        for way in ways {
            let request = GenerateRequest { max_tokens: 3_990, ..way.request(expected::LONG) };
            let (end, said) = end_of(&provider, &request).await;
            assert_eq!(end, End::Fails(kind, FailedCharge::None, false), "{way:?}: {said}");
        }
    }
}

#[tokio::test]
async fn without_a_fault_every_way_answers_and_counts_what_the_other_side_counts() {
    let (simulator, provider) = bed(None).await;
    for way in ways::all() {
        let request = way.request(expected::LONG);
        let (send, mut heard) = mpsc::unbounded_channel();
        let answer = if way.stream {
            let hear = move |piece: &str| send.send(piece.to_owned()).unwrap();
            provider.stream(&request, &hear).await
        } else {
            provider.generate(&request).await
        };
        let answer = answer.unwrap();
        let verdict = check::check(&answer, Some(&schema()), &Limits::default());
        assert!(verdict.is_ok(), "{way:?}: {verdict:?}");
        if way.stream {
            let pieces: Vec<String> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
            assert!(pieces.len() > 1 && pieces.concat() == answer.text, "{way:?}: {pieces:?}");
        }
        simulator.until(|summary| summary.in_flight == 0).await;
        let call = simulator.calls().pop().unwrap();
        assert_eq!(Some(answer.usage.output), call.output_tokens, "{way:?}");
        assert_eq!(answer.usage.input, call.input_tokens, "{way:?}");
        assert_eq!(call.job_id.as_deref(), Some("conformance"), "{way:?}");
        assert_eq!((call.api.as_str(), call.client_gone), (way.operation(), false));
    }
}
