-- sqlite: a file is read anew from its first line.
delete from batch_line where batch_id = ?1
