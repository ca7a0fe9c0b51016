-- @helper is_name
--
-- Whether a value of a document is left out, or a text that check_name lets pass.
create function cloaca.is_name(value jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if value is null then
        return true;
    elsif jsonb_typeof(value) <> 'string' then
        return false;
    end if;
    perform cloaca.check_name(value #>> '{}', 'name');
    return true;
exception when sqlstate 'ZC002' then
    return false;
end
$$;
