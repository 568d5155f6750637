-- postgres: the attempts that these jobs have, once their locks are held.
select job_id, number, fence from quarrier.attempt where job_id = any($1)
