-- @helper note_leases
--
-- Without the library there is no background worker.
create function cloaca.note_leases(first timestamptz) returns void
language sql volatile
return null;
