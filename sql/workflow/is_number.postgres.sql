-- @helper is_number
--
-- Whether a value of a document is left out, or a number from one limit to the other, without a fraction where `whole`.
create function cloaca.is_number(value jsonb, lowest numeric, highest numeric, whole boolean default false) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if value is null then
        return true;
    elsif jsonb_typeof(value) <> 'number' then
        return false;
    end if;
    return value::numeric between lowest and highest and not (whole and value::numeric <> trunc(value::numeric));
end
$$;
