-- sqlite: submissions of a tenant that nobody has admitted yet go.
delete from submission
where rowid in (
    select waiting.rowid
    from submission as waiting
    where coalesce(
        case when json_valid(waiting.document) then waiting.document ->> '$.tenant' end, ?2
    ) = ?1
    order by waiting.rowid
    limit ?3
)
