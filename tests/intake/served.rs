//! `quarrier serve --sqs-intake`: set up by flags and AWS's own variables alone.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quarrier::job::State;
use quarrier::message_queue::Outgoing;

use crate::moto::{Engine, World, emulator, message, plain};
use crate::within;

/// Ends with its test, also with one that fails.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A worker with an intake of the world's queue; `sqs` is what is set beside that.
fn serve(world: &World, sqs: &str) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quarrier"));
    command
        .args(["serve", "--simulate", "--sqs-intake", &world.url, "--store", &world.location()])
        .env_clear()
        .envs([
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_ENDPOINT_URL_SQS", emulator().as_str()),
            ("QUARRIER_SQS", sqs),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir(std::env::temp_dir());
    Served(command.spawn().unwrap())
}

#[test]
fn messages_are_answered_by_a_process_that_is_set_up_by_one_flag_and_ends_at_sigterm() {
    within(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let world = World::new(engine, false).await;
            let messages: Vec<Outgoing> =
                (0..12).map(|number| plain(&number.to_string())).collect();
            world.send(&messages).await;
            world.send(&[message("{")]).await;
            let mut served = serve(&world, "{}");
            while world.left().await > 0 || world.ended().await < 13 {
                assert!(served.0.try_wait().unwrap().is_none(), "it must go on");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let states: Vec<State> = world.jobs().await.iter().map(|job| job.state).collect();
            let failed = states.iter().filter(|state| **state == State::Failed).count();
            assert_eq!((states.len(), failed), (13, 1));
            assert_eq!(world.reasons().await.len(), 1);
            let pid = served.0.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            while served.0.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(served.0.wait().unwrap().code(), Some(0));
            assert!(
                world.store.held_messages(&world.arn().await, None, 1).await.unwrap().is_empty()
            );
        }
    });
}

#[test]
fn a_killed_process_doubles_no_job_in_either_way_of_acknowledging() {
    within(async {
        for ack in ["on_stored", "on_finished"] {
            let world = World::new(Engine::Sqlite, false).await;
            let messages: Vec<Outgoing> =
                (0..40).map(|number| plain(&number.to_string())).collect();
            world.send(&messages).await;
            let variable = format!("{{\"ack\": \"{ack}\", \"visibility_s\": 10}}");
            let start = || serve(&world, &variable);
            let mut served = start();
            while world.jobs().await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served.0.kill().unwrap();
            served.0.wait().unwrap();
            let mut served = start();
            while world.left().await > 0 || world.ended().await < 40 {
                assert!(served.0.try_wait().unwrap().is_none(), "it must go on");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let jobs = world.jobs().await;
            let ids: BTreeSet<_> = jobs.iter().map(|job| job.job_id).collect();
            assert_eq!((jobs.len(), ids.len()), (40, 40), "{ack}");
        }
    });
}
