-- @function maintain_tenants(max integer = 1000) -> procedure
--
-- The periodic work of run_maintenance on every tenant that the caller may use, one transaction a tenant. A failure in one tenant is
-- a warning, and the others go on. It commits as it goes, so it cannot be called inside a transaction block.
--
-- max: how many rows of each kind at most for each tenant, 1 to 10,000, as in run_maintenance
-- Returns: nothing
-- Errors: invalid_argument, in_transaction
-- Writes: cloaca_task, cloaca_dead_letter, cloaca_task_history, cloaca_finished_key, cloaca_queue_estimate
create procedure cloaca.maintain_tenants(max integer default 1000)
language plpgsql
as $$
#variable_conflict use_column
-- A procedure that commits can have no SET clause: so every name is qualified.
declare
    tenant pg_catalog.text;
begin
    perform cloaca.refuse_transaction();
    perform cloaca.check_max(maintain_tenants.max);
    for tenant in select u.schema_name from cloaca.usable_tenant u order by u.schema_name loop
        perform cloaca.maintain_quietly(tenant, maintain_tenants.max);
        commit;
    end loop;
end
$$;
