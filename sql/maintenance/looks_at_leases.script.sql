-- @helper looks_at_leases
--
-- Without the library nobody knows.
create function cloaca.looks_at_leases() returns boolean
language sql volatile
return true;
