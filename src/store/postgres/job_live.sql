-- postgres: which of these jobs have not ended.
select id from quarrier.job where id = any($1) and ended_at is null
