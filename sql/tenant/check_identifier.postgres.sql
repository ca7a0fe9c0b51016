-- @helper check_identifier
--
-- Refuses a name that a tenant's schema or role cannot have. It is counted before anything could truncate it, and always quoted
-- where it is used, so that names differing only in case are two names.
create function cloaca.check_identifier(name text, what text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if name is null or octet_length(name) > 63 or name !~ '^[A-Za-z_][A-Za-z0-9_]*$' then
        perform cloaca.raise_condition('invalid_name',
            format('The %s must match ^[A-Za-z_][A-Za-z0-9_]*$ and have at most 63 bytes.', what));
    elsif lower(name) ~ '^(cloaca|citus)(_.*)?$|^pg_' or lower(name) in ('public', 'information_schema', 'none', 'current_user',
        'current_role', 'session_user', 'user', 'columnar', 'columnar_internal') then
        perform cloaca.raise_condition('invalid_name', format('The %s "%s" is reserved.', what, name));
    end if;
end
$$;
