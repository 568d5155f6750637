//! The producers and consumers of `examples/sqs`, as people run them, beside a worker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Queue, Ran, Scene, said};

/// The oldest Node that the AWS SDK of today runs on.
const NODE_MIN: u32 = 20;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sqs").join(name)
}

#[track_caller]
fn ok(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    ran.out
}

/// The programs send their jobs and print a grade for each, and nothing stays on either queue.
async fn graded(scene: &Scene, program: &Path, [producer, consumer]: [PathBuf; 2]) {
    let (jobs, answers) = (Queue::new().await, Queue::new().await);
    let _worker = scene.serve(&jobs, Some(&answers));
    let run = |script: &Path, args: &[&str]| {
        let script = script.display().to_string();
        let args: Vec<&str> = [script.as_str()].into_iter().chain(args.iter().copied()).collect();
        ok(scene.program(program, &args))
    };
    assert_eq!(run(&producer, &[&jobs.url, &answers.url]), "sent 3 jobs\n");
    let said = run(&consumer, &[&answers.url, "3"]);
    eprintln!("{said}");
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 3, "{said}");
    for (number, line) in (1..).zip(lines) {
        let (id, grade) = line.split_once(' ').unwrap();
        assert!(id.ends_with(&format!("-finding-{number}")), "{said}");
        assert!(["major", "minor", "observation"].contains(&grade), "{said}");
    }
    answers.until_empty().await;
    jobs.until_empty().await;
    // Sent again they are the same jobs: nothing is done twice, and their messages go.
    run(&producer, &[&jobs.url, &answers.url]);
    jobs.until_empty().await;
    assert_eq!(scene.results(3).len(), 3);
}

#[tokio::test]
async fn the_python_programs_send_jobs_and_read_their_results() {
    let scripts = [example("python/producer.py"), example("python/consumer.py")];
    graded(&Scene::new(), Path::new(&said("TEST_SQS_PYTHON")), scripts).await;
}

#[tokio::test]
async fn the_node_programs_send_jobs_and_read_their_results() {
    let folder = match node_folder() {
        Ok(folder) => folder,
        Err(why) => {
            eprintln!("skipped: the programs for Node were not run, because {why}");
            return;
        }
    };
    let scripts = [folder.join("producer.mjs"), folder.join("consumer.mjs")];
    graded(&Scene::new(), &node().unwrap(), scripts).await;
}

/// Where Node is.
fn node() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("node")).find(|node| node.is_file())
}

/// The programs beside the packages that their lock file names, installed once below the target
/// folder; or why not.
fn node_folder() -> Result<PathBuf, String> {
    let node = node().ok_or("there is no node on the PATH")?;
    let version = Command::new(node).arg("--version").output().map_err(|e| e.to_string())?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok());
    if major.is_none_or(|major: u32| major < NODE_MIN) {
        return Err(format!("node is {version}, and the AWS SDK needs {NODE_MIN} or newer"));
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-sqs-node");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let names = ["package.json", "package-lock.json", "producer.mjs", "consumer.mjs"];
    let done = folder.join("installed.json");
    let wanted = std::fs::read(example("node/package-lock.json")).unwrap();
    for name in names {
        std::fs::copy(example("node").join(name), folder.join(name)).unwrap();
    }
    if std::fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    let npm = Command::new("npm")
        .args(["ci", "--omit=optional", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm does not start: {error}"))?;
    if !npm.status.success() {
        let words = String::from_utf8_lossy(&npm.stderr).into_owned();
        return Err(format!("npm cannot install the AWS SDK: {words}"));
    }
    std::fs::write(done, wanted).unwrap();
    Ok(folder)
}
