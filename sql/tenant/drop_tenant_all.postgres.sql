-- @function drop_tenant_all(schema_name text, max integer = 500) -> procedure
--
-- Drops a tenant with all that it has: calls drop_tenant until nothing remains, and commits after each call. When it is interrupted,
-- call it again. It cannot run inside a transaction block.
--
-- schema_name: the tenant's schema
-- max: how many objects to drop in one transaction, 1 to 10,000
-- Errors: unknown_tenant, tenant_in_use, in_transaction, invalid_argument, insufficient_privilege
-- Writes: everything of the tenant
create procedure cloaca.drop_tenant_all(schema_name text, max integer default 500)
language plpgsql
as $$
#variable_conflict use_column
-- A procedure that commits can have neither a SET clause nor its owner's rights: so every name is qualified.
declare
    remaining pg_catalog.int8;
begin
    perform cloaca.refuse_transaction();
    loop
        select d.remaining into strict remaining
        from cloaca.drop_tenant(drop_tenant_all.schema_name, drop_tenant_all.max) d;
        commit;
        exit when remaining operator(pg_catalog.=) 0;
    end loop;
end
$$;
