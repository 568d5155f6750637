//! How connections to the server are made: each with the newest address and password, over TLS that
//! is verified where asked, and never without a deadline.
//! Must not know: tables, or where passwords are kept.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use tokio::sync::Mutex;

use super::absent::{self, absent, is_login_refused};
use super::error::{Fault, Outcome};
use crate::store::{StoreError, StoreResult};

/// Connections unused for so long are closed; an idle process stays small.
const IDLE: Duration = Duration::from_mins(2);

/// Connections are renewed after so long, so that a failover or a new password spreads.
const LIFETIME: Duration = Duration::from_mins(30);

/// What may stand behind the `?` of an address, each in the spelling of libpq.
const OPTIONS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The first option of an address that is none.
fn unknown_option(url: &str) -> Option<&str> {
    let (_, options) = url.split_once('?')?;
    let mut names = options.split('&').map(|option| option.split('=').next().unwrap_or(option));
    names.find(|name| !name.is_empty() && !OPTIONS.contains(name) && !name.starts_with("options["))
}

/// Where a server is, a first connection is usually there within so long; after that somebody looks
/// whether one listens at all.
const AT_ONCE: Duration = Duration::from_millis(250);

/// The longest wait for the newest login.
const LOGIN: Duration = Duration::from_secs(10);

/// The server notices a client that has vanished after 30 s and three unanswered looks, not after
/// the two hours that are usual. On a socket of the same machine they change nothing.
const KEEPALIVES: [(&str, u64); 3] =
    [("tcp_keepalives_idle", 30), ("tcp_keepalives_interval", 10), ("tcp_keepalives_count", 3)];

/// For whom a login is asked, as the address says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginAsk {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The server has refused what was handed out last, so nothing remembered will do.
    pub refused: bool,
}

/// What a connection uses instead of what its address says; none leaves the address's own.
#[derive(Clone, Default)]
pub struct Login {
    /// The whole address.
    pub url: Option<String>,
    /// The role.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
}

type Asked = dyn Fn(LoginAsk) -> BoxFuture<'static, Result<Login, String>> + Send + Sync;

/// Where logins come from that change while a process runs. They are asked for before each new
/// connection, one at a time.
#[derive(Clone)]
pub struct Logins {
    ask: Arc<Asked>,
    /// What a person does when the server refuses them.
    way_out: String,
    verified: bool,
}

impl Logins {
    /// `way_out` says what a person does when the server refuses a login: "see that FILE holds the
    /// password". An error of `ask` reads after "no login for the store: ".
    pub fn new(
        way_out: String,
        ask: impl Fn(LoginAsk) -> BoxFuture<'static, Result<Login, String>> + Send + Sync + 'static,
    ) -> Self {
        Self { ask: Arc::new(ask), way_out, verified: false }
    }

    /// Shown to nobody but the server that its certificate proves, unless the address asks for less
    /// by `sslmode=require`.
    #[must_use]
    pub fn verified(self) -> Self {
        Self { verified: true, ..self }
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("way_out", &self.way_out).finish_non_exhaustive()
    }
}

/// What stands between this process and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Nothing that leaves this machine.
    Local,
    /// TLS, and the server must prove its name.
    Verified,
    /// A network, where somebody else could answer in the server's place.
    Unverified,
}

/// Makes connections to one address.
pub(super) struct Connector {
    url: String,
    logins: Option<Logins>,
    /// Whether a login's address replaces this one.
    follows: bool,
    /// What a session begins with.
    session: Vec<(&'static str, u64)>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("logins", &self.logins).finish_non_exhaustive()
    }
}

impl Connector {
    /// One whose sessions begin with the server's own settings, as a pooler wants them.
    pub(super) fn plain(url: &str, logins: Option<Logins>) -> Self {
        Self { url: url.to_owned(), logins, follows: true, session: Vec::new() }
    }

