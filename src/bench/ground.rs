//! The ground on which is measured: a store that nobody uses. Refuses any other, empties it between
//! measurements, and leaves the place as it found it.
//! Must not know: what is measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::meters::Meters;
#[cfg(feature = "postgres")]
use super::server::Server;
use crate::clock::Clock;
use crate::config::Settings;
use crate::rooms::{self, StorePlace};
use crate::store::Store;

/// Where is measured. Taken, it must be left again: [`super::run`] does.
pub struct Ground {
    settings: Settings,
    place: StorePlace,
    kind: Kind,
}

enum Kind {
    File(PathBuf),
    #[cfg(feature = "postgres")]
    Server(Box<Server>),
}

impl Ground {
    /// Takes the place, if nobody uses it. What is made here goes when it is left.
    pub async fn take(settings: &Settings, place: &StorePlace) -> anyhow::Result<Self> {
        let kind = match place {
            StorePlace::File(path) => Kind::File(unused(path)?),
            #[cfg(feature = "postgres")]
            StorePlace::Postgres(url) => {
                Kind::Server(Box::new(Server::take(settings, url, place).await?))
            }
            #[cfg(not(feature = "postgres"))]
            StorePlace::Postgres(_) => bail!("this program was built without Postgres"),
        };
        Ok(Self { settings: settings.clone(), place: place.clone(), kind })
    }

    /// `sqlite` or `postgres`.
    pub(super) fn engine(&self) -> &'static str {
        match &self.kind {
            Kind::File(_) => "sqlite",
            #[cfg(feature = "postgres")]
            Kind::Server(_) => "postgres",
        }
    }

    /// The file, where the store is one.
    #[cfg(feature = "sqlite")]
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) => Some(path),
            #[cfg(feature = "postgres")]
            Kind::Server(_) => None,
        }
    }

    /// The server, where the store is on one.
    #[cfg(feature = "postgres")]
    pub(super) fn server(&self) -> Option<&Server> {
        match &self.kind {
            Kind::File(_) => None,
            Kind::Server(server) => Some(server),
        }
    }

    /// Meters of all that works here.
    pub(super) async fn meters(&self) -> anyhow::Result<Meters> {
        match &self.kind {
            Kind::File(_) => Ok(Meters::own()),
            #[cfg(feature = "postgres")]
            Kind::Server(server) => Meters::of_server(server.connect().await?).await,
        }
    }

    /// An empty store. Nobody may have it open.
    pub(super) async fn fresh(&self) -> anyhow::Result<Arc<dyn Store>> {
        match &self.kind {
            Kind::File(path) => remove(path)?,
            #[cfg(feature = "postgres")]
            Kind::Server(server) => server.empty().await?,
        }
        rooms::open_store(&self.settings, &self.place, Some(true), Clock::real()).await
    }

    /// Lets what was put in come to rest, so that nobody tidies up while it is measured.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        match &self.kind {
            Kind::File(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Kind::Server(server) => server.settle().await,
        }
    }

    /// Removes what was made.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        match self.kind {
            Kind::File(path) => remove(&path),
            #[cfg(feature = "postgres")]
            Kind::Server(server) => server.leave().await,
        }
    }
}

/// A file that is there is somebody's, whatever it holds.
fn unused(path: &Path) -> anyhow::Result<PathBuf> {
    if files(path).iter().any(|file| file.exists()) {
        bail!(
            "measure in {}: there is such a file already, and bench empties the store that it uses; \
             name a file that is not there with --store",
            path.display()
        );
    }
    Ok(path.to_owned())
}

/// The file and those that SQLite keeps beside it.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

fn remove(path: &Path) -> anyhow::Result<()> {
    for file in files(path) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        assert_eq!(unused(&path).unwrap(), path);
        std::fs::write(folder.path().join("jobs.db-wal"), "").unwrap();
        let refusal = unused(&path).unwrap_err().to_string();
        assert!(refusal.contains("name a file that is not there"), "{refusal}");
        remove(&path).unwrap();
        assert!(unused(&path).is_ok());
    }
}
