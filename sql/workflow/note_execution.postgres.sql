-- @helper note_execution
--
-- Tells the library that an execution ends with this transaction: whoever waits for it wakes when that commits.
create function cloaca.note_execution(tenant text, execution bigint) returns void
language c volatile strict
as 'MODULE_PATHNAME', 'cloaca_note_execution';
