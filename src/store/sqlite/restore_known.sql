-- sqlite: the attempts that these jobs have.
select job_id as "job_id!: Hyphenated", number, fence as "fence!: Hyphenated"
from attempt
where job_id in (select value from jsonb_each(?1))
