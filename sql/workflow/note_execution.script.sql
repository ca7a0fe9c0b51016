-- @helper note_execution
--
-- Without the library nobody can be woken: wait_for_execution looks again and again.
create function cloaca.note_execution(tenant text, execution bigint) returns void
language sql volatile
return null;
