#!/usr/bin/perl
# The postmaster is killed (SIGKILL) while the old workers live on with what they claimed. After the restart others take the tasks over;
# none of the old leases is accepted then, whether it expired or was lost with the server (the old claims commit asynchronously).
# A backend that outlives its postmaster in the middle of a transaction does no harm either.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use sessions;
use Test::More;

recovery::under_cluster('--conf', 'wal_writer_delay = 10s');
recovery::build();
my $url = recovery::postgres_url();
my $tasks = 20_000;
my $state = "select md5(string_agg(t::text, ' ' order by task)) from cloaca.list_tasks(max => 10000) t";

recovery::must($url, 'create extension cloaca');
recovery::must($url, "select cloaca.set_queue(q, retention => '1 day', max_attempts => 1000000) from unnest(array['storm', 'linger']) q");
recovery::must($url, "select count(*) from cloaca.enqueue_many('storm', array_fill(jsonb '1', array[$tasks]), queue => 'storm')");
recovery::must($url, "select cloaca.enqueue('linger', queue => 'linger')");

my %old;
for my $n (1 .. 4) {
    my ($pid, $pipe) = recovery::start_waiting("old$n", 'hold', "$url&options=-csynchronous_commit%3Doff", "old$n", 2, 1500);
    $old{$pid} = $pipe;
}
# What each has claimed until now outlives the kill, being on the disk; some of what comes then does not.
until_held(10);
recovery::must($url, 'create table flushed ()');
my $flushed = claims();
recovery::comes(sub { claims() > $flushed + 100 }) or die "nothing more is claimed\n";
recovery::kill_postmaster();
recovery::start_postmaster();
my $durable = recovery::must($url, 'select count(*) from cloaca_default.cloaca_task where lease_id is not null');
cmp_ok($durable, '>', 0, 'tasks are under lease after the restart');

# Everything is taken over as soon as the old leases end: half of it is completed, half is under new leases.
my $taken = 0;
my $take = sub { $taken += recovery::must($url, "select count(*) from cloaca.claim('storm', 'new', 10000, '1 day')") };
ok(recovery::reaches($take, $tasks), 'others take over every task');
recovery::must($url, "select count(*) from (select array_agg(id) as tasks, array_agg(lease_id) as leases from cloaca_default.cloaca_task
    where queue = 'storm' and id % 2 = 0) t, cloaca.complete_many(tasks, leases)");
my $kept = recovery::must($url, $state);

for my $pid (keys %old) {
    syswrite $old{$pid}, "go\n";
    close $old{$pid};
    is(recovery::reap($pid), 0, 'an old worker tries with its leases');
}
my $held = 0;
for my $n (1 .. 4) {
    my $said = recovery::read_file("$recovery::folder/old$n.out");
    like($said, qr/^held [1-9]\d* extend 0 release 0 fail 0 complete 0$/m, "no call of worker $n is accepted");
    $held += $1 if $said =~ /^held (\d+)/m;
}
note("$held leases were given out, $durable outlived the kill");
is(recovery::must($url, $state), $kept, 'and nothing changed');

my $lingering = linger();
recovery::kill_postmaster();
open my $flag, '>', "$recovery::folder/go" or die "go: $!\n";
recovery::start_postmaster();
my $acknowledged = close $lingering;
my $completed = recovery::must($url, "select count(*) from cloaca_default.cloaca_task_history where queue = 'linger'");
note('the lingering backend was ' . ($acknowledged ? '' : 'not ') . 'acknowledged, and its task is ' . ($completed ? '' : 'not ') . 'completed');
ok(!$acknowledged || $completed, 'what a backend acknowledged that outlived its postmaster has happened');
done_testing();

sub claims {
    return recovery::must($url, "select sum(attempt) from cloaca_default.cloaca_task where queue = 'storm'");
}

# Waits until each of the old workers holds so many tasks.
sub until_held {
    my ($count) = @_;
    sessions::until_true($url, "select count(*) = 4 from (select from cloaca_default.cloaca_task where lease_id is not null
        group by worker having count(*) >= $count) w");
}

# A transaction that claims, computes without ever looking whether the postmaster lives until a file is there, and completes. Returns when
# it has claimed.
sub linger {
    chmod 0755, $recovery::folder;
    open my $psql, '|-', "psql -X -q -v ON_ERROR_STOP=1 '$url' >$recovery::folder/linger.out 2>&1" or die "psql: $!\n";
    print $psql qq{do \$\$
        declare
            t record;
        begin
            select * into t from cloaca.claim('linger', lease => '1 day');
            perform pg_advisory_xact_lock(1);
            while pg_stat_file('$recovery::folder/go', true) is null loop end loop;
            perform cloaca.complete(t.task, t.lease_id);
        end \$\$;
    };
    $psql->flush;
    sessions::until_true($url, "select count(*) = 1 from pg_locks where locktype = 'advisory'");
    return $psql;
}
