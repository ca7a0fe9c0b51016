-- @helper backoff
--
-- How long to wait, in microseconds, after the attempt of this number failed. Keys that the policy leaves out are exponential,
-- initial 1 s, max 60 s, jitter 0.25; jitter spreads the delay evenly to both sides and never beyond max.
create function cloaca.backoff(policy jsonb, attempt integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    strategy constant text := coalesce(policy ->> 'strategy', 'exponential');
    initial constant double precision := coalesce((policy ->> 'initial')::double precision, 1);
    most constant double precision := coalesce((policy ->> 'max')::double precision, 60);
    jitter constant double precision := coalesce((policy ->> 'jitter')::double precision, 0.25);
    chance constant double precision := coalesce(nullif(current_setting('cloaca.random', true), '')::double precision, random());
    base double precision;
begin
    base := case strategy
        when 'fixed' then initial
        when 'linear' then initial * attempt
        else initial * 2 ^ least(attempt - 1, 40)
    end;
    return least(least(base, most) * (1 + jitter * (2 * chance - 1)), most) * 1000000;
end
$$;
