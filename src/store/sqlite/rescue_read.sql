-- sqlite: jobs that run under a dead lease.
select
    id as "id!: Hyphenated", hold, deadline_at, failures, reasks, crashes, throttles
from job
where lease_id = ?1 and state = 'running'
limit ?2
