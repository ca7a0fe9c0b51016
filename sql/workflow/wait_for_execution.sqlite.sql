-- @function wait_for_execution(execution bigint, timeout interval = null) -> state text
--
-- The library asks again when the file has changed.

-- @raise invalid_argument
select detail from (select case
    when :timeout not between 0 and 315576000000000 then 'The timeout must be from 0 to 10 years.'
    end as detail)
where detail is not null;

-- @include workflow/refuse_execution

-- @watch
select case when finished_at is not null then state end as state, null as next_at from main.cloaca_execution where id = :execution;
