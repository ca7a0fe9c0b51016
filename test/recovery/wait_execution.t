#!/usr/bin/perl
# A session that waits for the end of an execution: what it holds meanwhile, what wakes it, and what does not. With shared memory nothing
# is polled for a minute here, and what hints have lost is looked for once an hour: so it is the end itself that wakes. Without shared
# memory it is found by polling.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use modes;
use recovery;
use sessions;
use Test::More;
use Time::HiRes qw(time);

modes::under_clusters(
    'shared memory' => ['--preload', map { ('--conf', $_) } 'cloaca.repair_interval = 1h', 'cloaca.poll_interval = 60s'],
    'polling' => ['--conf', 'cloaca.poll_interval = 50ms'],
);
recovery::build();
my $url = recovery::postgres_url();
my $has_memory = modes::name() eq 'shared memory';
my $soon = 50_000;    # below the intervals
my $still = 300;

recovery::must($url, 'create extension cloaca');
recovery::must($url, q{select cloaca.define_workflow('one', '{"tasks": [{"name": "task"}]}')});

sub begun {
    my ($timeout) = @_;
    return recovery::must($url, "select execution from cloaca.start_workflow('one'" . ($timeout ? ", timeout => '$timeout')" : ')'));
}

sub wait_for {
    my ($execution, $timeout) = @_;
    return "call cloaca.wait_for_execution($execution" . ($timeout ? ", '$timeout')" : ')');
}

# The processes that sleep, once there are so many, in the order in which they began. Who polls is awake now and then, and may come late.
sub asleep {
    my ($count) = @_;
    my $sleeps = $has_memory ? "wait_event_type = 'Extension'" : "query like 'call cloaca.wait_for%'";
    my @pids;
    recovery::comes(sub {
        @pids = split /\n/, recovery::must($url, "select pid from pg_stat_activity where $sleeps and state = 'active' order by query_start");
        return @pids == $count;
    }) or die "there never were $count sleepers\n";
    return @pids;
}

sub cancel {
    my ($execution) = @_;
    recovery::must($url, "select cloaca.cancel_execution($execution)");
}

