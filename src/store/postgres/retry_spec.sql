-- postgres: and it is asked as if for the first time.
update quarrier.job_spec set reask = null where job_id = $1 and reask is not null
