-- @function has_worker() -> has_worker boolean
--
-- Whether a background worker does the maintenance of this database. Then nobody needs to call run_maintenance; calling it does no
-- harm. There is none where the library is not preloaded, on a standby, and in SQLite; and none for moments while workers take turns.
--
-- Returns: true or false
-- Errors: none
-- Writes: nothing
create function cloaca.has_worker() returns boolean
language c volatile
as 'MODULE_PATHNAME', 'cloaca_has_worker';
