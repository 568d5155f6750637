-- postgres: who was configured with which limits, and whether it works.
select
    seeder, quarrier.ms(seeded_at) as "seeded_at!", rules, settings,
    exists (select from quarrier.lease where host || '/' || pid = seeder) as "alive!"
from quarrier.limit_seed
order by seq
