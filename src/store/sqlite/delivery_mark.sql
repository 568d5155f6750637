-- sqlite: these deliveries are somebody's until then.
update delivery
set taken = 1, next_at = ?2
where job_id in (select value from jsonb_each(?1))
