//! Messages that are deleted only when their jobs have ended and were answered.

use std::collections::HashMap;

use quarrier::store::{
    HeldMessage, NewJob, Reply, RetainAsk, RetentionPolicy, RetentionStage, Sent, Tried,
};
use uuid::Uuid;

use crate::world::World;

behind_a_pooler_too!(
    a_message_is_held_with_its_latest_receipt,
    held_messages_of_a_queue_are_read_page_by_page,
    a_message_may_go_once_its_job_has_ended,
    a_message_waits_for_its_jobs_delivery,
    a_message_of_a_deleted_job_may_go,
    messages_may_go_the_oldest_first,
    what_is_forgotten_is_not_held_any_more,
    a_message_that_was_received_anew_is_not_forgotten_by_its_old_receipt,
    one_of_ten_thousand_held_messages_is_found,
);

const QUEUE: &str = "arn:aws:sqs:eu-central-1:123456789012:work";

fn message(id: &str, job_id: Uuid, received_at: i64) -> HeldMessage {
    HeldMessage {
        queue: QUEUE.to_owned(),
        message_id: id.to_owned(),
        receipt: format!("{id}-{received_at}"),
        job_id,
        received_at,
    }
}

async fn held(world: &World) -> Vec<HeldMessage> {
    world.store.held_messages(QUEUE, None, 100).await.unwrap()
}

/// The ids of the messages that may go.
async fn answered(world: &World) -> Vec<String> {
    let messages = world.store.answered_messages(QUEUE, 100).await.unwrap();
    messages.into_iter().map(|message| message.message_id).collect()
}

async fn a_message_is_held_with_its_latest_receipt(world: World) {
    let job = world.admit_one().await;
    let all = [message("m", job, 5), message("m", job, 3)];
    world.store.hold_messages(&all).await.unwrap();
    assert_eq!(held(&world).await, [message("m", job, 5)], "of two at once the later");
    world.store.hold_messages(&[message("m", job, 4)]).await.unwrap();
    assert_eq!(held(&world).await, [message("m", job, 5)], "an older one comes too late");
    world.store.hold_messages(&[message("m", job, 9)]).await.unwrap();
    assert_eq!(held(&world).await, [message("m", job, 9)]);
    world.store.hold_messages(&[]).await.unwrap();
}

async fn held_messages_of_a_queue_are_read_page_by_page(world: World) {
    let job = world.admit_one().await;
    let mut all: Vec<HeldMessage> = ["c", "a", "b"].map(|id| message(id, job, 1)).to_vec();
    all.push(HeldMessage { queue: "another".to_owned(), ..message("aa", job, 1) });
    world.store.hold_messages(&all).await.unwrap();
    let page = async |after| {
        let page = world.store.held_messages(QUEUE, after, 2).await.unwrap();
        page.into_iter().map(|message| message.message_id).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, ["a", "b"]);
    assert_eq!(page(Some("b")).await, ["c"]);
    assert!(page(Some("c")).await.is_empty());
}

async fn a_message_may_go_once_its_job_has_ended(world: World) {
    let ids = world.admit_many(3).await;
    for (name, id) in ["a", "b", "c"].iter().zip(&ids) {
        world.store.hold_messages(&[message(name, *id, 1)]).await.unwrap();
    }
    assert!(answered(&world).await.is_empty());
    let claimed = world.claim_one().await;
    let of = |id: Uuid| ["a", "b", "c"][ids.iter().position(|other| *other == id).unwrap()];
    assert!(answered(&world).await.is_empty(), "it runs");
    world.succeed(&claimed).await;
    assert_eq!(answered(&world).await, [of(claimed.job_id)]);
    assert!(world.store.answered_messages("another", 100).await.unwrap().is_empty());
    // Whoever noted it late finds it too.
    let rejected = NewJob { resolved: Err("no".to_owned()), ..world.job() };
    let id = world.admit(vec![rejected]).await[0];
    world.store.hold_messages(&[message("z", id, 9)]).await.unwrap();
    assert_eq!(answered(&world).await, [of(claimed.job_id), "z"]);
}

