-- postgres: where one job's result stands.
select seq from quarrier.result where job_id = $1
