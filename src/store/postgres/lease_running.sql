-- postgres: what runs under a lease.
select id, calls, fence as "fence!" from quarrier.job where lease_id = $1 and state = 'running'
