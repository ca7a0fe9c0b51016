-- @function extend_many(tasks bigint[], lease_ids bigint[], lease interval = null) -> task bigint, outcome text, lease_until timestamptz
--
-- Prolongs many leases at once. A task that was cancelled leaves with this call, which is its worker's acknowledgement.
--
-- tasks: the tasks' ids
-- lease_ids: their leases, as many
-- lease: how long from now, more than 0, at most 10 years; null for each queue's
-- Returns: a row for each pair in the order of the arrays: the task, its outcome (extended, lease_lost or cancelled), and when
--     its lease ends now (null unless extended)
-- Errors: invalid_argument
-- Writes: cloaca_task, cloaca_task_history
create function cloaca.extend_many(tasks bigint[], lease_ids bigint[], lease interval default null)
returns table (task bigint, outcome text, lease_until timestamptz)
language c volatile
as 'MODULE_PATHNAME', 'cloaca_extend_many';
