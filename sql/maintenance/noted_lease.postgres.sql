-- @helper noted_lease
--
-- When the first lease of a tenant ends, as far as the library knows: no lease that it knows of ends earlier. Infinity when there is
-- none, null when nothing is known.
create function cloaca.noted_lease(tenant text) returns timestamptz
language c volatile
as 'MODULE_PATHNAME', 'cloaca_noted_lease';
