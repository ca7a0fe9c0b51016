-- @helper registry_changed
--
-- Makes every session forget what it remembers of tenants, once the change of the registry commits.
create function cloaca.registry_changed() returns trigger
language c volatile
as 'MODULE_PATHNAME', 'cloaca_registry_changed';

create trigger registry_changed after insert or update or delete or truncate on cloaca.tenant
    for each statement execute function cloaca.registry_changed();
