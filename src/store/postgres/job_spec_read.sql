-- postgres: what a call of this job needs.
select document, resolved, reask from quarrier.job_spec where job_id = $1
