-- postgres: this process's earlier configuration, and those of processes that have long ended.
delete from quarrier.limit_seed
where
    seeder = $1
    or (
        seeded_at < quarrier.at($2)
        and not exists (select from quarrier.lease where host || '/' || pid = seeder)
    )
