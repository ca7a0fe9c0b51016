-- @helper note_ready
--
-- Tells the library that `count` tasks of a queue and priority became claimable, or will be at run_at: none has a smaller run_at, or
-- the same and a smaller id. When that commits, cursors that are past them go back, and whoever waits is woken. Null for priority,
-- run_at and task stands for any task of the queue.
create function cloaca.note_ready(tenant text, queue text, priority smallint, run_at timestamptz, task bigint, count bigint)
returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_note_ready';
