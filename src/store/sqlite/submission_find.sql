-- sqlite: the newest document that waits under a name: its row's key, or its own id.
select
    seq as "seq!: i64", id as "key!: String", external_id as "external_id?: String",
    tenant as "tenant!: String", queue as "queue!: String", model as "model!: String",
    document as "document!: Vec<u8>"
from (
    select
        seq, id, document, cast(said ->> '$.id' as text) as external_id,
        coalesce(cast(said ->> '$.tenant' as text), ?3) as tenant,
        coalesce(cast(said ->> '$.queue' as text), ?2) as queue,
        coalesce(cast(said ->> '$.model' as text), ?4) as model
    from (
        select
            rowid as seq, id, cast(document as blob) as document,
            case when json_valid(cast(document as text)) then cast(document as text) end as said
        from submission
    )
)
where id = ?1 or external_id = ?1
order by id = ?1 desc, seq desc
limit 1
