#!/usr/bin/perl
# 16 claimers, each a process of its own, with short leases on 100,000 tasks in one SQLite file, while they are killed (SIGKILL).
#
#   STORM_TASKS=100000
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use storm;
use Test::More;

recovery::build();
my $tasks = $ENV{STORM_TASKS} || 100_000;
my $file = "$recovery::folder/storm.db";
my $url = "sqlite:///$file";

is(recovery::reap(recovery::start('enqueue', 'enqueue', $url, 1, $tasks, 200, "$recovery::folder/enqueue.log")), 0, 'tasks are enqueued');
recovery::must($url, "insert into cloaca_queue (queue, paused, lease, max_attempts, retry, retention, key_retention, created_at)
    values ('storm', 0, 30000000, 1000000, '{}', 86400000000, 0, 0)");
storm::run($url, $tasks, 16);
is(recovery::must($url, 'pragma integrity_check'), 'ok', 'the file is in order');
done_testing();
