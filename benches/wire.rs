//! What one model call costs on this side of the wire: a bare loop over the SDK (the floor), and
//! the same calls through `Bedrock::generate`. Knows nothing of jobs, stores or quotas.
//!
//! `cargo bench --bench wire -- [--endpoint URL] [--calls N] [--in-flight N] [--rounds N]
//! [--events N] [--hold-ms N] [--pools N] [--only sdk|provider|raw] [--model ID]`
//!
//! `--only raw` writes the same signed bytes again and again: what the far side can serve when the
//! near side costs next to nothing.
//!
//! Without an endpoint it starts a bare server in a process of its own, which streams `--events`
//! pieces of text after `--hold-ms`. It prints one JSON line a run, and a last one that compares.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::{
    BehaviorVersion, Builder, Credentials, Region, StalledStreamProtectionConfig,
};
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput as Event,
    InferenceConfiguration, Message as SdkMessage,
};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message as Frame};
use axum::body::{Body, Bytes};
use clap::Parser;
use futures_util::stream::{self, StreamExt as _};
use quarrier::catalogue::Family;
use quarrier::completion::{Message, Role};
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{Api, Clocks, GenerateRequest, Provider as _};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Where the calls go; a server of our own where absent.
    #[arg(long)]
    endpoint: Option<String>,
    /// Calls a run.
    #[arg(long, default_value_t = 2_000)]
    calls: u64,
    /// Calls at the same time.
    #[arg(long, default_value_t = 100)]
    in_flight: u32,
    /// How often both are run, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Pieces of text in one answer of our own server.
    #[arg(long, default_value_t = 20)]
    events: usize,
    /// How long our own server waits before the text.
    #[arg(long, default_value_t = 0)]
    hold_ms: u64,
    /// Connection pools of the provider.
    #[arg(long, default_value_t = 1)]
    pools: usize,
    /// Run one of the two alone, so that its memory is its own.
    #[arg(long)]
    only: Option<Path>,
    /// The model that is asked.
    #[arg(long, default_value = "anthropic.claude-haiku-4-5-20251001-v1:0")]
    model: String,
    /// Be the server (used by this program itself).
    #[arg(long)]
    serve: bool,
    /// Cargo passes this to every bench.
    #[arg(long)]
    bench: bool,
}

/// A way to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Path {
    /// The bare SDK.
    Sdk,
    /// `Bedrock::generate`.
    Provider,
    /// Bytes over kept connections, without an SDK.
    Raw,
}

/// The figures of one run.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    seconds: f64,
    cpu_seconds: f64,
    rss_kb_before: u64,
    rss_kb_most: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if options.serve {
        return runtime.block_on(serve(&options));
    }
    let mut child = None;
    let endpoint = match &options.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => start_server(&options, &mut child)?,
    };
    let result = runtime.block_on(compare(&options, &endpoint));
    if let Some(mut server) = child {
        server.kill()?;
        server.wait()?;
    }
    result
}

async fn compare(options: &Options, endpoint: &str) -> anyhow::Result<()> {
    if options.only == Some(Path::Raw) {
        for _ in 0..options.rounds {
            print("raw", options, raw_run(options, endpoint).await?)?;
        }
        return Ok(());
    }
    let sdk = sdk_client(endpoint);
    let provider = Arc::new(
        Bedrock::connect(&BedrockOptions {
            endpoint: Some(endpoint.to_owned()),
            simulated_credentials: true,
            pools: options.pools,
            ..BedrockOptions::default()
        })
        .await?,
    );
    let request = Arc::new(request(&options.model));
    let (mut floor, mut ours) = (Figures::default(), Figures::default());
    for _ in 0..options.rounds {
        if options.only != Some(Path::Provider) {
            let figures = run(options, || {
                let (sdk, model) = (sdk.clone(), options.model.clone());
                async move { bare_call(&sdk, &model).await }
            });
            let figures = figures.await?;
            print("sdk", options, figures)?;
            floor = floor.plus(figures);
        }
        if options.only != Some(Path::Sdk) {
            let figures = run(options, || {
                let (provider, request) = (Arc::clone(&provider), Arc::clone(&request));
                async move { Ok(provider.generate(&request).await?.text.len()) }
            });
            let figures = figures.await?;
            print("provider", options, figures)?;
            ours = ours.plus(figures);
        }
    }
    if options.only.is_some() {
        return Ok(());
    }
    say(&json!({
        "provider_of_sdk": {
            "calls_per_s": round(floor.seconds / ours.seconds),
            "cpu": round(ours.cpu_seconds / floor.cpu_seconds),
        }
    }))
}

