-- postgres: a person resumes what was paused.
delete from quarrier.pause where scope = $1
