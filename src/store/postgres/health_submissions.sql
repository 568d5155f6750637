-- postgres: how many documents of other programs wait for a worker to admit them.
select count(*) as "waiting!" from quarrier.submission
