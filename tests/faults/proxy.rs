//! A proxy before Postgres that breaks connections on purpose: all of them, half of each, or one
//! exactly at the COMMIT of a claim or of a finish, which it sees by reading the wire protocol.
//! Must not know: workers, jobs, or what a broken connection comes to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Which transaction a connection is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Claim,
    Finish,
}

/// On which side of the server's commit the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The server never hears of the COMMIT, and rolls back.
    Before,
    /// The server has committed, and its answer is lost.
    After,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    kind: Kind,
    when: When,
    left: usize,
}

/// What has befallen all connections so far; each compares it with what it was at its own start.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    closed: u64,
    deafened: u64,
    held: bool,
}

struct Shared {
    target: Mutex<PathBuf>,
    fate: watch::Sender<Fate>,
    cut: Mutex<Option<Cut>>,
    refuses: Mutex<bool>,
}

impl Shared {
    fn cut(&self) -> MutexGuard<'_, Option<Cut>> {
        self.cut.lock().unwrap()
    }

    /// Whether this commit is one to be cut, and where; takes it from what is left.
    fn takes(&self, kind: Option<Kind>) -> Option<When> {
        let mut cut = self.cut();
        let wanted = cut.as_mut().filter(|cut| Some(cut.kind) == kind && cut.left > 0)?;
        wanted.left -= 1;
        Some(wanted.when)
    }
}

pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Before the server whose socket lies in this folder.
    pub(crate) async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target: Mutex::new(socket_in(folder)),
            fate: watch::Sender::new(Fate::default()),
            cut: Mutex::default(),
            refuses: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { port, shared, accepting }
    }

    /// The address of the database through it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// The same in libpq's form.
    pub(crate) fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port)
    }

    /// New connections go to another server.
    pub(crate) fn switch_to(&self, folder: &Path) {
        *self.shared.target.lock().unwrap() = socket_in(folder);
    }

    /// Closes every connection that is open now.
    pub(crate) fn close_all(&self) {
        self.shared.fate.send_modify(|fate| fate.closed += 1);
    }

    /// New connections are closed at once, or no longer.
    pub(crate) fn refuse(&self, yes: bool) {
        *self.shared.refuses.lock().unwrap() = yes;
    }

    /// Every connection that is open now stays open towards the client and is never answered again,
    /// as behind a router that has forgotten it; new ones work.
    pub(crate) fn deafen_all(&self) {
        self.shared.fate.send_modify(|fate| fate.deafened += 1);
    }

    /// Nothing passes any more in either direction, on old and on new connections.
    pub(crate) fn hold(&self) {
        self.shared.fate.send_modify(|fate| fate.held = true);
    }

    /// Breaks the next `count` connections that commit such a transaction.
    pub(crate) fn cut_at_commit(&self, kind: Kind, when: When, count: usize) {
        *self.shared.cut() = Some(Cut { kind, when, left: count });
    }

    /// How many of these are still to come.
    pub(crate) fn cuts_left(&self) -> usize {
        self.shared.cut().map_or(0, |cut| cut.left)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.close_all();
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join(".s.PGSQL.5432")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let refuses = *shared.refuses.lock().unwrap();
        let target = shared.target.lock().unwrap().clone();
        if refuses {
            continue;
        }
        // A server that is away refuses, as it would without us between.
        let Ok(server) = UnixStream::connect(target).await else { continue };
        tokio::spawn(carry(client, server, Arc::clone(&shared)));
    }
}

