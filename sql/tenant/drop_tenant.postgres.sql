-- @function drop_tenant(schema_name text, max integer = 500) -> remaining bigint
--
-- Drops a tenant with all that it has, a batch a call: call it, each time in a transaction of its own, until nothing remains, or
-- call the procedure drop_tenant_all. The first call closes the tenant: nobody can log in as it or use it any more, and its sessions
-- end. The following ones drop its objects, and the last one its schema, its roles and every trace of it.
--
-- schema_name: the tenant's schema
-- max: how many objects to drop at most, 1 to 10,000; fewer when the server's lock table would not hold as many
-- Returns: how many objects remain, counting the schema; 0 when the tenant is gone
-- Errors: unknown_tenant, tenant_in_use, invalid_argument, insufficient_privilege
-- Writes: everything of the tenant
create function cloaca.drop_tenant(schema_name text, max integer default 500) returns table (remaining bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set client_min_messages = error
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
    tenant cloaca.tenant;
begin
    perform cloaca.check_max(drop_tenant.max);
    tenant := cloaca.find_tenant(drop_tenant.schema_name);
    perform cloaca.close_tenant(tenant);
    if tenant.state = 'active' then
        select count(*) + 1 into remaining from cloaca.tenant_objects(tenant.schema_name, tenant.username);
    else
        remaining := cloaca.drop_objects(tenant.schema_name, tenant.username, drop_tenant.max);
        if remaining = 0 then
            perform cloaca.drop_remains(tenant);
        else
            remaining := remaining + 1;
        end if;
    end if;
    return next;
exception
    when lock_not_available then
        perform cloaca.raise_condition('tenant_in_use',
            format('Another session holds a lock on "%s", or on the registry of tenants.', drop_tenant.schema_name));
end
$$;
