-- @helper add_error
--
-- The history of attempts with one more failed one; the last 100 are kept.
create function cloaca.add_error(errors jsonb, attempt integer, worker text, error text, at timestamptz) returns jsonb
language sql stable
return case when pg_catalog.jsonb_array_length(errors) >= 100 then errors - 0 else coalesce(errors, '[]') end
    || pg_catalog.jsonb_build_object('attempt', attempt, 'worker', worker, 'error', error, 'at', cloaca.utc(at));
