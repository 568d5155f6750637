-- postgres: what decides whether a commit outlives a power cut, and one server of several.
select
    name as "name!", setting as "setting!", wanted as "wanted!",
    case name
        when 'synchronous_commit' then setting <> 'off'
        else setting = wanted
    end as "safe!"
from pg_settings
join (values ('fsync', 'on'), ('full_page_writes', 'on'), ('synchronous_commit', 'on'))
    as wish (setting_name, wanted) on wish.setting_name = pg_settings.name
order by name
