-- @function extend(task bigint, lease_id bigint, lease interval = null) -> lease_until timestamptz
--
-- Prolongs a lease (a heartbeat): it then runs for the given time from now.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- lease: how long from now, more than 0, at most 10 years; null for the queue's
-- Returns: when the lease ends now
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task
create function cloaca.extend(task bigint, lease_id bigint, lease interval default null) returns table (lease_until timestamptz)
language c volatile
as 'MODULE_PATHNAME', 'cloaca_extend';
