//! `quarrier queues`: where each named queue stands, and how it shares its lanes.
//! Must not know: how a claim keeps caps and shares.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::pause::pause_json;
use super::table::{one_line, table};
use crate::store::{
    Pause, QueueRow, QueueShare, Scope, SettingDisagreement, Store, TenantShare,
    setting_disagreements,
};
use crate::worker::paused_words;

/// Where each named queue stands: how many of its jobs wait, to be admitted (`submitted`) or for
/// their turn (`ready`), run and are held, its cap, its reserved share, its weight and whether a
/// person has paused it. All but the counts and pauses is configured, under `[queues.NAME]`.
#[derive(Debug, clap::Args)]
pub struct QueuesArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print a JSON object: `queues`, the configured `tenants`, `pauses` by people, `disagreements`.
    #[arg(long)]
    pub json: bool,
}

/// A queue with what stands beside the store's own count.
struct Shown {
    queue: QueueRow,
    submitted: u64,
    paused: bool,
}

/// Prints the queues as they stand now; documents that name none are of `queue_default`.
pub async fn run(
    args: &QueuesArgs,
    store: &dyn Store,
    queue_default: &str,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let pauses = store.pauses().await?;
    let queues = look(store, queue_default, &pauses).await?;
    let shares = store.shares().await?;
    let disagreements = setting_disagreements(&store.limit_seeds().await?, &shares);
    let tenants = shares.tenants;
    if args.json {
        let queues: Vec<Value> = queues.iter().map(as_json).collect();
        let pauses: Vec<Value> = pauses.iter().map(pause_json).collect();
        let all = json!({
            "queues": queues, "tenants": tenants, "pauses": pauses, "disagreements": disagreements,
        });
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    for pause in &pauses {
        writeln!(out, "{}", one_line(&paused_words(pause)))?;
    }
    if !pauses.is_empty() {
        writeln!(out)?;
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
        writeln!(out, "  {}", one_line(&one.to_string()))?;
    }
    writeln!(
        out,
        "Give them the same: of queues and tenants the last to begin is in force, each deletes by its \
         own days, and gives up the replies that its own sqs.reply_allow does not allow."
    )?;
    Ok(())
}

async fn look(
    store: &dyn Store,
    queue_default: &str,
    pauses: &[Pause],
) -> anyhow::Result<Vec<Shown>> {
    let submitted = store.submitted_queues(queue_default).await?;
    let rows = store.queues().await?.into_iter();
    let mut queues: BTreeMap<String, (QueueRow, u64)> =
        rows.map(|queue| (queue.share.name.clone(), (queue, 0))).collect();
    for (name, waiting) in submitted {
        let plain = |name: &String| {
            let share = QueueShare::plain(name);
            (QueueRow { share, ready: 0, running: 0, held: 0 }, 0)
        };
        queues.entry(name).or_insert_with_key(plain).1 = waiting;
    }
    let is_paused = |queue: &QueueRow| {
        let covers = |pause: &Pause| match &pause.scope {
            Scope::All => true,
            Scope::Queue(name) => *name == queue.share.name,
            Scope::Lane(_) => false,
        };
        pauses.iter().any(covers)
    };
    let shown = queues.into_values();
    let shown =
        shown.map(|(queue, submitted)| Shown { paused: is_paused(&queue), queue, submitted });
    Ok(shown.collect())
}

fn as_table(queues: &[Shown]) -> String {
    let row = |shown: &Shown| {
        let (queue, share) = (&shown.queue, &shown.queue.share);
        let reserved = match share.reserved_permille {
            0 => "-".to_owned(),
            permille if permille % 10 == 0 => format!("{} %", permille / 10),
            permille => format!("{}.{} %", permille / 10, permille % 10),
        };
        vec![
            share.name.clone(),
            shown.submitted.to_string(),
            queue.ready.to_string(),
            queue.running.to_string(),
            queue.held.to_string(),
            share.concurrency_max.map_or("-".to_owned(), |most| most.to_string()),
            reserved,
            share.weight.to_string(),
            if shown.paused { "paused".to_owned() } else { String::new() },
        ]
    };
    let header =
        ["queue", "submitted", "ready", "running", "held", "at most", "reserved", "weight", ""];
    table(&header, &[1, 2, 3, 4, 5, 6, 7], queues.iter().map(row).collect())
}

fn weights(tenants: &[TenantShare]) -> String {
    let words = |tenant: &TenantShare| format!("{} {}", tenant.name, tenant.weight);
    tenants.iter().map(words).collect::<Vec<String>>().join(", ")
}

fn as_json(shown: &Shown) -> Value {
    let queue = &shown.queue;
    json!({
        "name": queue.share.name,
        "submitted": shown.submitted,
        "ready": queue.ready,
        "running": queue.running,
        "held": queue.held,
        "concurrency_max": queue.share.concurrency_max,
        "reserved_permille": queue.share.reserved_permille,
        "weight": queue.share.weight,
        "paused": shown.paused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;
    use crate::store::{AdmitStore as _, ControlStore as _, PauseAsk, Shares};
    use expect_test::expect;

    async fn shown(scene: &Scene, json: bool) -> String {
        let mut out = Vec::new();
        run(&QueuesArgs { store: None, json }, &scene.store, "default", &mut out).await.unwrap();
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
            queue    submitted  ready  running  held  at most  reserved  weight
            chat             0      0        0     0        -      20 %       1
            default          0      0        1     0        -         -       1
            reports          0      1        0     0       20         -       1

            Weights of tenants: acme 2.5
        "#]]
        .assert_eq(&shown(&scene, false).await);
        let json: Value = serde_json::from_str(&shown(&scene, true).await).unwrap();
        expect![[r#"{"name":"default","submitted":0,"ready":0,"running":1,"held":0,"concurrency_max":null,"reserved_permille":0,"weight":1.0,"paused":false}"#]].assert_eq(&json["queues"][1].to_string());
    }

    #[tokio::test]
    async fn what_waits_to_be_admitted_is_counted_and_what_is_paused_is_said() {
        let scene = Scene::new().await;
        scene.submit("a", r#"{"prompt":"x","queue":"reports"}"#).await;
        scene.submit("b", "no JSON").await;
        let scope = Scope::Queue("reports".to_owned());
        let ask = PauseAsk { scope, for_ms: None, reason: Some("the prompt is wrong".to_owned()) };
        scene.store.pause(&ask).await.unwrap();
        expect![[r#"
            queue reports is paused by a person since 2026-01-01T00:00:00.000Z: the prompt is wrong; `quarrier resume --queue reports`

            queue    submitted  ready  running  held  at most  reserved  weight
            default          1      0        0     0        -         -       1
            reports          1      0        0     0        -         -       1  paused
        "#]]
        .assert_eq(&shown(&scene, false).await);
        let json: Value = serde_json::from_str(&shown(&scene, true).await).unwrap();
        assert_eq!(
            (&json["queues"][1]["paused"], &json["queues"][1]["submitted"]),
            (&true.into(), &1.into())
        );
        assert_eq!(json["pauses"][0]["scope"], "queue:reports");
    }
}
