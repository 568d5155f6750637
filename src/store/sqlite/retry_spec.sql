-- sqlite: and it is asked as if for the first time.
update job_spec set reask = null where job_id = ?1 and reask is not null
