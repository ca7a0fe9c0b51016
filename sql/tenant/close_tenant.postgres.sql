-- @helper close_tenant
--
-- Closes a tenant that is to be dropped: checks at the first time that nothing stops it, marks it, takes away its login, and ends
-- its sessions. Also at every later time, since a session may have been under way while the first transaction was open.
--
-- Errors: tenant_in_use, insufficient_privilege
create function cloaca.close_tenant(tenant cloaca.tenant) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if tenant.state = 'active' then
        perform cloaca.check_droppable(tenant);
        update cloaca.tenant t set state = 'dropping' where t.schema_name = tenant.schema_name;
    end if;
    if exists (select from pg_roles where rolname = tenant.username) then
        perform cloaca.check_role(tenant.username);
        execute format('alter role %I nologin', tenant.username);
        perform cloaca.end_sessions(tenant.username);
    end if;
end
$$;
