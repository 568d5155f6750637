-- sqlite: what was configured of tenants goes.
delete from tenant
