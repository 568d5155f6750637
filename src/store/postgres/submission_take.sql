-- postgres: these submissions go, but for those that another worker is admitting; and if any is left,
-- these keys are this transaction's until its commit, in the order of the keys, byte by byte. Who
-- comes too late for all of them does not wait for the keys.
with taken as (
    delete from quarrier.submission
    where submission.job_id = any(array(
        select waiting.job_id from quarrier.submission as waiting
        where waiting.id = any($2) or waiting.job_id = any($3)
        for update skip locked
    ))
    returning coalesce(submission.id, submission.job_id::text) as key
),
locked as materialized (
    select key from quarrier.budget_key
    where key = any($1) and exists (select from taken)
    order by key collate "C" for update
)
select
    array(select taken.key from taken) as "taken!",
    (select count(*) from locked) as "locked!"
