-- @helper advance_now
--
-- Without the library executions go on at once anyway.
create function cloaca.advance_now() returns void
language sql volatile
return null;
