-- @helper note_due
--
-- Without the library there is no background worker.
create function cloaca.note_due(tenant text, at timestamptz) returns void
language sql volatile
return null;
