-- sqlite: what a call of this job needs.
select document, resolved, reask from job_spec where job_id = ?1
