#!/usr/bin/perl
# Schedules among crashes: a firing that was not committed when its session or the server was killed is made once by the next maintainer, one
# that was committed is not made again, and an execution that still runs changes nothing. Then maintainers in numbers, killed again and
# again: every scheduled time is fired exactly once.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use Test::More;

recovery::under_cluster('--durable');
$recovery::folder = File::Temp::tempdir('cloaca-recovery-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $url = recovery::postgres_url();
my @loops;

END {
    kill 'KILL', @loops if @loops;
}


recovery::must($url, $_) for 'create extension cloaca',
    q{select cloaca.define_workflow('flow', '{"tasks": [{"name": "long"}, {"name": "then", "dependencies": ["long"]}]}')},
    q{set cloaca.clock = '2026-01-01 00:00:00+00'; select cloaca.create_schedule('flow', '0 * * * *', workflow => 'flow', catch_up => 'run_once'),
        cloaca.create_schedule('task', '0 * * * *', task => 'work', queue => 'fired', catch_up => 'run_once')};

# The session that fires is killed before its commit, and with it, as PostgreSQL has it, every other.
my $session = maintainer('2026-01-01 01:00:10+00');
my $backend = $session->backend;
$session->ask('begin; select count(*) from cloaca.run_maintenance()');
is($session->ask("select count(*) from cloaca.schedule_history('flow')"), 1, 'a session fires');
ok(recovery::crash($backend), 'SIGKILL');
is(fired('flow'), '', 'it is killed: nothing was fired');
is(work(), '0|0', 'and nothing was started');
maintain('2026-01-01 01:00:20+00');
is(fired('flow') . ' ' . fired('task'), '01:00 01:00', 'the next one fires');
is(work(), '1|1', 'both');

# The server is killed before the commit, and right after one.
$session = maintainer('2026-01-01 02:00:10+00');
$session->ask('begin; select count(*) from cloaca.run_maintenance()');
restart();
is(fired('flow'), '01:00', 'the server is killed before a commit: nothing was fired');
maintain('2026-01-01 02:00:20+00');
is(work(), '2|2', 'the next maintainer fires, once');
restart();
is(fired('flow') . ' ' . fired('task'), '01:00 02:00 01:00 02:00', 'the server is killed after the commit: it is kept');
maintain('2026-01-01 02:00:30+00');
is(work(), '2|2', 'and not fired again');

# A task of the first execution runs for hours, and beyond another crash.
# The claim has to outlive the crash: by default one that comes too soon would take it back.
recovery::must($url, q{set cloaca.clock = '2026-01-01 02:10:00+00'; set cloaca.asynchronous_claims = off;
    select count(*) from cloaca.claim(worker => 'slow', lease => '1 day')});
restart();
maintain('2026-01-01 02:59:00+00');
is(work(), '2|2', 'an execution that runs long is not fired again');
maintain('2026-01-01 03:00:00+00');
is(work(), '3|3', 'and the next time is fired beside it');
is(recovery::must($url, "select state from cloaca.get_execution((select min(id) from cloaca_default.cloaca_execution))"), 'running', 'while it still runs');

# Four maintainers on the real clock; sessions are killed as they go.
recovery::must($url, $_) for "select cloaca.delete_schedule(name) from cloaca.list_schedules()", "select cloaca.drop_queue('fired', true)",
    "select cloaca.create_schedule('second ' || n, '* * * * * *', task => 'n' || n, queue => 'fired', catch_up => 'run_all', max_catch_up => 1000)
     from generate_series(1, 3) n";
push @loops, start_loop() for 1 .. 4;
my $kills = 0;
while ($kills < 5) {
    my $before = total();
    recovery::comes(sub { total() > $before + 3 }) or die "nothing is fired\n";
    my $victim = recovery::ask($url, "select pid from pg_stat_activity where backend_type = 'client backend' and query like '%run_maintenance%'
        and pid <> pg_backend_pid() limit 1");
    $kills += recovery::crash($victim) if $victim;
}
kill 'TERM', @loops;
waitpid $_, 0 for splice @loops;
recovery::must($url, 'select count(*) from cloaca.run_maintenance()');
cmp_ok(total(), '>', 15, 'times were fired');
is(recovery::must($url, "select count(*) from cloaca.list_schedules() s cross join cloaca.schedule_history(s.name) h where h.outcome <> 'fired' or h.count <> 1"), 0,
    'none was skipped, and none failed');
is(recovery::must($url, "select count(*) from (select h.scheduled_at - lag(h.scheduled_at) over (partition by s.name order by h.scheduled_at) as step
    from cloaca.list_schedules() s cross join cloaca.schedule_history(s.name, max => 10000) h) t where step <> interval '1 second'"), 0, 'every second has its firing');
is(recovery::must($url, "select count(*) from cloaca.list_schedules() s cross join cloaca.schedule_history(s.name, max => 10000) h
    full join cloaca_default.cloaca_task t on t.id = h.task where t.queue = 'fired' and h.task is null or t.id is null"), 0, 'and every firing its task, and no other');
done_testing();

# ------------------------------------------------------------------------------------------------------------------ helpers

sub maintainer {
    my ($now) = @_;
    return dialogue->new($url, 'cloaca.clock' => $now);
}

sub maintain {
    my ($now) = @_;
    recovery::must($url, "set cloaca.clock = '$now'; select count(*) from cloaca.run_maintenance()");
}

# When a schedule was fired.
sub fired {
    my ($name) = @_;
    return recovery::must($url, "select coalesce(string_agg(to_char(scheduled_at at time zone 'UTC', 'HH24:MI'), ' ' order by scheduled_at), '')
        from cloaca.schedule_history('$name')");
}

# How many executions and tasks were started.
sub work {
    return recovery::must($url, "select (select count(*) from cloaca_default.cloaca_execution), (select count(*) from cloaca_default.cloaca_task where queue = 'fired')");
}

sub total {
    return recovery::must($url, "select coalesce(sum(fired), 0) from cloaca.schedule_stats()");
}

sub restart {
    recovery::kill_postmaster();
    recovery::start_postmaster();
}

# Calls run_maintenance again and again, in sessions of some calls each.
sub start_loop {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        my $stopped;
        $SIG{TERM} = sub { $stopped = 1 };
        while (!$stopped) {
            recovery::ask($url, "select count(*) from cloaca.run_maintenance(); select pg_sleep(0.05); select count(*) from cloaca.run_maintenance()");
        }
        POSIX::_exit(0);
    }
    return $pid;
}
