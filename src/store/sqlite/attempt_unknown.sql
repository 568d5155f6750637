-- sqlite: nobody has seen the end of these jobs' open attempts, and perhaps nobody will.
update attempt
set outcome = 'unknown', finished_at = ?2, error_kind = ?3
where outcome is null and job_id in (select value from jsonb_each(?1))
