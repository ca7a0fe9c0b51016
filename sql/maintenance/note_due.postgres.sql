-- @helper note_due
--
-- Tells the background worker that maintenance of a tenant is due at that time, once this transaction commits.
create function cloaca.note_due(tenant text, at timestamptz) returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_note_due_call';
