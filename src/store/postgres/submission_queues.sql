-- postgres: how many documents wait to be admitted, by queue.
select coalesce(said.queue, $1) as "queue!", count(*) as "waiting!"
from quarrier.submission
cross join lateral (
    select quarrier.jsonb_or_null(submission.document) ->> 'queue' as queue offset 0
) as said
group by 1
