-- sqlite: a person resumes what was paused.
delete from pause where scope = ?1
