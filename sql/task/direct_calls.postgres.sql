-- @helper direct_calls
--
-- How many calls of this session the direct path has served: for tests, and for whoever wonders why it does not.
create function cloaca.direct_calls() returns bigint
language c volatile
as 'MODULE_PATHNAME', 'cloaca_direct_calls';
