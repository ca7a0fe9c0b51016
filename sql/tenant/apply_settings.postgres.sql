-- @helper apply_settings
--
-- Sets the checked settings of a tenant's role. The server knows which values are good, and says so.
create function cloaca.apply_settings(username text, settings jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    item record;
    reason text;
begin
    for item in select e.key, e.value from jsonb_each_text(coalesce(apply_settings.settings, '{}')) e loop
        execute format('alter role %I set %I to %L', apply_settings.username, item.key, item.value);
    end loop;
exception
    when invalid_parameter_value or undefined_object then
        get stacked diagnostics reason = message_text;
        perform cloaca.raise_condition('invalid_argument', format('The settings are no good: %s.', reason));
end
$$;
