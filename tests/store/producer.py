"""A producer with psycopg: puts jobs in within its own transaction and reads the results.

Called with the address of a database that holds a store; says `ok` where all is as promised.
"""

import sys
import time

import psycopg
from psycopg.types.json import Jsonb

# No prepared statements: a pooler in transaction mode may stand in between.
store = psycopg.connect(sys.argv[1], prepare_threshold=None)


def enqueue(document):
    return store.execute("select quarrier.enqueue(%s)", [Jsonb(document)]).fetchone()[0]


with store.transaction():
    store.execute("create table invoice (number int primary key, job_id uuid)")

# One commit for the producer's row and the job.
with store.transaction():
    job_id = enqueue({"id": "invoice-17", "prompt": "Two lines, please: “grüße”.", "max_tokens": 50})
    store.execute("insert into invoice values (%s, %s)", (17, job_id))

# A transaction that fails leaves no job.
try:
    with store.transaction():
        enqueue({"id": "lost", "prompt": "Never mind."})
        store.execute("insert into invoice values (17, null)")
    raise AssertionError("the row should be there already")
except psycopg.errors.UniqueViolation:
    pass

# A bad document is refused by words that name the field.
try:
    enqueue({"prompt": "Hi", "max_token": 5})
    raise AssertionError("the field should be refused")
except psycopg.errors.InvalidParameterValue as error:
    assert "$.max_token" in str(error), error
    store.rollback()

# The same document again is the same job.
with store.transaction():
    assert enqueue(
        {"id": "invoice-17", "prompt": "Two lines, please: “grüße”.", "max_tokens": 50}
    ) == job_id

# Many at once, in their order.
documents = [Jsonb({"id": f"line-{n}", "prompt": f"Say {n}.", "max_tokens": 50}) for n in range(100)]
with store.transaction():
    ids = [row[0] for row in store.execute("select quarrier.enqueue_many(%s)", [documents])]
assert len(set(ids)) == 100


def results():
    with store.transaction():
        return store.execute(
            "select external_id, state, text from quarrier.results where job_id = any(%s)",
            [ids + [job_id]],
        ).fetchall()


while len(results()) < 101:
    time.sleep(0.05)
assert all(state == "succeeded" and text for _, state, text in results()), results()
with store.transaction():
    shown = store.execute(
        "select external_id from unnest(%s::uuid[]) with ordinality as given (id, at)"
        " join quarrier.jobs using (id) order by at",
        [ids],
    ).fetchall()
    assert [row[0] for row in shown] == [f"line-{n}" for n in range(100)], shown
    assert store.execute("select count(*) from quarrier.jobs").fetchone() == (101,)
print("ok")
