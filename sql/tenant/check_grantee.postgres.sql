-- @helper check_grantee
--
-- Refuses to grant to what is no role: PUBLIC, or a name that does not exist.
--
-- Errors: invalid_argument
create function cloaca.check_grantee(role text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (select from pg_roles r where r.rolname = check_grantee.role) then
        perform cloaca.raise_condition('invalid_argument', format('Role "%s" does not exist.', check_grantee.role));
    end if;
end
$$;
