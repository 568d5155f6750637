-- sqlite: documents that no worker has admitted yet, the last first. When a row came in is not
-- known, so each passes `since` (?4).
select
    seq as "seq!: i64", id as "key!: String", external_id as "external_id?: String",
    tenant as "tenant!: String", queue as "queue!: String", model as "model!: String"
from (
    select
        seq, id, cast(said ->> '$.id' as text) as external_id,
        coalesce(cast(said ->> '$.tenant' as text), ?7) as tenant,
        coalesce(cast(said ->> '$.queue' as text), ?6) as queue,
        coalesce(cast(said ->> '$.model' as text), ?8) as model
    from (
        select
            rowid as seq, id,
            case when json_valid(cast(document as text)) then cast(document as text) end as said
        from submission
    )
)
where
    seq < coalesce(?5, 9223372036854775807)
    and (?1 is null or queue = ?1)
    and (?2 is null or tenant = ?2)
    and (?3 is null or model = ?3)
    and (?4 is null or true)
order by seq desc
limit ?9
