-- sqlite: the configured tenants' weights.
select name, weight from tenant order by name
