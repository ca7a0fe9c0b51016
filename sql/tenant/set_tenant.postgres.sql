-- @function set_tenant(schema_name text) -> void
--
-- Says which tenant the calls of this session mean, for a role that may use several. A role's own tenant needs no such call.
--
-- schema_name: the tenant's schema; null goes back to the role's own
-- Errors: unknown_tenant, insufficient_privilege, tenant_outdated
-- Writes: the setting cloaca.tenant of the session; undone when the transaction rolls back
create function cloaca.set_tenant(schema_name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform set_config('cloaca.tenant', coalesce(set_tenant.schema_name, ''), false);
    if set_tenant.schema_name = '' then
        perform cloaca.raise_condition('unknown_tenant', 'Schema "" is no tenant.');
    elsif set_tenant.schema_name is not null then
        perform cloaca.current_tenant();
    end if;
end
$$;
