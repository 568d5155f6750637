-- postgres: the deliveries of these jobs go.
delete from quarrier.delivery
where job_id = any(array(
    select mine.job_id from quarrier.delivery as mine
    where mine.job_id = any($1) order by mine.job_id for update
))
