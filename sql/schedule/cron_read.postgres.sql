-- @helper cron_read
--
-- Reads a cron expression, as clo_cron_read of src/common/cron.c does: a bit for each value that a field allows. It matches a day
-- when month and week do, or when either does and neither begins with *.
create type cloaca.cron_fields as (
    seconds    bigint,
    minutes    bigint,
    hours      bigint,
    days       bigint,
    months     bigint,
    weekdays   bigint,
    is_either  boolean,
    is_elapsed boolean
);

create function cloaca.cron_read(cron text) returns cloaca.cron_fields
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    spelled constant text := lower(btrim(cron_read.cron, E' \t') collate "C");
    fields text[] := regexp_split_to_array(case spelled
        when '@hourly' then '0 * * * *'
        when '@daily' then '0 0 * * *'
        when '@midnight' then '0 0 * * *'
        when '@weekly' then '0 0 * * 0'
        when '@monthly' then '0 0 1 * *'
        when '@yearly' then '0 0 1 1 *'
        when '@annually' then '0 0 1 1 *'
        else spelled end, E'[ \t]+');
    bits bigint[];
    known record;
    has_date boolean;
begin
    if octet_length(cron_read.cron) > 200 then
        perform cloaca.raise_condition('invalid_argument', 'The cron expression must have at most 200 bytes.');
    elsif cardinality(fields) not between 5 and 6 or spelled is null then
        perform cloaca.raise_condition('invalid_argument', 'The cron expression must have 5 or 6 fields, or be @hourly, @daily, '
            || '@midnight, @weekly, @monthly, @yearly or @annually.');
    elsif cardinality(fields) = 5 then
        fields := array_prepend('0', fields);
    end if;

    for known in
        select * from (values
            (1, 'second', 0, 59, '', null::text[]), (2, 'minute', 0, 59, '', null), (3, 'hour', 0, 23, '', null), (4, 'day', 1, 31, '', null),
            (5, 'month', 1, 12, ' or JAN to DEC', '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'),
            (6, 'weekday', 0, 6, ' or SUN to SAT', '{sun,mon,tue,wed,thu,fri,sat}')
        ) f (n, name, low, high, spelling, names) order by f.n
    loop
        bits[known.n] := cloaca.cron_bits(fields[known.n], known.low, known.high, known.names);
        if bits[known.n] is null then
            perform cloaca.raise_condition('invalid_argument',
                format('The %s of the cron expression must be from %s to %s%s, with *, lists, ranges and steps.',
                    known.name, known.low, case known.high when 6 then 7 else known.high end, known.spelling));
        end if;
    end loop;
    bits[6] := (bits[6] | (bits[6] >> 7)) & 127;

    select bool_or(bits[5] & (1::bigint << month) <> 0 and bits[4] & ((2::bigint << days) - 1) <> 0) into has_date
    from unnest(array[31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) with ordinality as calendar (days, ordinal)
    cross join lateral (select calendar.ordinal::integer) as m (month);
    if not (has_date or (fields[4] !~ '^[*]' and fields[6] !~ '^[*]')) then
        perform cloaca.raise_condition('invalid_argument', 'The cron expression matches no date.');
    end if;
    return (bits[1], bits[2], bits[3], bits[4], bits[5], bits[6], fields[4] !~ '^[*]' and fields[6] !~ '^[*]', fields[3] ~ '^[*]');
end
$$;
