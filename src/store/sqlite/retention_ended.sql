-- sqlite: those of these jobs that ended by then.
select id as "id!: Hyphenated"
from job
where id in (select value from jsonb_each(?1)) and ended_at <= ?2
