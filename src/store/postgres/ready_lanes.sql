-- postgres: lanes with due jobs, by one step of the index a lane. Backwards: at a lane's head stand the
-- entries of jobs claimed before, which nobody has cleared away yet, and at its end those that wait.
with recursive lanes (lane) as (
    (
        select lane from quarrier.job where state = 'ready' and due
        order by lane desc limit 1
    )
    union all
    select (
        select job.lane from quarrier.job
        where job.state = 'ready' and job.due and job.lane < lanes.lane
        order by job.lane desc limit 1
    )
    from lanes
    where lanes.lane is not null
)
select lane as "lane!" from lanes where lane is not null order by lane