    /// One whose sessions begin with these settings.
    pub(super) fn with_session(self, settings: &[(&'static str, u64)]) -> Self {
        let session = settings.iter().chain(&KEEPALIVES).copied().collect();
        Self { session, ..self }
    }

    /// One that keeps to its own address, whatever the logins say.
    pub(super) fn fixed(self) -> Self {
        Self { follows: false, ..self }
    }

    /// What the address itself says.
    pub(super) fn address(&self) -> StoreResult<PgConnectOptions> {
        self.read(&self.url)
    }

    fn read(&self, url: &str) -> StoreResult<PgConnectOptions> {
        // sqlx passes over what it does not know: a misspelt `sslmode` would verify nobody.
        if let Some(option) = unknown_option(url) {
            return Err(StoreError::Refused(format!(
                "the store's address has an option `{option}`, which is none; options are {}",
                OPTIONS.join(", ")
            )));
        }
        // The error's words could quote the address, and with it the password.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            StoreError::Refused(
                "the store's address is none of Postgres; write \
                 postgres://user:password@host:port/database"
                    .to_owned(),
            )
        })?;
        // A pooler refuses settings that it does not know when a connection begins.
        let mut options = options.application_name("quarrier").extra_float_digits(None);
        let verified = self.logins.as_ref().is_some_and(|logins| logins.verified);
        if verified && matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        if !self.session.is_empty() {
            options = options.options(self.session.iter().copied());
        }
        Ok(options)
    }

    pub(super) fn transport(&self) -> StoreResult<Transport> {
        let options = self.address()?;
        let host = options.get_host();
        let is_local = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        Ok(match options.get_ssl_mode() {
            _ if is_local => Transport::Local,
            PgSslMode::VerifyFull => Transport::Verified,
            _ => Transport::Unverified,
        })
    }

    /// Whether the next connection may need another login than the last. Without a password in the
    /// address it stands in a file of Postgres's own (PGPASSFILE), which may change too.
    fn changes(&self) -> bool {
        self.logins.is_some() || !has_password(&self.url)
    }

    /// The newest login, as what a connection is made with.
    pub(super) async fn newest(&self, refused: bool) -> StoreResult<PgConnectOptions> {
        let address = self.address()?;
        let Some(logins) = &self.logins else { return Ok(address) };
        let ask = LoginAsk {
            host: address.get_host().to_owned(),
            port: address.get_port(),
            user: address.get_username().to_owned(),
            refused,
        };
        let login = match tokio::time::timeout(LOGIN, (logins.ask)(ask)).await {
            Ok(login) => login.map_err(|error| format!("no login for the store: {error}")),
            Err(_) => Err(format!("no login for the store came within {} s", LOGIN.as_secs())),
        };
        let login = login.map_err(StoreError::Transient)?;
        let mut options = match &login.url {
            Some(url) if self.follows => self.read(url)?,
            _ => address,
        };
        if let Some(user) = &login.user {
            options = options.username(user);
        }
        if let Some(password) = &login.password {
            options = options.password(password);
        }
        Ok(options)
    }

    /// What a failed connection means, in words that name the way out.
    pub(super) fn judge(&self, error: sqlx::Error) -> Fault {
        let way_out = self.logins.as_ref().map_or(
            "mend the user and the password in store.url, PGPASSWORD or PGPASSFILE",
            |logins| &logins.way_out,
        );
        match self.address() {
            Ok(address) => absent::judge(error, &address, way_out),
            Err(refused) => refused.into(),
        }
    }
}

/// Whether an address carries a password.
#[must_use]
pub fn has_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (server, options) = rest.split_once('?').unwrap_or((rest, ""));
    let in_user = server.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    in_user || options.split('&').any(|option| option.starts_with("password="))
}

/// The connections of one process that nobody uses at the moment.
#[derive(Debug, Clone)]
pub(super) struct Idle(PgPool);

