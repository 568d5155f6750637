// Reads results from the queue that jobs name in `reply_to`.
//
//     node consumer.mjs ANSWERS_QUEUE_URL HOW_MANY
//
// Needs permission for sqs:ReceiveMessage and sqs:DeleteMessage on the queue.

import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

/** What your program does with a result. It may come twice: `job_id` tells. */
function handle(result) {
  if (Array.isArray(result)) {
    // Too large for a message: it lies in S3, at result[1].s3BucketName and s3Key.
    console.log("in S3:", result[1].s3Key);
  } else if (result.notice) {
    // Too large for a message, and no bucket is configured: the whole of it is in the store.
    console.log(result.id, result.notice);
  } else if (result.state === "succeeded") {
    console.log(result.id, result.output.grade);
  } else {
    console.log(result.id, result.state, result.error.kind, result.error.message);
  }
}

async function consume(sqs, queue, howMany) {
  const done = new Set();
  while (done.size < howMany) {
    const receive = { QueueUrl: queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 };
    const { Messages: messages = [] } = await sqs.send(new ReceiveMessageCommand(receive));
    for (const message of messages) {
      const result = JSON.parse(message.Body);
      const key = result.job_id ?? message.MessageId;
      if (!done.has(key)) handle(result);
      done.add(key);
    }
    // First the work, then the deletion: what is not deleted comes again.
    if (messages.length > 0) {
      const Entries = messages.map((message, n) => ({
        Id: String(n),
        ReceiptHandle: message.ReceiptHandle,
      }));
      await sqs.send(new DeleteMessageBatchCommand({ QueueUrl: queue, Entries }));
    }
  }
}

const [answersUrl, howMany] = process.argv.slice(2);
await consume(new SQSClient({}), answersUrl, Number(howMany));
