-- postgres: batches of which nothing is left go.
delete from quarrier.batch
where
    created_at <= quarrier.at($1)
    and not exists (select from quarrier.batch_line where batch_line.batch_id = batch.id)
