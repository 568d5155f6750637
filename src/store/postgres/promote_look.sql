-- postgres: when anything is to be promoted or expired next. A running job is judged by its finish.
select
    quarrier.ms((
        select min(run_at) from quarrier.job where state = 'ready' and not due
    )) as next_due_at,
    quarrier.ms((
        select min(deadline_at) from quarrier.job where state in ('ready', 'held')
    )) as next_deadline_at,
    quarrier.ms(clock_timestamp()) as "now!"
