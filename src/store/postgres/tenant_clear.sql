-- postgres: what was configured of tenants goes.
delete from quarrier.tenant
