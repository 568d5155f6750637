-- sqlite: who was configured with which limits, and whether it works.
select
    seeder, seeded_at, rules, settings,
    exists (select 1 from lease where host || '/' || pid = seeder) as "alive!: bool"
from limit_seed
order by seq
