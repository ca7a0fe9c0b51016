-- @helper note_leases
--
-- Tells the background worker that calls maintain_tenant when the first lease ends that this left; null: there is none.
create function cloaca.note_leases(first timestamptz) returns void
language c volatile
as 'MODULE_PATHNAME', 'cloaca_note_leases';
