//! The configuration: what was read, what is refused, what contradicts itself, and variables that
//! look like settings and are none.
//! Must not know: stores, networks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::report::Report;
use crate::catalogue::nearest;
use crate::cli::rooms;
use crate::config::{self, ConfigError, FILE_NAME, LoadArgs, Loaded, Settings};
use crate::store::LimitRule;

const CHECK: &str = "configuration";

/// How many mistakes are told apart; each is found by leaving out the one before.
const MISTAKES_MAX: usize = 20;

/// An empty file everywhere that this program runs: stands in for a file that is refused.
const NO_FILE: &str = "/dev/null";

/// Variables that are read without our prefix.
const FOREIGN: [&str; 3] = ["BEDROCK_MODEL_ID", "BEDROCK_TEMPERATURE", "BEDROCK_MAX_TOKENS"];

/// A call whose tokens must come faster than this is cut sooner or later.
const TOKENS_PER_S_MAX: u64 = 100;

/// Loads the configuration and says what it is made of. What is refused is left out, so that
/// everything else can be looked at; `None` if nothing can be loaded at all.
pub(super) fn load(args: &LoadArgs, report: &mut Report) -> Option<Loaded> {
    let mut args = args.clone();
    for _ in 0..MISTAKES_MAX {
        match config::load(&args) {
            Ok(loaded) => {
                describe(&args, &loaded, report);
                return Some(loaded);
            }
            Err(error) => {
                let said = in_one_line(&format!("failed to {error}"));
                report.error(CHECK, said, remedy(&error));
                if !leave_out(&mut args, &error) {
                    return None;
                }
            }
        }
    }
    None
}

/// TOML's own errors draw the line with a mark below it; the words are enough.
fn in_one_line(text: &str) -> String {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains(" |") && !line.starts_with('|'));
    lines.collect::<Vec<_>>().join("; ")
}

fn remedy(error: &ConfigError) -> String {
    match error {
        ConfigError::File { named_by, .. } => {
            format!("name a file that can be read with {named_by}, or leave it out")
        }
        ConfigError::Syntax { origin, .. } => {
            format!("mend that line of {origin}; everything below is checked without the file")
        }
        ConfigError::Unknown { key, origin, nearest } => {
            let (key, near) = match variable(origin) {
                Some(name) => (name.to_owned(), nearest.as_deref().map(variable_of)),
                None => (key.clone(), nearest.clone()),
            };
            match near {
                Some(near) => format!("write {near} in place of {key}, or remove it"),
                None => format!("remove {key}; `quarrier config show` lists every setting"),
            }
        }
        ConfigError::Wrong { key, origin, .. } => match variable(origin) {
            Some(name) => format!("change the variable {name}"),
            None => format!("change {key} in {origin}"),
        },
        ConfigError::Models { path, .. } => {
            format!("mend {}, or set catalogue.models_file to \"\"", path.display())
        }
    }
}

/// The variable that a value comes from.
fn variable(origin: &str) -> Option<&str> {
    origin.strip_prefix("environment ")
}

/// The variable that sets a key.
fn variable_of(key: &str) -> String {
    format!("QUARRIER_{}", key.replace('.', "__").to_uppercase())
}

/// Takes what was refused out of the next try. False where nothing is left to take out.
fn leave_out(args: &mut LoadArgs, error: &ConfigError) -> bool {
    let origin = match error {
        ConfigError::Unknown { origin, .. }
        | ConfigError::Wrong { origin, .. }
        | ConfigError::Syntax { origin, .. } => origin.as_str(),
        ConfigError::File { .. } => "",
        ConfigError::Models { .. } => return false,
    };
    if let Some(variable) = origin.strip_prefix("environment ") {
        return args.env.remove(variable).is_some();
    }
    if let Some(flag) = origin.strip_prefix("flag ") {
        let before = args.flags.len();
        args.flags.retain(|given| given.flag != flag);
        return args.flags.len() < before;
    }
    let is_new = args.file.as_deref() != Some(Path::new(NO_FILE));
    args.file = Some(PathBuf::from(NO_FILE));
    is_new
}

fn describe(args: &LoadArgs, loaded: &Loaded, report: &mut Report) {
    let is_refused = args.file.as_deref() == Some(Path::new(NO_FILE));
    let changed: Vec<&str> = loaded
        .origins
        .iter()
        .filter(|setting| setting.origin != "default")
        .map(|setting| setting.key.as_str())
        .collect();
    let file = match file_of(args) {
        Some(_) if is_refused => "its file left out".to_owned(),
        Some(file) => format!("read {}", file.display()),
        None => format!("no file (./{FILE_NAME} is not there)"),
    };
    let differs = match changed.as_slice() {
        [] => "every setting has its default".to_owned(),
        some => format!("{} set: {}", some.len(), some.join(", ")),
    };
    report.ok(CHECK, format!("{file}; {differs}"));
    contradictions(&loaded.settings, report);
    limits(loaded, report);
    strange_variables(&args.env, report);
}

