-- @function cron_next(cron text, timezone text = 'UTC', after timestamptz = null, count integer = 1) -> at timestamptz
--
-- Each time follows from the one before it.

-- @include schedule/check_times

-- @raise invalid_argument
select detail from (select case
    when :after not between -62135596800000000 and 253402300799999999 then 'The after must be a time between the years 1 and 9999.'
    when :count is null or :count not between 1 and 10000 then 'The count must be from 1 to 10000.'
    end as detail)
where detail is not null;

with recursive next (n, at) as (
    select 1, cloaca_cron_after(:cron, :timezone, coalesce(:after, :now))
    union all
    select n + 1, cloaca_cron_after(:cron, :timezone, at) from next where n < :count and at is not null
)
select at from next where at is not null order by n;