impl Idle {
    /// Closes them without a word: one that is half-open would not hear it.
    pub(super) fn close(&self) {
        let mut closed = 0_u32;
        while let Some(idle) = self.0.try_acquire() {
            drop(idle.detach());
            closed += 1;
        }
        tracing::warn!(closed, "the server does not answer, closing the connections that wait");
    }
}

/// The connections of one process, and how it comes by more.
#[derive(Debug)]
pub(super) struct Connections {
    pool: PgPool,
    connector: Connector,
    most: u32,
    /// Held while a login is renewed, so that one asks and the others wait for it.
    renewing: Mutex<()>,
    renewals: AtomicU64,
    /// The server has let this process in once: what it refuses now is waited out.
    opened: AtomicBool,
}

impl Connections {
    pub(super) fn new(
        connector: Connector,
        connections_max: u32,
        acquire_timeout: Duration,
    ) -> StoreResult<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .min_connections(0)
            .acquire_timeout(acquire_timeout)
            .idle_timeout(IDLE)
            .max_lifetime(LIFETIME)
            // What breaks off in the middle is closed; a connection that died in the pool shows at
            // its first statement, and the operation is repeated.
            .test_before_acquire(false)
            .connect_lazy_with(connector.address()?);
        Ok(Self {
            pool,
            connector,
            most: connections_max,
            renewing: Mutex::default(),
            renewals: AtomicU64::new(0),
            opened: AtomicBool::new(false),
        })
    }

    /// A connection that waits, or a new one with the newest login. The pool itself would go on
    /// with the login that it was made with.
    pub(super) async fn acquire(&self) -> Outcome<PoolConnection<Postgres>> {
        if let Some(idle) = self.pool.try_acquire() {
            return Ok(idle);
        }
        // Boxed, because every operation would else carry it.
        let acquired = Box::pin(self.connect()).await.map_err(|fault| match fault {
            Fault::Store(StoreError::Refused(told)) if self.opened.load(Ordering::Relaxed) => {
                Fault::Store(StoreError::Transient(told))
            }
            fault => fault,
        })?;
        self.opened.store(true, Ordering::Relaxed);
        Ok(acquired)
    }

    async fn connect(&self) -> Outcome<PoolConnection<Postgres>> {
        let changes = self.connector.changes();
        if changes && self.pool.size() < self.most {
            self.renew(self.renewals.load(Ordering::Acquire), false).await?;
        }
        let before = self.renewals.load(Ordering::Acquire);
        let acquired = match self.reach().await? {
            Err(error) if changes && is_login_refused(&error) => {
                // The login may have changed while this waited for its turn, or what was handed
                // out was remembered too long.
                self.renew(before, true).await?;
                self.pool.acquire().await
            }
            acquired => acquired,
        };
        match acquired {
            // What the network says of an address is said better by a look at it.
            Err(error @ (sqlx::Error::PoolTimedOut | sqlx::Error::Io(_))) => {
                let nobody = absent(&self.pool.connect_options()).await;
                Err(nobody.map_or_else(|| self.connector.judge(error), Fault::Store))
            }
            acquired => acquired.map_err(|error| self.connector.judge(error)),
        }
    }

    /// A connection of the pool. It tries for long where nobody listens, which is right for a process
    /// that works already; one that begins wants to know at once.
    async fn reach(&self) -> Outcome<Result<PoolConnection<Postgres>, sqlx::Error>> {
        let acquired = self.pool.acquire();
        if self.opened.load(Ordering::Relaxed) {
            return Ok(acquired.await);
        }
        tokio::pin!(acquired);
        if let Ok(acquired) = tokio::time::timeout(AT_ONCE, &mut acquired).await {
            return Ok(acquired);
        }
        match absent(&self.pool.connect_options()).await {
            Some(nobody) => Err(Fault::Store(nobody)),
            None => Ok(acquired.await),
        }
    }

    /// Takes the newest login, unless somebody else did so since `before`.
    async fn renew(&self, before: u64, refused: bool) -> Outcome<()> {
        let _one = self.renewing.lock().await;
        if self.renewals.load(Ordering::Acquire) != before {
            return Ok(());
        }
        self.pool.set_connect_options(self.connector.newest(refused).await?);
        self.renewals.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Those that wait.
    pub(super) fn idle(&self) -> Idle {
        Idle(self.pool.clone())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_option_of_an_address_is_refused_before_anything_is_sent() {
        let read = |url: &str| Connector::plain(url, None).address();
        let error = read("postgres://me:secret@db/jobs?host=/tmp&sslmod=verify-full").unwrap_err();
        let words = error.to_string();
        assert!(words.contains("`sslmod`") && words.contains("sslmode, sslrootcert"), "{words}");
        assert!(!words.contains("secret"), "{words}");
        for url in ["postgres://me@db/jobs", "postgres://me@db/jobs?sslmode=disable&port=6432"] {
            assert!(read(url).is_ok(), "{url}");
        }
    }

    fn transport(url: &str, logins: Option<Logins>) -> Transport {
        Connector::plain(url, logins).transport().unwrap()
    }

    #[test]
    fn a_connection_is_verified_where_the_address_says_so_or_the_login_must_not_be_overheard() {
        assert_eq!(transport("postgres://me@db.example/jobs", None), Transport::Unverified);
        let full = "postgres://me@db.example/jobs?sslmode=verify-full";
        assert_eq!(transport(full, None), Transport::Verified);
        let by_ca = "postgres://me@db.example/jobs?sslmode=verify-ca";
        assert_eq!(transport(by_ca, None), Transport::Unverified, "any host of that authority");
        for local in
            ["postgres://me@localhost/jobs", "postgres://me@127.0.0.1/jobs?sslmode=require"]
        {
            assert_eq!(transport(local, None), Transport::Local);
        }
        assert_eq!(transport("postgres://me@x/jobs?host=/run/db", None), Transport::Local);
        let logins = || {
            let none = |_| -> BoxFuture<'static, Result<Login, String>> {
                Box::pin(async { Ok(Login::default()) })
            };
            Some(Logins::new(String::new(), none).verified())
        };
        assert_eq!(transport("postgres://me@db.example/jobs", logins()), Transport::Verified);
        let less = "postgres://me@db.example/jobs?sslmode=require";
        assert_eq!(transport(less, logins()), Transport::Unverified);
    }

    #[test]
    fn a_password_is_found_where_an_address_may_have_one() {
        assert!(has_password("postgres://me:secret@db/jobs"));
        assert!(has_password("postgres://db/jobs?sslmode=require&password=secret"));
        assert!(!has_password("postgres://me@db:5432/jobs?sslmode=require"));
        assert!(!has_password("postgres://db:5432/jobs"));
    }

    #[tokio::test]
    async fn a_login_replaces_what_the_address_says() {
        let logins = Logins::new(String::new(), |ask: LoginAsk| {
            assert_eq!((ask.host.as_str(), ask.port, ask.user.as_str()), ("db", 6000, "me"));
            Box::pin(async { Ok(Login { user: Some("other".to_owned()), ..Login::default() }) })
        });
        let connector = Connector::plain("postgres://me@db:6000/jobs", Some(logins));
        assert_eq!(connector.newest(false).await.unwrap().get_username(), "other");
        let moved = || {
            Logins::new(String::new(), |_| {
                let url = Some("postgres://me@new/jobs".to_owned());
                Box::pin(async { Ok(Login { url, ..Login::default() }) })
            })
        };
        let connector = Connector::plain("postgres://me@old/jobs", Some(moved()));
        assert_eq!(connector.newest(false).await.unwrap().get_host(), "new");
        let connector = Connector::plain("postgres://me@direct/jobs", Some(moved())).fixed();
        assert_eq!(connector.newest(false).await.unwrap().get_host(), "direct");
    }
}
