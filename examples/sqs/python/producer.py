"""Puts jobs on a queue that Quarrier reads, and asks for the results on another one.

    python producer.py JOBS_QUEUE_URL ANSWERS_QUEUE_URL

Needs boto3, and permission for sqs:SendMessage on the first queue. Region and credentials come from
the usual AWS chain.
"""

import json
import sys
import time

import boto3

BATCH = 10  # the most messages of one request
TRIES = 5

FINDINGS = [
    "torque wrench TW-112 is in use with an expired label",
    "the fire door of bay 3 is held open by a crate",
    "two signatures are missing in the training records",
]

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["grade"],
    "properties": {"grade": {"enum": ["major", "minor", "observation"]}},
}


def job(number, finding, answers):
    return {
        # The same id is never done twice, however often the message is sent or delivered.
        "id": f"audit-4-finding-{number}",
        "prompt": f"Grade this finding: {finding}.",
        "schema": SCHEMA,
        "max_tokens": 200,
        "reply_to": answers,
        "metadata": {"finding": number},
    }


def send(sqs, queue, jobs):
    """Sends all of them. A request may succeed in part: what failed is sent again."""
    entries = [{"Id": str(n), "MessageBody": json.dumps(job)} for n, job in enumerate(jobs)]
    # A FIFO queue needs two keys more in each entry: MessageGroupId, within which the order is kept,
    # and MessageDeduplicationId. On a standard queue MessageGroupId is the job's tenant.
    for start in range(0, len(entries), BATCH):
        left = entries[start : start + BATCH]
        for pause_s in range(TRIES):
            answer = sqs.send_message_batch(QueueUrl=queue, Entries=left)
            failed = {one["Id"]: one for one in answer.get("Failed", [])}
            for one in failed.values():
                if one["SenderFault"]:
                    raise RuntimeError(f"message {one['Id']}: {one['Code']}: {one.get('Message')}")
            left = [entry for entry in left if entry["Id"] in failed]
            if not left:
                break
            time.sleep(pause_s)
        else:
            raise RuntimeError(f"{len(left)} messages were not taken")


if __name__ == "__main__":
    jobs_url, answers_url = sys.argv[1:]
    jobs = [job(number, finding, answers_url) for number, finding in enumerate(FINDINGS, 1)]
    send(boto3.client("sqs"), jobs_url, jobs)
    print(f"sent {len(jobs)} jobs")
