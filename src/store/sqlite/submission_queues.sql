-- sqlite: how many documents wait to be admitted, by queue.
select queue as "queue!: String", count(*) as "waiting!: i64"
from (
    select
        coalesce(
            case
                when json_valid(cast(document as text))
                then cast(cast(document as text) ->> '$.queue' as text)
            end, ?1
        ) as queue
    from submission
)
group by queue
