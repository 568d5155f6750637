-- sqlite: this process's earlier configuration, and those of processes that have long ended.
delete from limit_seed
where
    seeder = ?1
    or (
        seeded_at < ?2
        and not exists (select 1 from lease where host || '/' || pid = seeder)
    )
