select count(*) from pgboss.job_common where state <> 'completed'
