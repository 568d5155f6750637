//! Where a store is kept, as its address says, and how it is opened there.
//! Must not know: what is done in the store.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::clock::Clock;
use crate::config::Settings;
#[cfg(feature = "postgres")]
use crate::store::postgres::{PostgresOptions, PostgresStore, Transport};
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{Store, StoreError};

/// What Postgres addresses begin with.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// The longest pause between two looks for a server that is not there.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(2);

/// Where a store is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// In a SQLite file.
    File(PathBuf),
    /// In a Postgres database: its address, perhaps with a password.
    Postgres(String),
}

impl From<PathBuf> for StorePlace {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

/// Without a password.
impl Display for StorePlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => Display::fmt(&file.display(), f),
            Self::Postgres(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                // Options may hold a password too.
                let rest = rest.split_once('?').map_or(rest, |(address, _)| address);
                let (user, server) = rest.rsplit_once('@').unwrap_or(("", rest));
                let user = user.split_once(':').map_or(user, |(name, _)| name);
                let at = if user.is_empty() { "" } else { "@" };
                write!(f, "{scheme}://{user}{at}{server}")
            }
        }
    }
}

impl StorePlace {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Postgres(_) => None,
        }
    }

    /// The migration at which the store stands, before it is opened; none where there is none.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "only a server is reached by settings")
    )]
    pub async fn migration(&self, settings: &Settings) -> anyhow::Result<Option<i64>> {
        Ok(match self {
            Self::File(file) => SqliteStore::migration_at(file).await?,
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let options = postgres_options(settings, url, None, &Clock::real())?;
                PostgresStore::migration_of(&options).await?
            }
            #[cfg(not(feature = "postgres"))]
            Self::Postgres(_) => bail!("this program was built without Postgres"),
        })
    }

    /// Waits for a server that is not there, or whose name nobody knows yet, for at most so long; the
    /// first failure and each new one are logged at once. What the server refuses is not waited out.
    pub async fn wait_for(
        &self,
        settings: &Settings,
        clock: &Clock,
        patience: Duration,
    ) -> anyhow::Result<()> {
        if self.file().is_some() {
            return Ok(());
        }
        let begun_ms = clock.now().mono_ms;
        let mut pause = Duration::from_millis(100);
        let mut told = String::new();
        loop {
            let Err(error) = self.migration(settings).await else { return Ok(()) };
            let is_away = matches!(error.downcast_ref(), Some(StoreError::Transient(_)));
            let waited = Duration::from_millis(clock.now().mono_ms.saturating_sub(begun_ms));
            if !is_away {
                return Err(error.context(format!("failed to use the store {self}")));
            }
            let Some(left) = patience.checked_sub(waited).filter(|left| !left.is_zero()) else {
                let seconds = patience.as_secs();
                let words = format!("failed to reach the store {self} within {seconds} s");
                return Err(error.context(words));
            };
            let words = error.to_string();
            if words != told {
                tracing::warn!("{words}; trying for {} s more", left.as_secs());
                told = words;
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(LOOK_EVERY_MAX);
        }
    }

    /// Makes the store, or brings its tables up to date. A file needs no more than to be opened.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "only a server is reached by settings")
    )]
    pub async fn migrate(&self, settings: &Settings) -> anyhow::Result<()> {
        #[cfg(feature = "postgres")]
        if let Self::Postgres(url) = self {
            let options = postgres_options(settings, url, None, &Clock::real())?;
            PostgresStore::migrate(&options).await?;
        }
        Ok(())
    }

    /// Whether somebody on the network could answer in the place of the store's server.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "only a server is reached by settings")
    )]
    pub fn is_unverified(&self, settings: &Settings) -> anyhow::Result<bool> {
        Ok(match self {
            Self::File(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let options = postgres_options(settings, url, None, &Clock::real())?;
                PostgresStore::transport(&options)? == Transport::Unverified
            }
            #[cfg(not(feature = "postgres"))]
            Self::Postgres(_) => false,
        })
    }
}

/// Where a store is that has this address.
pub fn store_path(url: &str) -> anyhow::Result<StorePlace> {
    if POSTGRES.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(StorePlace::Postgres(url.to_owned()));
    }
    let file = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    if file.is_empty() || file == ":memory:" {
        bail!("failed to open the store `{url}`: it names no file");
    }
    if let Some((scheme, _)) = file.split_once("://") {
        bail!(
            "failed to open the store: this version keeps stores in SQLite files and in Postgres, \
             and knows no `{scheme}://`; name a file or a postgres:// address with --store"
        );
    }
    Ok(StorePlace::File(PathBuf::from(file)))
}

/// Opens a store; `simulated` says which kind of work is to be done, none only to look.
pub async fn open_store(
    settings: &Settings,
    place: &StorePlace,
    simulated: Option<bool>,
    clock: Clock,
) -> anyhow::Result<Arc<dyn Store>> {
    let opened = match place {
        StorePlace::File(path) => {
            let options = SqliteOptions {
                path: path.clone(),
                busy_timeout_ms: settings.store.busy_timeout_ms,
                simulated,
            };
            SqliteStore::open(&options, clock).await.map(shared)
        }
        #[cfg(feature = "postgres")]
        StorePlace::Postgres(url) => {
            let options = postgres_options(settings, url, simulated, &clock)?;
            PostgresStore::open(&options, clock).await.map(shared)
        }
        #[cfg(not(feature = "postgres"))]
        StorePlace::Postgres(_) => bail!("this program was built without Postgres"),
    };
    opened.with_context(|| format!("failed to use the store {place}"))
}

/// How the settings say that a Postgres store is opened.
#[cfg(feature = "postgres")]
fn postgres_options(
    settings: &Settings,
    url: &str,
    simulated: Option<bool>,
    clock: &Clock,
) -> anyhow::Result<PostgresOptions> {
    let kept = &settings.store;
    Ok(PostgresOptions {
        pooled: kept.pooled,
        direct_url: Some(kept.direct_url.clone()).filter(|url| !url.is_empty()),
        listen: kept.listen,
        logins: super::secrets::logins(settings, url, clock)?,
        connections_max: kept.connections_max,
        statement_timeout_ms: kept.statement_timeout_ms,
        lock_timeout_ms: kept.lock_timeout_ms,
        ..PostgresOptions::new(url, simulated)
    })
}

fn shared(store: impl Store + 'static) -> Arc<dyn Store> {
    Arc::new(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password() {
        let shown = |url: &str| store_path(url).unwrap().to_string();
        assert_eq!(shown("postgres://me:se@cret@db:6000/jobs"), "postgres://me@db:6000/jobs");
        assert_eq!(shown("postgresql://db/jobs?password=secret"), "postgresql://db/jobs");
        assert_eq!(shown("sqlite:a.db"), "a.db");
        assert!(store_path("mysql://db/jobs").is_err() && store_path("").is_err());
    }
}
