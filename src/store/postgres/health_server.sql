-- postgres: how many connections the server has, how many it takes, and whether it cleans up by itself.
select
    count(*) filter (where datid is not null) as "connections!",
    count(*) filter (
        where datname = current_database() and application_name like 'quarrier%'
    ) as "connections_own!",
    current_setting('max_connections')::bigint
        - current_setting('superuser_reserved_connections')::bigint as "connections_max!",
    count(*) filter (where datname = current_database() and backend_type is null) as "hidden!",
    current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean
        as "autovacuum!"
from pg_stat_activity
