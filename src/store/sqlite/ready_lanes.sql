-- sqlite: lanes with due jobs, by one step of the index a lane.
with recursive lanes (lane) as (
    select min(lane) from job where state = 'ready' and due = 1
    union all
    select (
        select min(job.lane) from job
        where job.state = 'ready' and job.due = 1 and job.lane > lanes.lane
    )
    from lanes
    where lanes.lane is not null
)
select lane as "lane!: String" from lanes where lane is not null
