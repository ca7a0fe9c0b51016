-- @helper maintain_quietly
--
-- maintain_tenant for one of many: what goes wrong is a warning, and what is locked is left for the next time.
create function cloaca.maintain_quietly(tenant text, max integer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.maintain_tenant(maintain_quietly.tenant, maintain_quietly.max, cloaca.now());
exception
    when lock_not_available or serialization_failure or insufficient_privilege then
        null;
    when others then
        raise warning 'maintenance of tenant "%" failed: %', maintain_quietly.tenant, sqlerrm using errcode = sqlstate;
end
$$;