/// Makes the calls, so many at a time, and measures this process.
async fn run<F, C>(options: &Options, call: F) -> anyhow::Result<Figures>
where
    F: Fn() -> C,
    C: Future<Output = anyhow::Result<usize>> + Send + 'static,
{
    let left = Arc::new(AtomicU64::new(options.calls));
    let rss_kb_before = rss_kb()?;
    let (began, cpu_began) = (Instant::now(), cpu_seconds());
    let mut rss_kb_most = rss_kb_before;
    let mut calls = JoinSet::new();
    let mut started = 0_u64;
    let mut sample = tokio::time::interval(Duration::from_millis(50));
    loop {
        while started < options.calls && calls.len() < usize::try_from(options.in_flight)? {
            calls.spawn(call());
            started += 1;
        }
        tokio::select! {
            done = calls.join_next() => match done {
                Some(length) => {
                    ensure!(length?? > 0, "an empty answer");
                    left.fetch_sub(1, Ordering::Relaxed);
                }
                None => break,
            },
            _ = sample.tick() => rss_kb_most = rss_kb_most.max(rss_kb()?),
        }
    }
    ensure!(left.load(Ordering::Relaxed) == 0, "calls are missing");
    Ok(Figures {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu_began,
        rss_kb_before,
        rss_kb_most,
    })
}

impl Figures {
    fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            ..other
        }
    }
}

// ---- the two ways to call ----

const QUESTION: &str = "Summarise the certificate of one building in a sentence for its owner.";

fn sdk_client(endpoint: &str) -> Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("simulated", "simulated", None, None, "simulated"))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

/// The least that any program does for one streamed answer.
async fn bare_call(client: &Client, model: &str) -> anyhow::Result<usize> {
    let question = SdkMessage::builder()
        .role(ConversationRole::User)
        .content(ContentBlock::Text(QUESTION.to_owned()))
        .build()?;
    let mut answer = client
        .converse_stream()
        .model_id(model)
        .messages(question)
        .inference_config(InferenceConfiguration::builder().max_tokens(256).build())
        .request_metadata("job_id", "0190f5e0-0000-7000-8000-000000000000")
        .request_metadata("attempt", "1")
        .request_metadata("tenant", "default")
        .send()
        .await?;
    let mut text = String::new();
    while let Some(event) = answer.stream.recv().await? {
        if let Event::ContentBlockDelta(delta) = event
            && let Some(ContentBlockDelta::Text(piece)) = delta.delta
        {
            text.push_str(&piece);
        }
    }
    Ok(text.len())
}

fn request(model: &str) -> GenerateRequest {
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    GenerateRequest {
        model_id: model.to_owned(),
        family: Family::Claude,
        api: Api::Converse,
        format: None,
        stream: true,
        system: None,
        messages: vec![Message { role: Role::User, text: QUESTION.to_owned() }],
        max_tokens: 256,
        temperature: None,
        top_p: None,
        stop: vec![],
        metadata: vec![
            entry("job_id", "0190f5e0-0000-7000-8000-000000000000"),
            entry("attempt", "1"),
            entry("tenant", "default"),
        ],
        clocks: Clocks { first_token_ms: 60_000, idle_ms: 60_000, total_ms: 600_000 },
        answer_bytes_max: 1 << 20,
    }
}

// ---- bytes without an SDK ----

/// Each connection asks its share of the calls, one after the other.
async fn raw_run(options: &Options, endpoint: &str) -> anyhow::Result<Figures> {
    let address = endpoint.trim_start_matches("http://").to_owned();
    let question = Arc::new(raw_question(&address, &options.model));
    let rss_kb_before = rss_kb()?;
    let (began, cpu_began) = (Instant::now(), cpu_seconds());
    let mut connections = JoinSet::new();
    let share = options.calls / u64::from(options.in_flight);
    ensure!(share * u64::from(options.in_flight) == options.calls, "calls must divide evenly");
    for _ in 0..options.in_flight {
        let (address, question) = (address.clone(), Arc::clone(&question));
        connections.spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut buffer = Vec::with_capacity(64 * 1_024);
            for _ in 0..share {
                raw_call(&mut stream, &question, &mut buffer).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    Ok(Figures {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu_began,
        rss_kb_before,
        rss_kb_most: rss_kb()?,
    })
}

/// One streamed Converse call as the SDK writes it. The signature is of the right form; no
/// simulator knows the secret.
fn raw_question(address: &str, model: &str) -> Vec<u8> {
    let body = json!({
        "messages": [{ "role": "user", "content": [{ "text": QUESTION }] }],
        "inferenceConfig": { "maxTokens": 256 },
        "requestMetadata": { "job_id": "raw", "attempt": "1", "tenant": "default" },
    })
    .to_string();
    let model = model.replace(':', "%3A");
    format!(
        "POST /model/{model}/converse-stream HTTP/1.1\r\nhost: {address}\r\n\
         content-type: application/json\r\nx-amz-date: 20261122T120000Z\r\n\
         authorization: AWS4-HMAC-SHA256 \
         Credential=simulated/20261122/us-east-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, Signature={}\r\n\
         content-length: {}\r\n\r\n{body}",
        "0".repeat(64),
        body.len(),
    )
    .into_bytes()
}

/// Sends the question and reads to the answer's end: its length, or the last chunk.
async fn raw_call(
    stream: &mut tokio::net::TcpStream,
    question: &[u8],
    buffer: &mut Vec<u8>,
) -> anyhow::Result<()> {
    stream.write_all(question).await?;
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let said = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default());
        ensure!(said.starts_with("HTTP/1.1 200"), "refused: {said}");
        let length = said
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map(str::parse::<usize>)
            .transpose()?;
        let whole = length.map_or_else(
            || buffer.ends_with(b"\r\n0\r\n\r\n"),
            |length| buffer.len() >= head + 4 + length,
        );
        if whole {
            return Ok(());
        }
    }
}

