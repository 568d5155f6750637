//! `quarrier simulate` as a process of its own: the other side, whose log of calls is the evidence.
//! Must not know: the store.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fleet::program;

pub(crate) struct Simulated {
    child: Child,
    address: String,
}

/// One call as the simulator saw it.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) job_id: String,
    pub(crate) attempt: String,
}

#[derive(Debug, Deserialize)]
struct Calls {
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    pub(crate) calls: u64,
    pub(crate) throttled: u64,
    pub(crate) worst_window_requests: u64,
}

impl Simulated {
    /// With this quota, and answers that take so long that every fault finds calls in flight.
    pub(crate) fn start(requests_per_minute: u64) -> Self {
        let mut command = program();
        command
            .args(["simulate", "--listen", "127.0.0.1:0", "--latency-spread", "50"])
            .args(["--latency-ms", "700", "--token-us", "2000", "--call-log-max", "1000000"])
            .args(["--requests-per-minute", &requests_per_minute.to_string()]);
        let mut child = spawn(&mut command);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once("http://").expect("the simulator says where it is");
        let address = rest.split(':').take(2).collect::<Vec<_>>().join(":");
        Self { child, address }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn calls(&self) -> Vec<Call> {
        self.get::<Calls>("/calls").await.calls
    }

    pub(crate) async fn summary(&self) -> Summary {
        self.get("/summary").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        serde_json::from_slice(&answer[at + 4..]).unwrap()
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Simulated {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
