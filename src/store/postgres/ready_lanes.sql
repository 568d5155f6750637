-- postgres: lanes with due jobs, by one step of the index a lane.
with recursive lanes (lane) as (
    (
        select lane from quarrier.job where state = 'ready' and due
        order by lane limit 1
    )
    union all
    select (
        select job.lane from quarrier.job
        where job.state = 'ready' and job.due and job.lane > lanes.lane
        order by job.lane limit 1
    )
    from lanes
    where lanes.lane is not null
)
select lane as "lane!" from lanes where lane is not null
