//! The way of workers to the queue service: nothing passes for a while, or what would delete a
//! message is lost. The service itself stays as it is, and others reach it meanwhile.
//! Must not know: queues, jobs, or what a lost request comes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a request that deletes messages says of itself.
const DELETES: &[u8] = b"DeleteMessage";

struct Shared {
    /// The service's host and port.
    target: String,
    held: watch::Sender<bool>,
    loses_deletes: AtomicBool,
}

pub(crate) struct Road {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Road {
    /// To the service at this URL.
    pub(crate) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let held = watch::Sender::new(false);
        let shared = Arc::new(Shared { target, held, loses_deletes: AtomicBool::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { port, shared, accepting }
    }

    /// The service's URL by this way.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Connections are made, and nothing passes in either direction, as before a service that has
    /// been stopped without a word.
    pub(crate) fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Everything that was sent meanwhile arrives, also from whom nobody waits for any more.
    pub(crate) fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// Connections break on which a deletion is asked for, before the service hears of it; or no
    /// longer.
    pub(crate) fn lose_deletes(&self, yes: bool) {
        self.shared.loses_deletes.store(yes, Ordering::SeqCst);
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        // A service that is away refuses, as it would without us between.
        let Ok(service) = TcpStream::connect(&shared.target).await else { continue };
        tokio::spawn(carry(client, service, Arc::clone(&shared)));
    }
}

/// Carries bytes both ways until both sides have ended, or one is lost.
async fn carry(mut client: TcpStream, mut service: TcpStream, shared: Arc<Shared>) {
    let mut held = shared.held.subscribe();
    let mut asked = vec![0; 65_536];
    let mut answered = vec![0; 65_536];
    loop {
        let passes = !*held.borrow_and_update();
        tokio::select! {
            changed = held.changed() => if changed.is_err() { return },
            read = client.read(&mut asked), if passes => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &asked[..length];
                let deletes = || bytes.windows(DELETES.len()).any(|window| window == DELETES);
                if shared.loses_deletes.load(Ordering::SeqCst) && deletes() {
                    return;
                }
                if service.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = service.read(&mut answered), if passes => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