/// The file that `config::load` has read.
fn file_of(args: &LoadArgs) -> Option<PathBuf> {
    let named = args.env.get("QUARRIER_CONFIG").filter(|path| !path.is_empty());
    let usual = args.dir.join(FILE_NAME);
    let usual = usual.exists().then_some(usual);
    args.file.clone().or_else(|| named.map(PathBuf::from)).or(usual)
}

/// Settings that are each allowed and do not go together.
fn contradictions(settings: &Settings, report: &mut Report) {
    let Settings { worker, bedrock, store, job, log, .. } = settings;
    let ms = |seconds: u64| seconds.saturating_mul(1_000);
    let mut warn = |is_so: bool, found: String, remedy: &str| {
        if is_so {
            report.warning("configuration.settings", found, remedy);
        }
    };
    warn(
        store.busy_timeout_ms >= worker.lease_ms,
        format!(
            "store.busy_timeout_ms ({}) is not below worker.lease_ms ({}): a beat that waits for the \
             store may lose its lease",
            store.busy_timeout_ms, worker.lease_ms
        ),
        "lower store.busy_timeout_ms, or raise worker.lease_ms",
    );
    warn(
        worker.claim_interval_ms > worker.poll_ms,
        format!(
            "worker.claim_interval_ms ({}) is above worker.poll_ms ({}): an idle worker looks more \
             often than it may claim",
            worker.claim_interval_ms, worker.poll_ms
        ),
        "raise worker.poll_ms, or lower worker.claim_interval_ms (25 is the default)",
    );
    let clocks = bedrock.clocks(job.max_tokens);
    for (name, clock_ms) in [
        ("bedrock.first_token_timeout_ms", bedrock.first_token_timeout_ms),
        ("bedrock.idle_timeout_ms", bedrock.idle_timeout_ms),
    ] {
        warn(
            clock_ms > clocks.total_ms,
            format!(
                "{name} ({clock_ms}) is longer than a whole call may take ({} ms for {} tokens): it \
                 never strikes",
                clocks.total_ms, job.max_tokens
            ),
            "lower it, or raise bedrock.call_timeout_ms_base",
        );
    }
    let needed = ms(u64::from(job.max_tokens)).checked_div(clocks.total_ms).unwrap_or(u64::MAX);
    warn(
        needed > TOKENS_PER_S_MAX,
        format!(
            "a call may take {} ms, and job.max_tokens is {}: an answer of that length needs {needed} \
             tokens a second, or it is cut and still paid for",
            clocks.total_ms, job.max_tokens
        ),
        "raise bedrock.call_timeout_ms_per_token (100 is the default), or lower job.max_tokens",
    );
    warn(
        ms(job.deadline_s) < clocks.total_ms,
        format!(
            "job.deadline_s ({}) is shorter than one call may take ({} ms)",
            job.deadline_s, clocks.total_ms
        ),
        "raise job.deadline_s",
    );
    warn(
        log.bodies,
        "log.bodies is on: prompts and answers go to the log".to_owned(),
        "set log.bodies = false unless you are looking for something",
    );
}

/// The limits: none at all, lifted, or smaller than one call.
fn limits(loaded: &Loaded, report: &mut Report) {
    const CHECK: &str = "configuration.limits";
    let rules = rooms::limit_rules(loaded);
    let job = &loaded.settings.job;
    for setting in &loaded.origins {
        // What --simulate lifts is meant so.
        let is_said = !setting.origin.starts_with("flag ");
        if is_said && setting.key.starts_with("limits.") && setting.value.as_u64() == Some(0) {
            report.note(
                CHECK,
                format!("{} is 0, which lifts the limit", setting.key),
                "set it to the account's quota, unless a narrower limit holds these calls",
            );
        }
    }
    if rules.is_empty() {
        report.warning(
            CHECK,
            "no limit is set: calls leave as fast as worker.concurrency allows, and the provider \
             throttles them",
            "set limits.total.requests_per_minute to the account's quota",
        );
        return;
    }
    for rule in &rules {
        // The names that a job gets which says nothing.
        let holds_default = match rule.pattern.as_str() {
            "total" => true,
            pattern => {
                let held = |name: String| wildmatch::WildMatch::new(pattern).matches(&name);
                held(format!("queue:{}", job.queue)) || held(format!("tenant:{}", job.tenant))
            }
        };
        let tokens = rule.limit.tokens_per_minute;
        if let Some(tokens) =
            tokens.filter(|tokens| holds_default && *tokens < u64::from(job.max_tokens))
        {
            report.error(
                CHECK,
                format!(
                    "limits.{}.tokens_per_minute leaves {tokens} a minute, less than one call \
                     reserves (job.max_tokens is {}): no job that does not say less can ever run",
                    rule.pattern, job.max_tokens
                ),
                "lower job.max_tokens, or raise the limit (budget.quota_share takes its part of it)",
            );
        }
    }
    let shown: Vec<String> = rules.iter().map(shown).collect();
    report.ok(CHECK, shown.join("; "));
}

