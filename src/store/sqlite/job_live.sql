-- sqlite: which of these jobs have not ended, and which of those reply, as JSON lists: a row each
-- would cost more than the question.
select
    json_group_array(job.id) as "ids!: String",
    json_group_array(job.id) filter (where job.reply = 1) as "replies!: String"
from jsonb_each(?1) as ending
join job on job.id = ending.value ->> 'id' and job.ended_at is null
