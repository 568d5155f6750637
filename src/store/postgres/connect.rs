//! What a connection to the server is made with: the newest address and password, and TLS that is
//! verified where asked.
//! Must not know: tables, where passwords are kept, or how many connections there are.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::absent;
use super::error::Fault;
use crate::store::{StoreError, StoreResult};

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
    pub(super) fn changes(&self) -> bool {
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
