"""Reads results from the queue that jobs name in `reply_to`.

    python consumer.py ANSWERS_QUEUE_URL HOW_MANY

Needs boto3, and permission for sqs:ReceiveMessage and sqs:DeleteMessage on the queue.
"""

import json
import sys

import boto3


def handle(result):
    """What your program does with a result. It may come twice: `job_id` tells."""
    if result.get("notice"):
        # Too large for a message, and no bucket is configured: the whole of it is in the store.
        print(result["id"], result["notice"])
    elif result["state"] == "succeeded":
        print(result["id"], result["output"]["grade"])
    else:
        print(result["id"], result["state"], result["error"]["kind"], result["error"]["message"])


def body(message):
    """The result line, also of one that was too large for a message and lies in S3."""
    line = json.loads(message["Body"])
    if isinstance(line, list):
        _, place = line
        stored = boto3.client("s3").get_object(Bucket=place["s3BucketName"], Key=place["s3Key"])
        line = json.loads(stored["Body"].read())
    return line


def consume(sqs, queue, how_many):
    done = set()
    while len(done) < how_many:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        messages = answer.get("Messages", [])
        for message in messages:
            result = body(message)
            if result["job_id"] not in done:
                handle(result)
                done.add(result["job_id"])
        # First the work, then the deletion: what is not deleted comes again.
        if messages:
            receipts = [
                {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                for n, message in enumerate(messages)
            ]
            sqs.delete_message_batch(QueueUrl=queue, Entries=receipts)


if __name__ == "__main__":
    answers_url, how_many = sys.argv[1:]
    consume(boto3.client("sqs"), answers_url, int(how_many))
