-- @function wait_for_execution(execution bigint, timeout interval = null) -> state text
--
-- Waits until an execution has ended. While it waits it holds no snapshot and no lock. With cloaca in shared_preload_libraries it sleeps
-- until the commit that ends the execution; otherwise it looks every cloaca.poll_interval. On PostgreSQL it is a procedure: call
-- cloaca.wait_for_execution(7, '1 minute'). It commits while it waits, so it cannot run inside a transaction block.
--
-- execution: the execution
-- timeout: how long to wait at most, 0 to 10 years; null for no end
-- Returns: the state that it ended in (completed, failed or cancelled), null when the timeout is over
-- Errors: invalid_argument, unknown_execution, in_transaction
-- Writes: nothing
create procedure cloaca.wait_for_execution(execution bigint, timeout interval default null, inout state text default null)
language c
as 'MODULE_PATHNAME', 'cloaca_wait_for_execution';
