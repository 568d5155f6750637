-- postgres: who holds back the oldest row: what died after it cannot be cleaned before it is let go.
select
    held.kind as "kind!", held.pid as "pid?", held.name as "name?", held.owner as "owner?",
    held.state as "state?", coalesce(held.transactions, 0)::bigint as "transactions!",
    (extract(epoch from clock_timestamp() - held.since) * 1000)::bigint as "age_ms?"
from (
    select
        case backend_type when 'walsender' then 'standby' else 'session' end as kind,
        pid, application_name as name, usename::text as owner, state,
        greatest(age(backend_xmin), age(backend_xid)) as transactions,
        coalesce(xact_start, backend_start) as since
    from pg_stat_activity
    where
        backend_type in ('client backend', 'walsender')
        and (backend_xmin is not null or backend_xid is not null)
        and coalesce(datname, current_database()) = current_database()
        and pid <> pg_backend_pid()
    union all
    select 'prepared transaction', null, gid, owner::text, null, age(transaction), prepared
    from pg_prepared_xacts
    where database = current_database()
    union all
    select
        'replication slot', active_pid, slot_name::text, null,
        case when active then 'active' else 'inactive' end,
        greatest(age(xmin), age(catalog_xmin)), null
    from pg_replication_slots
    where xmin is not null or catalog_xmin is not null
) as held
order by held.transactions desc nulls last, held.since
limit 1
