-- sqlite: how many documents of other programs wait for a worker to admit them.
select count(*) as "waiting!: i64" from submission
