"""moto's server, with one of its races closed: it deletes a message by making the list of the others
anew, and one that another thread adds meanwhile is lost. A queue service loses none, and tests that
look for lost messages must not find the emulator's own."""

import sys

from moto.server import main
from moto.sqs.models import Queue

bare_delete = Queue.delete_message


def delete_message(self, receipt_handle):
    # The lock under which messages are added.
    with self._messages_lock:
        bare_delete(self, receipt_handle)


Queue.delete_message = delete_message

if __name__ == "__main__":
    sys.exit(main())
