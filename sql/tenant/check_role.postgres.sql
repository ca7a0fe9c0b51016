-- @helper check_role
--
-- Refuses a role that is more than a tenant's may be. The registry knows roles by name: were such a role renamed to a tenant's, who
-- may rotate or drop the tenant could take it over.
--
-- Errors: insufficient_privilege
create function cloaca.check_role(role text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if exists (select from pg_roles r
            where (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls or r.rolname ~ '^pg_')
                and pg_has_role(check_role.role, r.oid, 'member')) then
        perform cloaca.raise_condition('insufficient_privilege',
            format('Role "%s" may do more than a tenant: it is, or is a member of, a privileged role.', check_role.role));
    end if;
end
$$;
