-- sqlite: batches of which nothing is left go.
delete from batch
where
    created_at <= ?1
    and not exists (select 1 from batch_line where batch_line.batch_id = batch.id)
