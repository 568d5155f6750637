-- postgres: its old end goes; its attempts stay.
delete from quarrier.result where job_id = $1
