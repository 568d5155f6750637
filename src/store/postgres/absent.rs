//! Why there is no connection to the server: in words that name the part of the address that is
//! wrong, and the way out.
//! Must not know: pools, where logins come from.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpStream;

use super::error::Fault;
use crate::store::StoreError;

/// The longest look at whether somebody listens.
const LOOK: Duration = Duration::from_secs(2);

/// The class of errors with a login: no such role, a wrong password, a token that is over.
const LOGIN_CLASS: &str = "28";
const NO_SUCH_DATABASE: &str = "3D000";
/// What a pooler answers to the settings with which a session of ours begins, and to much else.
const PROTOCOL_VIOLATION: &str = "08P01";

/// What a failed connection means; `way_out` is what a person does about the login.
pub(super) fn judge(error: sqlx::Error, at: &PgConnectOptions, way_out: &str) -> Fault {
    let place = place(at);
    let user = at.get_username();
    let said = said(&error);
    let told = if said.contains("pg_hba.conf") {
        format!(
            "{said}; the server lets this user in from another host alone, or only over TLS \
             (?sslmode=verify-full), or by its pg_hba.conf not at all"
        )
    } else if is_login_refused(&error) {
        format!("the user `{user}` or its password is wrong at {place}: {said}; {way_out}")
    } else if code(&error).as_deref() == Some(NO_SUCH_DATABASE) {
        let database = at.get_database().unwrap_or(user);
        format!(
            "there is no database `{database}` at {place}: {said}; mend the last part of the \
             address, or make it: `createdb {database}`"
        )
    } else if code(&error).as_deref() == Some(PROTOCOL_VIOLATION) && at.get_options().is_some() {
        return Fault::Store(StoreError::Transient(format!(
            "{said}; if a pooler (PgBouncer) answers at {place}, set store.pooled = true"
        )));
    } else if is_certificate_refused(&error) {
        format!(
            "{said}; the address must name the host as its certificate does, and an authority \
             that is not a public one (as RDS's) by its file: \
             ?sslmode=verify-full&sslrootcert=FILE"
        )
    } else {
        return error.into();
    };
    Fault::Store(StoreError::Refused(told))
}

/// The server's own words, without the line of its source that the client adds.
fn said(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |told| told.message().to_owned())
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

pub(super) fn is_login_refused(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code.starts_with(LOGIN_CLASS))
}

/// While a connection is made only the handshake judges bytes, and only TLS has certificates.
fn is_certificate_refused(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::InvalidData,
        sqlx::Error::Tls(_) => true,
        _ => false,
    }
}

/// `db.example:5432`, or the socket's path.
fn place(at: &PgConnectOptions) -> String {
    socket(at).unwrap_or_else(|| format!("{}:{}", at.get_host(), at.get_port()))
}

fn socket(at: &PgConnectOptions) -> Option<String> {
    let folder = match at.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => at.get_host().strip_prefix('/').map(|rest| format!("/{rest}"))?,
    };
    Some(format!("{folder}/.s.PGSQL.{}", at.get_port()))
}

/// Why nobody can be reached where an address leads; none if somebody listens, or none is known to
/// be missing within two seconds. A server or a name may come, so none of it is for ever.
pub(super) async fn absent(at: &PgConnectOptions) -> Option<StoreError> {
    let told = if let Some(path) = socket(at) {
        nobody_at_socket(&path).await
    } else {
        let looked = nobody_at_host(at.get_host(), at.get_port());
        tokio::time::timeout(LOOK, looked).await.unwrap_or(None)
    };
    told.map(StoreError::Transient)
}

#[cfg(unix)]
async fn nobody_at_socket(path: &str) -> Option<String> {
    let error = tokio::net::UnixStream::connect(path).await.err()?;
    // Whoever is too busy to answer is there.
    if error.kind() == ErrorKind::PermissionDenied {
        return Some(format!(
            "no right to use the socket {path}: {error}; run this as a user that may write to it, \
             or name a host and a port in the address"
        ));
    }
    let gone = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    gone.contains(&error.kind()).then(|| {
        format!(
            "connection refused at the socket {path}: {error}; start the server, or mend `host` and \
             `port` in the address"
        )
    })
}

#[cfg(not(unix))]
async fn nobody_at_socket(_path: &str) -> Option<String> {
    None
}

async fn nobody_at_host(host: &str, port: u16) -> Option<String> {
    let bare = host.trim_matches(['[', ']']);
    let addresses = match tokio::net::lookup_host((bare, port)).await {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            return Some(format!(
                "no such host `{host}`: {error}; mend the host in the address, or see that this \
                 machine's name service knows it"
            ));
        }
    };
    let error = TcpStream::connect(addresses.as_slice()).await.err()?;
    Some(if error.kind() == ErrorKind::ConnectionRefused {
        format!(
            "connection refused at {host}:{port}: no server listens there; start it, or mend the \
             host or the port in the address"
        )
    } else {
        format!(
            "{host}:{port} cannot be reached: {error}; mend the host in the address, or the network"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr as _;

    async fn words(url: &str) -> String {
        absent(&PgConnectOptions::from_str(url).unwrap()).await.unwrap().to_string()
    }

    #[tokio::test]
    async fn the_part_of_the_address_that_leads_nowhere_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused = words(&format!("postgres://me:secret@127.0.0.1:{free}/jobs")).await;
        assert!(refused.contains(&format!("connection refused at 127.0.0.1:{free}")), "{refused}");
        let nowhere = words("postgres://me:secret@no-such-host.invalid/jobs").await;
        assert!(nowhere.contains("no such host `no-such-host.invalid`"), "{nowhere}");
        let socket = words("postgres://me:secret@localhost/jobs?host=/nowhere&port=7").await;
        assert!(socket.contains("/nowhere/.s.PGSQL.7"), "{socket}");
        assert!(![refused, nowhere, socket].concat().contains("secret"));
    }

    #[tokio::test]
    async fn who_listens_is_not_absent_though_it_says_nothing() {
        let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://me@{}/jobs", there.local_addr().unwrap());
        assert_eq!(absent(&PgConnectOptions::from_str(&url).unwrap()).await, None);
    }
}