// ---- the bare server ----

fn start_server(options: &Options, child: &mut Option<Child>) -> anyhow::Result<String> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["--serve", "--events", &options.events.to_string()])
        .args(["--hold-ms", &options.hold_ms.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let said = server.stdout.take().context("the server has no output")?;
    *child = Some(server);
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse()?;
    Ok(format!("http://{address}"))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    let head = frame("messageStart", &json!({ "role": "assistant" }))?;
    let piece = json!({ "contentBlockIndex": 0, "delta": { "text": "some words of text " } });
    let piece = frame("contentBlockDelta", &piece)?;
    let stop = frame("messageStop", &json!({ "stopReason": "end_turn" }))?;
    let usage = json!({ "inputTokens": 20, "outputTokens": 80, "totalTokens": 100 });
    let usage = frame("metadata", &json!({ "usage": usage, "metrics": { "latencyMs": 1 } }))?;
    let mut body = vec![head];
    body.extend(std::iter::repeat_n(piece, options.events));
    body.extend([stop, usage]);
    let (hold, body): (_, Arc<[Bytes]>) = (Duration::from_millis(options.hold_ms), body.into());
    let app = axum::Router::new().fallback(move |_question: Bytes| {
        let body = Arc::clone(&body);
        async move {
            let frames = (0..body.len()).filter_map(move |i| body.get(i).cloned());
            let pieces = stream::iter(frames.enumerate()).then(move |(i, bytes)| async move {
                if i == 1 && !hold.is_zero() {
                    tokio::time::sleep(hold).await;
                }
                Ok::<_, std::convert::Infallible>(bytes)
            });
            let kind = ("content-type", "application/vnd.amazon.eventstream");
            ([kind], Body::from_stream(pieces))
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    axum::serve(listener, app).await?;
    bail!("the server ended")
}

fn frame(name: &str, payload: &Value) -> anyhow::Result<Bytes> {
    let text = |value: &str| HeaderValue::String(value.to_owned().into());
    let message = Frame::new(payload.to_string())
        .add_header(Header::new(":message-type", text("event")))
        .add_header(Header::new(":event-type", text(name)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes)?;
    Ok(bytes.into())
}

// ---- figures ----

fn print(path: &str, options: &Options, figures: Figures) -> anyhow::Result<()> {
    let calls = f64::from(u32::try_from(options.calls)?);
    let grown_kb = figures.rss_kb_most.saturating_sub(figures.rss_kb_before);
    say(&json!({
        "path": path,
        "calls": options.calls,
        "in_flight": options.in_flight,
        "seconds": round(figures.seconds),
        "calls_per_s": round(calls / figures.seconds),
        "cpu_s": round(figures.cpu_seconds),
        "cpu_us_per_call": round(figures.cpu_seconds * 1e6 / calls),
        "rss_kb_before": figures.rss_kb_before,
        "rss_kb_most": figures.rss_kb_most,
        "rss_kb_grown_per_call_in_flight":
            round(f64::from(u32::try_from(grown_kb)?) / f64::from(options.in_flight)),
    }))
}

fn say(line: &Value) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(used).map_or(0.0, |used| used.as_secs_f64())
}

/// Memory of this process that is in use now. Zero where the system does not tell.
fn rss_kb() -> anyhow::Result<u64> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return Ok(0);
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.unwrap_or("0").parse()?)
}
