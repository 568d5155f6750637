-- postgres: a file is read anew from its first line.
delete from quarrier.batch_line where batch_id = $1
