-- postgres: what other programs have put in, oldest first.
select id, job_id, document from quarrier.submission order by seq limit $1
