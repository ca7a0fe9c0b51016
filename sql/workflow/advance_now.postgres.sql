-- @helper advance_now
--
-- Has executions go on at once from the tasks that this transaction has ended so far, not only at its commit. The caller has locked the
-- execution that it is about for update.
create function cloaca.advance_now() returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_advance_now';
