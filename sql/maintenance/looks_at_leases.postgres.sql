-- @helper looks_at_leases
--
-- Whether maintain_tenant is to look which leases ended. It always is, but for a background worker that knows of none.
create function cloaca.looks_at_leases() returns boolean
language c volatile
as 'MODULE_PATHNAME', 'cloaca_looks_at_leases';
