-- postgres: these deliveries are somebody's until then.
update quarrier.delivery set taken = true, next_at = quarrier.at($2) where job_id = any($1)
