-- sqlite: the texts of these jobs are deleted.
update job
set bodies_gone_at = ?2, bodies_gone_by = ?3
where id in (select value from jsonb_each(?1))
