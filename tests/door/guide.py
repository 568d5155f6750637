"""Makes the queues that a Terraform text describes, at the address that AWS_ENDPOINT_URL names.

    python guide.py FILE ENDING

Each queue's name gets the ending, so that others at the same address are left alone. Prints the
queues' URLs as a JSON object. Fails where the text is not Terraform's language, has a resource, an
argument or a reference that is not known here, or where the service refuses a value. A resource must
stand before those that refer to it, but for the one that says who may use a dead-letter queue.
"""

import json
import re
import sys

import boto3
import hcl2

# Arguments of the provider's `aws_sqs_queue`, and the attributes that it makes of them.
ATTRIBUTES = {
    "deduplication_scope": "DeduplicationScope",
    "fifo_queue": "FifoQueue",
    "fifo_throughput_limit": "FifoThroughputLimit",
    "kms_data_key_reuse_period_seconds": "KmsDataKeyReusePeriodSeconds",
    "kms_master_key_id": "KmsMasterKeyId",
    "max_message_size": "MaximumMessageSize",
    "message_retention_seconds": "MessageRetentionPeriod",
    "receive_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
    "redrive_policy": "RedrivePolicy",
    "visibility_timeout_seconds": "VisibilityTimeout",
}
# Of `aws_kms_key`, which is not made: queues only name it.
KEY_ARGUMENTS = {"description", "enable_key_rotation"}
KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/11112222-3333-4444-5555-666677778888"


def resources(text):
    for block in hcl2.loads(text)["resource"]:
        for kind, named in block.items():
            for name, arguments in named.items():
                yield kind, name, arguments


def value(given, known):
    """An argument as the service gets it: references replaced, JSON encoded."""
    if isinstance(given, bool):
        return str(given).lower()
    text = str(given)
    encoded = re.fullmatch(r"\$\{jsonencode\((.*)\)\}", text, re.DOTALL)
    if encoded:
        text = encoded.group(1)
    text = re.sub(r"\$\{([\w.]+)\}", lambda found: known[found.group(1)], text)
    return json.dumps(json.loads(text)) if encoded else text


def make(text, ending):
    sqs = boto3.client("sqs")
    known, urls = {}, {}
    for kind, name, arguments in resources(text):
        at = f"{kind}.{name}"
        if kind == "aws_kms_key":
            assert set(arguments) <= KEY_ARGUMENTS, arguments
            known[f"{at}.arn"] = KEY_ARN
        elif kind == "aws_sqs_queue":
            queue = f"{arguments.pop('name')}-{ending}"
            attributes = {ATTRIBUTES[one]: value(it, known) for one, it in arguments.items()}
            url = sqs.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
            said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
            known[f"{at}.id"], known[f"{at}.arn"] = url, said["Attributes"]["QueueArn"]
            urls[name] = url
        elif kind == "aws_sqs_queue_redrive_allow_policy":
            sqs.set_queue_attributes(
                QueueUrl=value(arguments.pop("queue_url"), known),
                Attributes={"RedriveAllowPolicy": value(arguments.pop("redrive_allow_policy"), known)},
            )
            assert not arguments, arguments
        else:
            raise ValueError(f"{at} is not known here")
    return urls


if __name__ == "__main__":
    file, ending = sys.argv[1:]
    with open(file, encoding="utf-8") as text:
        print(json.dumps(make(text.read(), ending)))
