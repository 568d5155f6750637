-- sqlite: its next call is a first one, without the answer that failed before.
update job_spec set reask = null where job_id = ?1