async fn a_message_waits_for_its_jobs_delivery(world: World) {
    let reply = Some(Reply { to: "answers".to_owned(), trace: None });
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let id = world.admit(vec![NewJob { reply: reply.clone(), ..world.job() }]).await[0];
        world.store.hold_messages(&[message(name, id, 1)]).await.unwrap();
        world.succeed(&world.claim_one().await).await;
        ids.push(id);
    }
    assert!(answered(&world).await.is_empty());
    let taken = world.store.take_deliveries(10, 60_000).await.unwrap();
    assert_eq!(taken.len(), 2);
    let seqs: HashMap<Uuid, i64> =
        taken.iter().map(|due| (due.result.job_id, due.result.seq)).collect();
    let tried = |job_id: Uuid, sent| Tried { job_id, seq: seqs[&job_id], sent };
    assert!(answered(&world).await.is_empty(), "it is being sent");
    let sent = [
        tried(ids[0], Sent::Again(1_000, "throttled".to_owned())),
        tried(ids[1], Sent::Undeliverable("there is no such queue".to_owned())),
    ];
    world.store.settle_deliveries(&sent).await.unwrap();
    assert_eq!(answered(&world).await, ["b"]);
    world.hand.advance(1_000);
    assert_eq!(world.store.take_deliveries(10, 60_000).await.unwrap().len(), 1);
    world.store.settle_deliveries(&[tried(ids[0], Sent::Delivered)]).await.unwrap();
    assert_eq!(answered(&world).await, ["a", "b"]);
}

async fn a_message_of_a_deleted_job_may_go(world: World) {
    let id = world.admit_one().await;
    world.store.hold_messages(&[message("m", id, 1)]).await.unwrap();
    world.succeed(&world.claim_one().await).await;
    world.hand.advance(2 * 86_400_000);
    let policy = RetentionPolicy { bodies_days: 1, jobs_days: 1, ..RetentionPolicy::for_ever() };
    let ask = RetainAsk { stage: RetentionStage::Jobs, policy, rows_max: 10, look_after: None };
    assert_eq!(world.store.retain(&ask).await.unwrap().jobs, 1);
    assert_eq!(answered(&world).await, ["m"]);
    assert_eq!(held(&world).await.len(), 1, "until somebody says that it is deleted");
}

async fn messages_may_go_the_oldest_first(world: World) {
    for (name, at) in [("a", 3), ("b", 1), ("c", 2)] {
        let id = world.admit_one().await;
        world.store.hold_messages(&[message(name, id, at)]).await.unwrap();
        world.succeed(&world.claim_one().await).await;
    }
    assert_eq!(answered(&world).await, ["b", "c", "a"]);
    let two = world.store.answered_messages(QUEUE, 2).await.unwrap();
    assert_eq!(two.iter().map(|message| message.received_at).collect::<Vec<_>>(), [1, 2]);
}

async fn what_is_forgotten_is_not_held_any_more(world: World) {
    let job = world.admit_one().await;
    let all = ["a", "b", "c"].map(|id| message(id, job, 1));
    world.store.hold_messages(&all).await.unwrap();
    let pair = |id: &str| (id.to_owned(), format!("{id}-1"));
    let gone = ["a", "c", "never held"].map(pair);
    world.store.forget_messages("another", &gone).await.unwrap();
    assert_eq!(held(&world).await.len(), 3);
    world.store.forget_messages(QUEUE, &gone).await.unwrap();
    assert_eq!(held(&world).await, [message("b", job, 1)]);
    world.store.forget_messages(QUEUE, &[]).await.unwrap();
}

/// Of two processes the one has an old receipt, and learns that it is none any more.
async fn a_message_that_was_received_anew_is_not_forgotten_by_its_old_receipt(world: World) {
    let job = world.admit_one().await;
    world.store.hold_messages(&[message("m", job, 1)]).await.unwrap();
    world.store.hold_messages(&[message("m", job, 2)]).await.unwrap();
    let by = |receipt: &str| [("m".to_owned(), receipt.to_owned())];
    world.store.forget_messages(QUEUE, &by("m-1")).await.unwrap();
    assert_eq!(held(&world).await, [message("m", job, 2)]);
    world.store.forget_messages(QUEUE, &by("m-2")).await.unwrap();
    assert_eq!(held(&world).await, []);
}

async fn one_of_ten_thousand_held_messages_is_found(world: World) {
    let mut last = Uuid::nil();
    for group in 0..20 {
        let jobs: Vec<NewJob> = (0..500).map(|_| world.job()).collect();
        let ids = world.admit(jobs).await;
        last = ids[499];
        let row = |(n, id): (usize, &Uuid)| message(&format!("{group:02}-{n:03}"), *id, 1);
        let all: Vec<HeldMessage> = ids.iter().enumerate().map(row).collect();
        world.store.hold_messages(&all).await.unwrap();
    }
    world.store.cancel(&[last]).await.unwrap();
    assert_eq!(answered(&world).await, ["19-499"]);
}
