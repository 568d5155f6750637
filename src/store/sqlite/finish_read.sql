-- sqlite: what the tables say of these attempts and their jobs, as one JSON list: a row each would
-- cost more than the answer.
select json_group_array(json_object(
    'fence', attempt.fence,
    'slot', attempt.slot,
    'keys', json(attempt.keys),
    'reserved_tokens', attempt.reserved_tokens,
    'outcome', attempt.outcome,
    'lane', job.lane,
    'gone', json(iif(job.bodies_gone_at is null, 'false', 'true')),
    'current', json(iif(job.state = 'running' and job.fence = attempt.fence, 'true', 'false'))
)) as "records!: String"
from jsonb_each(?1) as asked
join attempt
    on attempt.job_id = asked.value ->> 'job_id' and attempt.number = asked.value ->> 'number'
    and attempt.fence = asked.value ->> 'fence'
join job on job.id = attempt.job_id
