-- @function complete_many(tasks bigint[], lease_ids bigint[], results jsonb[] = null) -> task bigint, outcome text
--
-- Ends many tasks as done, and says of each what came of it: one that is lost does not stop the others. A task that was
-- cancelled leaves with this call, which is its worker's acknowledgement.
--
-- tasks: the tasks' ids
-- lease_ids: their leases, as many
-- results: their results, as many; null for none at all, elements may be null
-- Returns: a row for each pair in the order of the arrays: the task, and its outcome (completed, lease_lost or cancelled)
-- Errors: invalid_argument
-- Writes: cloaca_task, cloaca_task_history, cloaca_finished_key
create function cloaca.complete_many(tasks bigint[], lease_ids bigint[], results jsonb[] default null)
returns table (task bigint, outcome text)
language c volatile
as 'MODULE_PATHNAME', 'cloaca_complete_many';
