//! `quarrier tenants`: erase a tenant's content, and show the receipts.
//! Must not know: how anything is deleted.

use std::io::Write;

use anyhow::bail;

use super::known;
use super::table::one_line;
use crate::clock::rfc3339;
use crate::config::Settings;
use crate::store::{EraseAsk, Erasure, ErasureCounts, Store};

/// Erase a tenant's content, and show the receipts.
#[derive(Debug, clap::Args)]
pub struct TenantsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TenantsCommand,
}

/// What `quarrier tenants` can do.
#[derive(Debug, clap::Subcommand)]
pub enum TenantsCommand {
    /// Delete the prompts, answers, metadata and submissions of a tenant. Its jobs that wait are
    /// cancelled, those that run are fenced; what they cost stays. Prints a receipt, as JSON.
    Erase(EraseArgs),
    /// Print the receipts, one JSON object a line, the oldest first.
    Receipts(ReceiptsArgs),
}

impl TenantsCommand {
    /// The store that the command line names.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        match self {
            Self::Erase(args) => args.store.as_deref(),
            Self::Receipts(args) => args.store.as_deref(),
        }
    }
}

/// `quarrier tenants erase`.
#[derive(Debug, clap::Args)]
pub struct EraseArgs {
    /// Whose content goes.
    pub tenant: String,
    /// The store.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Do it: nothing brings the content back.
    #[arg(long)]
    pub yes: bool,
    /// Who asks, for the receipt; else the user of this process.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `quarrier tenants receipts`.
#[derive(Debug, clap::Args)]
pub struct ReceiptsArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// What is asked, by whom.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// Who runs this process.
    pub user: &'a str,
}

/// Runs `quarrier tenants`. What is no receipt goes to `notes`.
pub async fn run(
    args: &TenantsArgs,
    store: &dyn Store,
    asked: Asked<'_>,
    (out, notes): (&mut impl Write, &mut impl Write),
) -> anyhow::Result<()> {
    match &args.command {
        TenantsCommand::Erase(args) => {
            let receipt = erase(args, store, asked).await?;
            write_receipt(&receipt, out)?;
            if receipt.counts == ErasureCounts::default() {
                let tenant = one_line(&args.tenant);
                let near = known::tenant(&args.tenant, store).await;
                let near = near.map(|near| format!(" ({near})")).unwrap_or_default();
                writeln!(notes, "note: there was nothing of the tenant {tenant} to erase{near}")?;
            }
            Ok(())
        }
        TenantsCommand::Receipts(_) => {
            for receipt in store.erasures().await? {
                write_receipt(&receipt, out)?;
            }
            Ok(())
        }
    }
}

async fn erase(
    args: &EraseArgs,
    store: &dyn Store,
    Asked { settings, user }: Asked<'_>,
) -> anyhow::Result<Erasure> {
    let tenant = &args.tenant;
    if !args.yes {
        bail!(
            "erase {tenant:?} unasked: it deletes the content of every job of this tenant, and \
             cancels those that have not ended; stop what puts its jobs in, then add --yes"
        );
    }
    let asked_by = args.by.as_deref().unwrap_or(user).to_owned();
    let ask = EraseAsk {
        tenant: tenant.clone(),
        asked_by,
        tenant_default: settings.job.tenant.clone(),
        rows_max: settings.store.write_rows_max,
    };
    loop {
        let receipt = store.erase(&ask).await?;
        if receipt.done_at.is_some() {
            return Ok(receipt);
        }
    }
}

fn write_receipt(receipt: &Erasure, out: &mut impl Write) -> anyhow::Result<()> {
    let mut shown = serde_json::to_value(receipt)?;
    let at = |ms: Option<i64>| ms.map(rfc3339).into();
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("started_at".to_owned(), at(Some(receipt.started_at)));
        fields.insert("done_at".to_owned(), at(receipt.done_at));
    }
    writeln!(out, "{shown}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;
    use crate::config::{LoadArgs, load};

    #[tokio::test]
    async fn it_asks_before_it_erases_and_keeps_the_receipt() {
        let scene = Scene::new().await;
        let settings = load(&LoadArgs::default()).unwrap().settings;
        let erased = async |yes| {
            let args = EraseArgs { tenant: "acme".to_owned(), store: None, yes, by: None };
            let args = TenantsArgs { command: TenantsCommand::Erase(args) };
            let mut out = Vec::new();
            let asked = Asked { settings: &settings, user: "ada" };
            let mut notes = Vec::new();
            run(&args, &scene.store, asked, (&mut out, &mut notes)).await?;
            let notes = String::from_utf8(notes)?;
            assert!(notes.starts_with("note: there was nothing of the tenant acme"), "{notes}");
            anyhow::Ok(serde_json::from_slice::<serde_json::Value>(&out)?)
        };
        let refused = erased(false).await.unwrap_err().to_string();
        assert!(refused.contains("add --yes"), "{refused}");
        let receipt = erased(true).await.unwrap();
        assert_eq!((&receipt["tenant"], &receipt["jobs"]), (&"acme".into(), &0.into()));
        assert_eq!(receipt["asked_by"], "ada");
        assert!(receipt["done_at"].as_str().unwrap().ends_with('Z'), "{receipt}");
        let args = TenantsArgs { command: TenantsCommand::Receipts(ReceiptsArgs { store: None }) };
        let mut out = Vec::new();
        let asked = Asked { settings: &settings, user: "ada" };
        run(&args, &scene.store, asked, (&mut out, &mut Vec::new())).await.unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(kept["id"], receipt["id"]);
    }
}
