-- @helper noted_lease
--
-- Without the library nothing is known.
create function cloaca.noted_lease(tenant text) returns timestamptz
language sql volatile
return null::timestamptz;
