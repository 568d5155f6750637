-- postgres: which processes take jobs from lanes, so that a client of the library, which makes only
-- its own calls, does not pass for a worker. And what each column of the two views is, for `\d+`.
-- Compatible from: 5. It only adds: what an earlier release opens counts as a worker, as before.
-- Lock: access exclusive on quarrier.lease, which has a row for each process, for the moment in
-- which a column with a constant default is added; share update exclusive on the views.
-- Time at 10 million jobs: the same, some milliseconds.

alter table quarrier.lease add column takes_jobs boolean not null default true;
comment on column quarrier.lease.takes_jobs is
    'Whether it is a worker. A client of the library takes nothing from lanes: it makes its own calls.';

comment on column quarrier.jobs.id is
    'Our id, a UUID version 7: what quarrier.enqueue has returned.';
comment on column quarrier.jobs.external_id is 'The producer''s id, the document''s `id`.';
comment on column quarrier.jobs.state is
    'submitted (no worker has admitted it yet), ready, running, held (it waits for a person), or an '
    'end: succeeded, failed, cancelled, expired.';
comment on column quarrier.jobs.tenant is 'Whose it is.';
comment on column quarrier.jobs.queue is 'Its named queue; null while submitted without one.';
comment on column quarrier.jobs.model is
    'The model''s alias, or its id where the catalogue has none; null while submitted without one.';
comment on column quarrier.jobs.lane is
    'Provider, region or profile, and model, whose calls draw on one quota; null while submitted.';
comment on column quarrier.jobs.priority is '-100 to 100, higher is sooner; null while submitted.';
comment on column quarrier.jobs.created_at is
    'When it was admitted; while submitted, when it was put in.';
comment on column quarrier.jobs.run_at is 'Not called before; null while submitted.';
comment on column quarrier.jobs.deadline_at is 'Expired after, unless it runs then; null while submitted.';
comment on column quarrier.jobs.ended_at is 'When it ended; null = it has not.';
comment on column quarrier.jobs.reason is
    'The kind of failure with which it waits or ended; docs/errors.md has them.';
comment on column quarrier.jobs.calls is 'Attempts claimed so far.';
comment on column quarrier.jobs.failures is 'Calls that failed.';
comment on column quarrier.jobs.reasks is 'Answers that were shown to the model again.';
comment on column quarrier.jobs.crashes is 'Workers that died in the middle of its calls.';
comment on column quarrier.jobs.throttles is 'Calls that the provider throttled.';
comment on column quarrier.jobs.dedupe_key is
    'Unique per tenant among jobs that have not ended.';
comment on column quarrier.jobs.document is
    'What was put in; where deleted_at says so, its content is gone.';

comment on column quarrier.results.seq is
    'The order of ends: it rises with each and is never used again. Ask for what is greater than the '
    'last one that you read.';
comment on column quarrier.results.job_id is 'The job''s id, what quarrier.enqueue has returned.';
comment on column quarrier.results.external_id is 'The producer''s id, the document''s `id`.';
comment on column quarrier.results.state is 'succeeded, failed, cancelled, expired.';
comment on column quarrier.results.tenant is 'Whose it is.';
comment on column quarrier.results.queue is 'Its named queue.';
comment on column quarrier.results.model is
    'The model''s alias, or its id where the catalogue has none.';
comment on column quarrier.results.output is
    'The answer of a job with a schema: JSON text, as the model wrote its numbers.';
comment on column quarrier.results.output_jsonb is
    'The same as jsonb; null where jsonb cannot hold it (U+0000, numbers beyond its range).';
comment on column quarrier.results.text is 'The answer of a job without a schema.';
comment on column quarrier.results.error_kind is
    'Why it has no answer; docs/errors.md has the kinds and what to do.';
comment on column quarrier.results.error_message is 'The same in words, which may change.';
comment on column quarrier.results.provenance is
    'How the answer was come by: direct or extracted, and +reasked:N after so many re-asks.';
comment on column quarrier.results.ended_at is 'When it ended.';
comment on column quarrier.results.input_tokens is 'Of all its calls, as the provider counted them.';
comment on column quarrier.results.output_tokens is 'Of all its calls.';
comment on column quarrier.results.cache_read is 'Input tokens read from the provider''s cache.';
comment on column quarrier.results.cache_write is 'Input tokens written to it.';
comment on column quarrier.results.cost_micros is
    'What those of its calls cost whose cost is known, in millionths of a dollar; see '
    'attempts_unknown.';
comment on column quarrier.results.attempts is 'How many calls were made.';
comment on column quarrier.results.attempts_unknown is
    'Of those, the calls whose end nobody saw: what they cost is not known.';
comment on column quarrier.results.metadata is 'The document''s own; gone with its content.';
