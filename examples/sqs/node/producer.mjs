// Puts jobs on a queue that Quarrier reads, and asks for the results on another one.
//
//     node producer.mjs JOBS_QUEUE_URL ANSWERS_QUEUE_URL
//
// Needs permission for sqs:SendMessage on the first queue. Region and credentials come from the usual
// AWS chain.

import { setTimeout as sleep } from "node:timers/promises";
import { SendMessageBatchCommand, SQSClient } from "@aws-sdk/client-sqs";

const BATCH = 10; // the most messages of one request
const TRIES = 5;

const findings = [
  "torque wrench TW-112 is in use with an expired label",
  "the fire door of bay 3 is held open by a crate",
  "two signatures are missing in the training records",
];

const schema = {
  type: "object",
  additionalProperties: false,
  required: ["grade"],
  properties: { grade: { enum: ["major", "minor", "observation"] } },
};

const job = (finding, number, answers) => ({
  // The same id is never done twice, however often the message is sent or delivered.
  id: `audit-5-finding-${number}`,
  prompt: `Grade this finding: ${finding}.`,
  schema,
  max_tokens: 200,
  reply_to: answers,
  metadata: { finding: number },
});

/** Sends all of them. A request may succeed in part: what failed is sent again. */
async function send(sqs, queue, jobs) {
  // A FIFO queue needs two keys more in each entry: MessageGroupId, within which the order is kept,
  // and MessageDeduplicationId. On a standard queue MessageGroupId is the job's tenant.
  const entries = jobs.map((job, n) => ({ Id: String(n), MessageBody: JSON.stringify(job) }));
  for (let start = 0; start < entries.length; start += BATCH) {
    let left = entries.slice(start, start + BATCH);
    for (let tries = 0; left.length > 0; tries += 1) {
      if (tries === TRIES) throw new Error(`${left.length} messages were not taken`);
      if (tries > 0) await sleep(1000 * tries);
      const answer = await sqs.send(new SendMessageBatchCommand({ QueueUrl: queue, Entries: left }));
      const failed = new Map((answer.Failed ?? []).map((one) => [one.Id, one]));
      for (const one of failed.values()) {
        if (one.SenderFault) throw new Error(`message ${one.Id}: ${one.Code}: ${one.Message}`);
      }
      left = left.filter((entry) => failed.has(entry.Id));
    }
  }
}

const [jobsUrl, answersUrl] = process.argv.slice(2);
const jobs = findings.map((finding, n) => job(finding, n + 1, answersUrl));
await send(new SQSClient({}), jobsUrl, jobs);
console.log(`sent ${jobs.length} jobs`);
