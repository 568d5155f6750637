-- postgres: the largest tables, and from how many dead rows on autovacuum cleans each.
select
    class.relname::text as "name!",
    pg_table_size(class.oid) as "bytes!",
    pg_indexes_size(class.oid) as "index_bytes!",
    coalesce(pg_stat_get_dead_tuples(class.oid), 0) as "dead_rows!",
    (threshold.rows + threshold.part * greatest(class.reltuples, 0))::bigint as "dead_rows_max!",
    quarrier.ms(greatest(
        pg_stat_get_last_vacuum_time(class.oid), pg_stat_get_last_autovacuum_time(class.oid)
    )) as vacuumed_at
from pg_class as class
cross join lateral (
    select
        coalesce(
            max(option_value) filter (where option_name = 'autovacuum_vacuum_threshold'),
            current_setting('autovacuum_vacuum_threshold')
        )::double precision as rows,
        coalesce(
            max(option_value) filter (where option_name = 'autovacuum_vacuum_scale_factor'),
            current_setting('autovacuum_vacuum_scale_factor')
        )::double precision as part
    from pg_options_to_table(class.reloptions)
) as threshold
where class.relnamespace = 'quarrier'::regnamespace and class.relkind = 'r'
order by pg_total_relation_size(class.oid) desc
limit $1
