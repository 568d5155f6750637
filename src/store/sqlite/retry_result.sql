-- sqlite: its old end goes; its attempts stay.
delete from result where job_id = ?1
