-- postgres: submissions of a tenant that nobody has admitted yet go.
delete from quarrier.submission
where job_id in (
    select waiting.job_id
    from quarrier.submission as waiting
    where
        coalesce(
            waiting.tenant, quarrier.jsonb_or_null(waiting.document) ->> 'tenant', $2
        ) = $1
        and waiting.submitted_at <= quarrier.at($3)
    order by waiting.seq
    limit $4
    for update skip locked
)
