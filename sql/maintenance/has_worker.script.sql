-- @function has_worker() -> has_worker boolean
--
-- Without the library there is none.
create function cloaca.has_worker() returns boolean
language sql volatile
return false;
