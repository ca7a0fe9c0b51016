-- @helper note_ready
--
-- Without the library there are no hints to keep: every claim looks at the table.
create function cloaca.note_ready(tenant text, queue text, priority smallint, run_at timestamptz, task bigint, count bigint)
returns void
language sql volatile
return null;
