"""moto's server, for `scripts/moto`, with its SQS mended where tests of a full queue need it.

As it comes, moto looks at every message of a queue several times for each one that it sends,
receives or deletes, so that ten thousand of them take hours; and two requests at once may lose a
message or hand it out twice. What its SQS answers is left as it is.
"""

import functools
import time

from moto import server
from moto.core.utils import camelcase_to_underscores
from moto.sqs import models
from moto.sqs.exceptions import ReceiptHandleIsInvalid

Queue, Backend = models.Queue, models.SQSBackend

# The clock, without making dates on the way.
models.unix_time = time.time
models.unix_time_millis = lambda: time.time() * 1000.0

# Counts are made only for those who ask for them.
COUNTS = [name for name in Queue.BASE_ATTRIBUTES if name.startswith("ApproximateNumberOf")]
Queue.BASE_ATTRIBUTES = [name for name in Queue.BASE_ATTRIBUTES if name not in COUNTS]
attributes_but_counts = Backend.get_queue_attributes


def get_queue_attributes(self, queue_name, attribute_names):
    others = [name for name in attribute_names if name not in COUNTS]
    found = attributes_but_counts(self, queue_name, others)
    queue = self.get_queue(queue_name)
    for name in COUNTS:
        if name in attribute_names or "All" in attribute_names:
            found[name] = getattr(queue, camelcase_to_underscores(name))
    return found


# One request at a time changes a queue.
def delete_message(self, receipt_handle):
    with self._messages_lock:
        if receipt_handle in self.deleted_messages:
            return
        for at, message in enumerate(self._messages):
            if message.had_receipt_handle(receipt_handle):
                self.pending_messages.discard(message)
                self.deleted_messages.update(message.all_receipt_handles)
                del self._messages[at]
                return
        raise ReceiptHandleIsInvalid()


receive_at_once = Backend.receive_message


@functools.wraps(receive_at_once)
def receive_message(self, queue_name, count, wait_seconds_timeout, *others, **named):
    queue = self.get_queue(queue_name)
    until = time.monotonic() + wait_seconds_timeout
    while True:
        with queue._messages_lock:
            found = receive_at_once(self, queue_name, count, 0, *others, **named)
        left = until - time.monotonic()
        if found or left <= 0:
            return found
        # What is hidden may show again without anybody saying so.
        with queue._messages_lock:
            queue._messages_lock.wait(min(left, 0.2))


Backend.get_queue_attributes = get_queue_attributes
Backend.receive_message = receive_message
Queue.delete_message = delete_message

server.main()
