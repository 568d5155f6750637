-- sqlite: when anything is to be promoted or expired next. A running job is judged by its finish.
select
    (select min(run_at) from job where state = 'ready' and due = 0) as "next_due_at?: i64",
    (
        select deadline_at from job
        where ended_at is null and state in ('ready', 'held') order by deadline_at limit 1
    ) as "next_deadline_at?: i64"