fn shown(rule: &LimitRule) -> String {
    let rate = |rate: Option<u64>, what: &str| rate.map(|rate| format!("{rate} {what}"));
    let rates: Vec<String> = [
        rate(rule.limit.requests_per_minute, "requests"),
        rate(rule.limit.tokens_per_minute, "tokens"),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{}: {} a minute", rule.pattern, rates.join(" and "))
}

/// Names that were meant for us and are not ours. Those with our prefix are refused as settings.
fn strange_variables(env: &BTreeMap<String, String>, report: &mut Report) {
    for name in env.keys() {
        let near = if name.starts_with("BEDROCK_") && !FOREIGN.contains(&name.as_str()) {
            nearest(name, FOREIGN).first().map(|near| (*near).to_owned())
        } else {
            misspelt_prefix(name)
        };
        if let Some(near) = near {
            report.warning(
                "configuration.environment",
                format!("the variable {name} is not read"),
                format!("did you mean {near}? Otherwise leave it"),
            );
        }
    }
}

/// `QUARIER_STORE__URL` as it was probably meant.
fn misspelt_prefix(name: &str) -> Option<String> {
    let (first, rest) = name.split_once('_')?;
    let is_near =
        first != "QUARRIER" && first.starts_with("QU") && !nearest(first, ["QUARRIER"]).is_empty();
    is_near.then(|| format!("QUARRIER_{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(file: &str, env: &[(&str, &str)], expected: &Expect) -> Option<Loaded> {
        let folder = tempfile::tempdir().unwrap();
        if !file.is_empty() {
            std::fs::write(folder.path().join(FILE_NAME), file).unwrap();
        }
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let args =
            LoadArgs { dir: folder.path().to_owned(), env: env.collect(), ..LoadArgs::default() };
        let mut report = Report::default();
        let loaded = load(&args, &mut report);
        let shown = report.text().replace(&*folder.path().to_string_lossy(), "DIR");
        expected.assert_eq(&shown);
        loaded
    }

    #[test]
    fn without_a_file_it_says_that_all_is_default() {
        check(
            "",
            &[],
            &expect![[r#"
            ok       configuration         no file (./quarrier.toml is not there); every setting has its default
            ok       configuration.limits  total: 50 requests a minute
        "#]],
        );
    }

    #[test]
    fn every_mistake_is_told_and_the_rest_is_checked_all_the_same() {
        let env = [
            ("QUARRIER_WORKER_CONCURRENCY", "8"),
            ("QUARRIER_WORKER__BEAT_MS", "9000"),
            ("QUARIER_STORE__URL", "x.db"),
            ("BEDROCK_MODELID", "nova-lite"),
            ("BEDROCK_API_KEY", "no name of ours is near"),
        ];
        let loaded = check(
            "[worker]\nconcurency = 3\n",
            &env,
            &expect![[r#"
                error    configuration              failed to read the setting worker.concurency (DIR/quarrier.toml): there is no such setting, did you mean worker.concurrency?; `quarrier config show` lists them
                                                    -> write worker.concurrency in place of worker.concurency, or remove it
                error    configuration              failed to read the setting worker_concurrency (environment QUARRIER_WORKER_CONCURRENCY): there is no such setting, did you mean worker.concurrency (QUARRIER_WORKER__CONCURRENCY)?; `quarrier config show` lists them
                                                    -> write QUARRIER_WORKER__CONCURRENCY (QUARRIER_WORKER__CONCURRENCY) in place of QUARRIER_WORKER_CONCURRENCY, or remove it
                error    configuration              failed to read the setting worker.beat_ms (environment QUARRIER_WORKER__BEAT_MS): it must be at most a third of worker.lease_ms (4000): two late beats must not lose the lease
                                                    -> change the variable QUARRIER_WORKER__BEAT_MS
                ok       configuration              its file left out; every setting has its default
                ok       configuration.limits       total: 50 requests a minute
                warning  configuration.environment  the variable BEDROCK_MODELID is not read
                                                    -> did you mean BEDROCK_MODEL_ID? Otherwise leave it
                warning  configuration.environment  the variable QUARIER_STORE__URL is not read
                                                    -> did you mean QUARRIER_STORE__URL? Otherwise leave it
            "#]],
        );
        assert!(loaded.is_some());
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_line() {
        check(
            "[worker\n",
            &[],
            &expect![[r#"
                error    configuration         failed to read DIR/quarrier.toml: TOML parse error at line 1, column 8; invalid table header; expected `.`, `]`
                                               -> mend that line of DIR/quarrier.toml; everything below is checked without the file
                ok       configuration         its file left out; every setting has its default
                ok       configuration.limits  total: 50 requests a minute
            "#]],
        );
    }

    #[test]
    fn settings_that_do_not_go_together_are_warned_of() {
        let file = "[store]\nbusy_timeout_ms = 20000\n[worker]\nclaim_interval_ms = 900\n\
                    [bedrock]\ncall_timeout_ms_base = 1000\ncall_timeout_ms_per_token = 1\n\
                    [job]\ndeadline_s = 2\n[log]\nbodies = true\n";
        check(
            file,
            &[],
            &expect![[r#"
            ok       configuration           read DIR/quarrier.toml; 6 set: bedrock.call_timeout_ms_base, bedrock.call_timeout_ms_per_token, job.deadline_s, log.bodies, store.busy_timeout_ms, worker.claim_interval_ms
            warning  configuration.settings  store.busy_timeout_ms (20000) is not below worker.lease_ms (12000): a beat that waits for the store may lose its lease
                                             -> lower store.busy_timeout_ms, or raise worker.lease_ms
            warning  configuration.settings  worker.claim_interval_ms (900) is above worker.poll_ms (500): an idle worker looks more often than it may claim
                                             -> raise worker.poll_ms, or lower worker.claim_interval_ms (25 is the default)
            warning  configuration.settings  bedrock.first_token_timeout_ms (60000) is longer than a whole call may take (5096 ms for 4096 tokens): it never strikes
                                             -> lower it, or raise bedrock.call_timeout_ms_base
            warning  configuration.settings  bedrock.idle_timeout_ms (60000) is longer than a whole call may take (5096 ms for 4096 tokens): it never strikes
                                             -> lower it, or raise bedrock.call_timeout_ms_base
            warning  configuration.settings  a call may take 5096 ms, and job.max_tokens is 4096: an answer of that length needs 803 tokens a second, or it is cut and still paid for
                                             -> raise bedrock.call_timeout_ms_per_token (100 is the default), or lower job.max_tokens
            warning  configuration.settings  job.deadline_s (2) is shorter than one call may take (5096 ms)
                                             -> raise job.deadline_s
            warning  configuration.settings  log.bodies is on: prompts and answers go to the log
                                             -> set log.bodies = false unless you are looking for something
            ok       configuration.limits    total: 50 requests a minute
        "#]],
        );
    }

    #[test]
    fn limits_that_are_lifted_or_smaller_than_one_call_are_told() {
        let file = "[limits]\ntotal = { requests_per_minute = 0, tokens_per_minute = 5000 }\n\
                    [budget]\nquota_share = 0.5\n";
        check(
            file,
            &[],
            &expect![[r#"
            ok       configuration         read DIR/quarrier.toml; 3 set: budget.quota_share, limits.total.requests_per_minute, limits.total.tokens_per_minute
            note     configuration.limits  limits.total.requests_per_minute is 0, which lifts the limit
                                           -> set it to the account's quota, unless a narrower limit holds these calls
            error    configuration.limits  limits.total.tokens_per_minute leaves 2500 a minute, less than one call reserves (job.max_tokens is 4096): no job that does not say less can ever run
                                           -> lower job.max_tokens, or raise the limit (budget.quota_share takes its part of it)
            ok       configuration.limits  total: 2500 tokens a minute
        "#]],
        );
        check(
            "[limits]\ntotal = { requests_per_minute = 0 }\n",
            &[],
            &expect![[r#"
            ok       configuration         read DIR/quarrier.toml; 1 set: limits.total.requests_per_minute
            note     configuration.limits  limits.total.requests_per_minute is 0, which lifts the limit
                                           -> set it to the account's quota, unless a narrower limit holds these calls
            warning  configuration.limits  no limit is set: calls leave as fast as worker.concurrency allows, and the provider throttles them
                                           -> set limits.total.requests_per_minute to the account's quota
        "#]],
        );
    }
}
