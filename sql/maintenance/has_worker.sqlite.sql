-- @function has_worker() -> has_worker boolean
--
-- Programs are on their own.
select 0 as has_worker;