/// Carries bytes both ways until either side ends or fate strikes.
async fn carry(mut client: TcpStream, mut server: UnixStream, shared: Arc<Shared>) {
    let mut fate = shared.fate.subscribe();
    let born = *fate.borrow_and_update();
    let mut reader = Reader::default();
    let mut asked = vec![0; 65_536];
    let mut answered = vec![0; 65_536];
    // The client's COMMIT is on its way, and its answer must not arrive.
    let mut swallow = false;
    loop {
        let now = *fate.borrow_and_update();
        if now.closed != born.closed {
            return;
        }
        if now.deafened != born.deafened {
            drop(server);
            return stay_deaf(client, fate, born).await;
        }
        tokio::select! {
            changed = fate.changed() => if changed.is_err() { return },
            read = client.read(&mut asked), if !now.held => {
                let Ok(length @ 1..) = read else { return };
                let (passed, cut) = reader.read(&asked[..length], &shared);
                if server.write_all(&passed).await.is_err() || cut == Some(When::Before) {
                    return;
                }
                swallow |= cut == Some(When::After);
            }
            read = server.read(&mut answered), if !now.held => {
                let Ok(length @ 1..) = read else { return };
                if swallow || client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Keeps the client's side open and says nothing.
async fn stay_deaf(_client: TcpStream, mut fate: watch::Receiver<Fate>, born: Fate) {
    while fate.changed().await.is_ok() {
        if fate.borrow_and_update().closed != born.closed {
            return;
        }
    }
}

/// Reads what a client sends: which statements it has prepared, and which transaction it is in.
#[derive(Default)]
struct Reader {
    rest: Vec<u8>,
    begun: bool,
    prepared: HashMap<Vec<u8>, Option<Kind>>,
    transaction: Option<Kind>,
}

impl Reader {
    /// The bytes to pass on, in whole messages, and where the connection is to be cut. Nothing
    /// after a cut is passed on.
    fn read(&mut self, bytes: &[u8], shared: &Shared) -> (Vec<u8>, Option<When>) {
        self.rest.extend_from_slice(bytes);
        let mut passed = Vec::new();
        while let Some(message) = self.next_message() {
            let cut = if self.commits(&message) { shared.takes(self.transaction) } else { None };
            if cut != Some(When::Before) {
                passed.extend_from_slice(&message);
            }
            if cut.is_some() {
                return (passed, cut);
            }
        }
        (passed, None)
    }

    /// The first message has no kind, only a length; every other one has both.
    fn next_message(&mut self) -> Option<Vec<u8>> {
        let head = usize::from(self.begun);
        let length: [u8; 4] = self.rest.get(head..head + 4)?.try_into().unwrap();
        let end = head + usize::try_from(u32::from_be_bytes(length)).unwrap();
        if self.rest.len() < end {
            return None;
        }
        let message = self.rest.drain(..end).collect();
        if !self.begun {
            self.begun = true;
            return Some(message);
        }
        self.note(&message);
        Some(message)
    }

    fn note(&mut self, message: &[u8]) {
        let mut texts = message[5..].split(|byte| *byte == 0);
        let (first, second) = (texts.next().unwrap_or(&[]), texts.next().unwrap_or(&[]));
        match message[0] {
            b'P' => {
                self.prepared.insert(first.to_vec(), kind_of(second));
            }
            b'B' => {
                let kind = self.prepared.get(second).copied().flatten();
                self.transaction = kind.or(self.transaction);
            }
            b'Q' if first.starts_with(b"begin") => self.transaction = None,
            _ => {}
        }
    }

    #[expect(clippy::unused_self, reason = "reads beside the others")]
    fn commits(&self, message: &[u8]) -> bool {
        message[0] == b'Q' && message[5..].starts_with(b"commit")
    }
}

/// What a statement tells of its transaction: claims write attempts, finishes write results.
fn kind_of(statement: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(statement);
    if text.contains("insert into quarrier.attempt (") {
        Some(Kind::Claim)
    } else if text.contains("insert into quarrier.result (") {
        Some(Kind::Finish)
    } else {
        None
    }
}

#[test]
fn a_commit_is_known_by_the_statement_before_it() {
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    };
    let shared = Shared {
        target: Mutex::default(),
        fate: watch::Sender::new(Fate::default()),
        cut: Mutex::new(Some(Cut { kind: Kind::Claim, when: When::Before, left: 1 })),
        refuses: Mutex::default(),
    };
    let mut reader = Reader::default();
    let begun = [0, 0, 0, 8, 0, 3, 0, 0];
    assert_eq!(reader.read(&begun, &shared), (begun.to_vec(), None));
    let prepare = message(b'P', b"s1\0insert into quarrier.attempt (job_id)\0");
    let (first, second) = prepare.split_at(3);
    assert_eq!(reader.read(first, &shared), (Vec::new(), None));
    assert_eq!(reader.read(second, &shared), (prepare.clone(), None));
    let commit = message(b'Q', b"commit\0");
    assert_eq!(reader.read(&commit, &shared), (commit.clone(), None), "nothing was claimed");
    let bind = message(b'B', b"\0s1\0");
    let both = [bind.clone(), commit].concat();
    assert_eq!(reader.read(&both, &shared), (bind, Some(When::Before)));
}
