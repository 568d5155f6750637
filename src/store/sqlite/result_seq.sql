-- sqlite: where one job's result stands.
select seq as "seq!: i64" from result where job_id = ?1
