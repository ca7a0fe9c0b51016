-- @helper merge
--
-- Documents merged from left to right: objects deeply; arrays one after the other, an element of a later one only if it is not there
-- yet; of anything else the later one. Nulls (of SQL) are passed over.
create function cloaca.merge(documents jsonb[]) returns jsonb
language c immutable parallel safe
as 'MODULE_PATHNAME', 'cloaca_merge';
