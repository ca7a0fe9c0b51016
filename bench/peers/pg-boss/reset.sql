truncate pgboss.job_common cascade;
