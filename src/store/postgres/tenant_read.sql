-- postgres: the configured tenants' weights.
select name, weight from quarrier.tenant order by name collate "C"
