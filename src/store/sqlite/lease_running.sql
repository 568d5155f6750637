-- sqlite: what runs under a lease.
select id as "id!: Hyphenated", calls, fence as "fence!: Hyphenated"
from job
where lease_id = ?1 and state = 'running'