# The state of an execution whose wait is over at once.
sub is_over {
    my ($psql, $state, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(sessions::end($psql, $soon), $state, $name);
}

subtest 'asleep' => sub {
    my $execution = begun();
    my $psql = sessions::begin(wait_for($execution));
    my ($pid) = asleep(1);
    # Who polls has a snapshot now and then.
    my $held = "select backend_xmin is null and backend_xid is null and (select string_agg(locktype, ',') from pg_locks where pid = $pid)
        = 'virtualxid' from pg_stat_activity where pid = $pid";
    ok($has_memory ? recovery::must($url, $held) eq 't' : sessions::until_true($url, $held), 'it holds neither snapshot nor lock');
    is(recovery::must($url, "set lock_timeout = '60s'; begin; lock table cloaca_default.cloaca_execution in access exclusive mode;
        commit; select 'done'"), 'done', 'and is in nobody\'s way');
    is(sessions::end($psql, $still), undef, 'it sleeps on');
    my $begun = time;
    cancel($execution);
    is_over($psql, 'cancelled', 'somebody cancels the execution: it returns');
    note(sprintf '%.1f ms after psql began to cancel', (time - $begun) * 1000);
};

subtest 'whatever ends it' => sub {
    my $ended = 'from cloaca.claim() c';
    my @ends = (
        ['a completion', 'completed', "select cloaca.complete(c.task, c.lease_id) $ended"],
        ['one by SQL', 'completed', "set cloaca.direct = off; select cloaca.complete(c.task, c.lease_id) $ended"],
        ['one of many', 'completed', 'select count(*) from (select array_agg(task) as tasks, array_agg(lease_id) as leases from cloaca.claim()) c
            cross join lateral cloaca.complete_many(c.tasks, c.leases)'],
        ['a failure', 'failed', "select cloaca.fail(c.task, c.lease_id, 'no', final => true) $ended"],
        ['maintenance, when its time is over', 'failed', 'select sum(timed_out) > 0 from cloaca.run_maintenance()', '250 ms'],
        ['cancelling its only task', 'failed', 'select cloaca.cancel_task(task) from cloaca.list_tasks(state => \'ready\')'],
    );
    for (@ends) {
        my ($what, $state, $end, $timeout) = @$_;
        my $psql = sessions::begin(wait_for(begun($timeout)));
        asleep(1);
        $timeout ? sessions::until_true($url, $end) : recovery::must($url, $end);
        is_over($psql, $state, $what);
    }
};

subtest 'at the commit' => sub {
    my $execution = begun();
    my $psql = sessions::begin(wait_for($execution));
    asleep(1);
    my $other = dialogue->new($url);
    $other->ask("begin; select cloaca.cancel_execution($execution)");
    is(sessions::end($psql, $still), undef, 'an end that is not committed wakes nobody');
    $other->ask('rollback');
    is(sessions::end($psql, $still), undef, 'nor one that is rolled back');
    $other->ask("begin; savepoint s; select cloaca.cancel_execution($execution); rollback to s; commit");
    is(sessions::end($psql, $still), undef, 'in part, too');
    $other->ask("begin; select cloaca.cancel_execution($execution)");
    $other->ask('commit');
    is_over($psql, 'cancelled', 'but one that is');

    $psql = sessions::begin(wait_for($execution = begun()));
    asleep(1);
    recovery::must($url, "begin; select cloaca.cancel_execution($execution); prepare transaction 'end'");
    is(sessions::end($psql, $still), undef, 'a prepared transaction wakes nobody');
    recovery::must($url, "commit prepared 'end'");
    is_over($psql, 'cancelled', 'but when it is committed');
};

subtest 'whenever it comes' => sub {
    my @wrong;
    for (1 .. 15) {
        my $execution = begun();
        my $psql = sessions::begin(wait_for($execution));
        recovery::wait_ms(rand 20);
        cancel($execution);
        push @wrong, $execution if (sessions::end($psql, $soon) // '') ne 'cancelled';
    }
    is_deeply(\@wrong, [], 'before the look, between look and sleep, or after');
};

subtest 'its time' => sub {
    my $execution = begun();
    my $begun = time;
    is_over(sessions::begin(wait_for($execution, '400 ms')), '', 'a wait whose time is over returns null');
    cmp_ok(time - $begun, '>=', 0.4, 'not before');
    is(recovery::must($url, "select state from cloaca.get_execution($execution)"), 'pending', 'the execution goes on');
    my $psql = sessions::begin(wait_for($execution, '1 hour'));
    asleep(1);
    cancel($execution);
    is_over($psql, 'cancelled', 'one with time left is woken');
    is_over(sessions::begin(wait_for($execution)), 'cancelled', 'and one that comes late does not wait');
};

subtest 'stopped' => sub {
    my $execution = begun();
    for (['pg_cancel_backend', qr/canceling statement/], ['pg_terminate_backend', qr/terminating connection/]) {
        my ($function, $error) = @$_;
        my $psql = sessions::begin(wait_for($execution));
        my ($pid) = asleep(1);
        recovery::must($url, "select $function($pid)");
        like(sessions::end($psql, $soon), $error, "$function ends a wait at once");
    }
    like(sessions::end(sessions::begin({ PGOPTIONS => '-c statement_timeout=200ms' }, wait_for($execution)), $soon), qr/statement timeout/,
        'so does statement_timeout');
    my $psql = sessions::begin(wait_for($execution));
    my ($pid) = asleep(1);
    sessions::hang_up($psql);
    ok(sessions::until_true($url, "select not exists (select from pg_stat_activity where pid = $pid)"), 'and the end of its client');
    $psql = sessions::begin(wait_for($execution));
    asleep(1);
    cancel($execution);
    is_over($psql, 'cancelled', 'who comes after them is woken');
};

subtest 'refused' => sub {
    my $execution = begun();
    like(sessions::end(sessions::begin('begin', wait_for($execution)), $soon), qr/not possible inside a transaction block/, 'in a transaction block');
    recovery::must($url, "create function wait() returns void language plpgsql as
        'declare state text; begin call cloaca.wait_for_execution($execution, null, state); end'");
    like(sessions::end(sessions::begin('select wait()'), $soon), qr/not possible inside a transaction block/, 'in a function');
    like(sessions::end(sessions::begin(wait_for(999999)), $soon), qr/unknown execution/, 'an execution that there is not');
    like(sessions::end(sessions::begin(wait_for($execution, '-1 s')), $soon), qr/from 0 to 10 years/, 'a timeout that is none');
    is(sessions::sleepers($url), 0, 'none of them sleeps');
    cancel($execution);
};

subtest 'several' => sub {
    my ($execution, $another) = (begun(), begun());
    my $in_shop = { PGOPTIONS => '-c cloaca.tenant=shop' };
    recovery::must($url, "select from cloaca.create_tenant('shop', 'shop')");
    recovery::must($url, q{set cloaca.tenant = 'shop'; select cloaca.define_workflow('one', '{"tasks": [{"name": "task"}]}')});
    is(recovery::must($url, "set cloaca.tenant = 'shop'; select max(s.execution) from generate_series(1, $execution) n
        cross join lateral cloaca.start_workflow('one', key => n::text) s"), $execution, 'another tenant has an execution of the same number');

    my @psql = map { sessions::begin(wait_for($execution)) } 1 .. 5;
    asleep(5);
    my @others = (sessions::begin(wait_for($another)), sessions::begin($in_shop, wait_for($execution)));
    my @pids = (asleep(7))[5, 6];
    # A session that is woken looks, in a transaction of its own.
    my $looked = 'select string_agg(xact_start::text, \' \' order by pid) from pg_stat_activity where pid in (' . join(', ', @pids) . ')';
    my $before = recovery::must($url, $looked);
    cancel($execution);
    is_over($_, 'cancelled', 'all that wait for an execution are woken') for @psql;
    is(sessions::end($_, $still), undef, 'who waits for another one waits on') for @others;
    is(recovery::must($url, $looked), $before, 'and was not even woken') if $has_memory;
    cancel($another);
    is_over($others[0], 'cancelled', 'until it ends');
    is(sessions::end($others[1], $still), undef, 'that of another tenant still waits');
    recovery::must($url, "set cloaca.tenant = 'shop'; select cloaca.cancel_execution($execution)");
    is_over($others[1], 'cancelled', 'until its own ends');
};

subtest 'nobody calls' => sub {
    plan skip_all => 'only the background worker ends executions without a call' if !$has_memory;
    recovery::must($url, 'alter system set cloaca.background_worker = on');
    recovery::must($url, 'select pg_reload_conf()');
    sessions::until_true($url, 'select cloaca.has_worker()');
    is_over(sessions::begin(wait_for(begun('500 ms'))), 'failed', 'the time of the execution is over: its worker ends it, and wakes who waits');
};

done_testing();
