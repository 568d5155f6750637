-- sqlite: which of these jobs have not ended, as one JSON list: a row each would cost more than
-- the question.
select json_group_array(job.id) as "ids!: String"
from jsonb_each(?1) as ending
join job on job.id = ending.value ->> 'id' and job.ended_at is null
