//! `quarrier retention`: what is over and would go, or goes at once.
//! Must not know: how anything is deleted.

use std::io::Write;

use serde_json::json;

use crate::config::Settings;
use crate::store::{RetainAsk, RetentionPolicy, RetentionStage, Store};

/// Delete what has been kept long enough (`[retention]`); workers do the same about once a minute.
#[derive(Debug, clap::Args)]
pub struct RetentionArgs {
    /// The store to look at.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Only count what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Print a JSON object: `dry_run`, `bodies` and `jobs` (how many jobs), `busy`.
    #[arg(long)]
    pub json: bool,
}

/// Deletes or counts, both stages to their end.
pub async fn run(
    args: &RetentionArgs,
    store: &dyn Store,
    settings: &Settings,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut jobs = [0; 2];
    let mut busy = false;
    for (stage, count) in RetentionStage::ALL.into_iter().zip(&mut jobs) {
        let (found, is_busy) = stage_to_its_end(args, store, settings, stage).await?;
        *count = found;
        busy |= is_busy;
    }
    let [bodies, whole] = jobs;
    if args.json {
        let all = json!({ "dry_run": args.dry_run, "bodies": bodies, "jobs": whole, "busy": busy });
        writeln!(out, "{all}")?;
        return Ok(());
    }
    let policy = &settings.retention;
    let verb = if args.dry_run { "would go" } else { "went" };
    writeln!(out, "content of {bodies} jobs {verb} ({})", days(policy.bodies_days))?;
    writeln!(out, "{whole} jobs {verb} as a whole ({})", days(policy.jobs_days))?;
    let own = policy.queues.len() + policy.tenants.len();
    if own > 0 {
        writeln!(out, "{own} queues and tenants have days of their own")?;
    }
    if busy {
        writeln!(out, "another process is deleting at this moment; it does the rest")?;
    }
    Ok(())
}

fn days(days: u32) -> String {
    match days {
        0 => "kept for ever".to_owned(),
        1 => "kept for 1 day after the end".to_owned(),
        days => format!("kept for {days} days after the end"),
    }
}

async fn stage_to_its_end(
    args: &RetentionArgs,
    store: &dyn Store,
    settings: &Settings,
    stage: RetentionStage,
) -> anyhow::Result<(u64, bool)> {
    let policy: RetentionPolicy = settings.retention.clone();
    let rows_max = settings.store.write_rows_max;
    let mut ask = RetainAsk { stage, policy, rows_max, look_after: args.dry_run.then_some(0) };
    let mut jobs = 0;
    loop {
        let retained = store.retain(&ask).await?;
        jobs += u64::from(retained.jobs);
        if retained.busy || !retained.more {
            return Ok((jobs, retained.busy));
        }
        if args.dry_run {
            ask.look_after = Some(retained.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::Scene;
    use crate::config::{LoadArgs, load};
    use expect_test::expect;

    #[tokio::test]
    async fn it_says_what_went_and_for_how_long_things_are_kept() {
        let scene = Scene::new().await;
        let settings = load(&LoadArgs::default()).unwrap().settings;
        let shown = async |dry_run, json| {
            let args = RetentionArgs { store: None, dry_run, json };
            let mut out = Vec::new();
            run(&args, &scene.store, &settings, &mut out).await.unwrap();
            String::from_utf8(out).unwrap()
        };
        expect![[r#"
            content of 0 jobs would go (kept for 30 days after the end)
            0 jobs would go as a whole (kept for 90 days after the end)
        "#]]
        .assert_eq(&shown(true, false).await);
        expect![[r#"
            {"dry_run":false,"bodies":0,"jobs":0,"busy":false}
        "#]]
        .assert_eq(&shown(false, true).await);
    }
}
