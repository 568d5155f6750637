//! `quarrier queues`: where each named queue stands, and how it shares its lanes.
//! Must not know: how a claim keeps caps and shares.

use std::io::Write;

use serde_json::{Value, json};

use super::table::{one_line, table};
use crate::store::{QueueRow, SettingDisagreement, Store, TenantShare, setting_disagreements};

/// Where each named queue stands: how many of its jobs wait, run and are held, its cap, its reserved
/// share and its weight. They are configured, under `[queues.NAME]`.
#[derive(Debug, clap::Args)]
pub struct QueuesArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `queues`, the configured `tenants`, `disagreements`.
    #[arg(long)]
    pub json: bool,
}

/// Prints the queues as they stand now.
pub async fn run(args: &QueuesArgs, store: &dyn Store, out: &mut impl Write) -> anyhow::Result<()> {
    let queues = store.queues().await?;
    let shares = store.shares().await?;
    let disagreements = setting_disagreements(&store.limit_seeds().await?, &shares);
    let tenants = shares.tenants;
    if args.json {
        let all = json!({
            "queues": queues.iter().map(as_json).collect::<Vec<Value>>(),
            "tenants": tenants,
            "disagreements": disagreements,
        });
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    if queues.is_empty() {
        writeln!(out, "No queue is configured, and no job waits or runs.")?;
    } else {
        write!(out, "{}", as_table(&queues))?;
    }
    if !tenants.is_empty() {
        writeln!(out, "\nWeights of tenants: {}", weights(&tenants))?;
    }
    write_disagreements(&disagreements, out)
}

fn write_disagreements(found: &[SettingDisagreement], out: &mut impl Write) -> anyhow::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWorkers whose configurations disagree:")?;
    for one in found {
        let words = format!(
            "{} has {}: {}; {} has {}",
            one.seeder, one.setting, one.configured, one.in_force_of, one.in_force
        );
        writeln!(out, "  {}", one_line(&words))?;
    }
    writeln!(
        out,
        "Give them the same: of queues and tenants the last to begin is in force, and each deletes by \
         its own days."
    )?;
    Ok(())
}

fn as_table(queues: &[QueueRow]) -> String {
    let row = |queue: &QueueRow| {
        let share = &queue.share;
        let reserved = match share.reserved_permille {
            0 => "-".to_owned(),
            permille if permille % 10 == 0 => format!("{} %", permille / 10),
            permille => format!("{}.{} %", permille / 10, permille % 10),
        };
        vec![
            share.name.clone(),
            queue.ready.to_string(),
            queue.running.to_string(),
            queue.held.to_string(),
            share.concurrency_max.map_or("-".to_owned(), |most| most.to_string()),
            reserved,
            share.weight.to_string(),
        ]
    };
    let header = ["queue", "ready", "running", "held", "at most", "reserved", "weight"];
    table(&header, &[1, 2, 3, 4, 5, 6], queues.iter().map(row).collect())
}

fn weights(tenants: &[TenantShare]) -> String {
    let words = |tenant: &TenantShare| format!("{} {}", tenant.name, tenant.weight);
    tenants.iter().map(words).collect::<Vec<String>>().join(", ")
}

fn as_json(queue: &QueueRow) -> Value {
    json!({
        "name": queue.share.name,
        "ready": queue.ready,
        "running": queue.running,
        "held": queue.held,
        "concurrency_max": queue.share.concurrency_max,
        "reserved_permille": queue.share.reserved_permille,
        "weight": queue.share.weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;
    use crate::store::{AdmitStore as _, QueueShare, Shares};
    use expect_test::expect;

    async fn shown(scene: &Scene, json: bool) -> String {
        let mut out = Vec::new();
        run(&QueuesArgs { store: None, json }, &scene.store, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn a_store_without_queues_or_jobs_says_so() {
        let text = shown(&Scene::new().await, false).await;
        assert_eq!(text, "No queue is configured, and no job waits or runs.\n");
    }

    #[tokio::test]
    async fn configured_queues_and_queues_with_jobs_are_shown_with_what_shapes_them() {
        let scene = Scene::new().await;
        let chat = QueueShare { reserved_permille: 200, ..QueueShare::plain("chat") };
        let reports = QueueShare { concurrency_max: Some(20), ..QueueShare::plain("reports") };
        let tenants = vec![TenantShare { name: "acme".to_owned(), weight: 2.5 }];
        let shares = Shares { queues: vec![chat, reports], tenants };
        scene.store.seed_shares(&shares).await.unwrap();
        scene.admit(1, r#"{"prompt":"x"}"#).await;
        scene.admit(2, r#"{"prompt":"y","queue":"reports"}"#).await;
        scene.claim().await;
        expect![[r#"
            queue    ready  running  held  at most  reserved  weight
            chat         0        0     0        -      20 %       1
            default      0        1     0        -         -       1
            reports      1        0     0       20         -       1

            Weights of tenants: acme 2.5
        "#]]
        .assert_eq(&shown(&scene, false).await);
        let json: Value = serde_json::from_str(&shown(&scene, true).await).unwrap();
        expect![[r#"{"name":"default","ready":0,"running":1,"held":0,"concurrency_max":null,"reserved_permille":0,"weight":1.0}"#]].assert_eq(&json["queues"][1].to_string());
    }
}
