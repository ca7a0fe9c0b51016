#!/usr/bin/perl
# Schedules in a SQLite file: of two maintainers at the same moment one fires; and one that is killed (SIGKILL) while it fires, at any of
# the writes that this takes, leaves nothing or the whole firing, and the next one makes up for it. Then maintainers in numbers, killed again
# and again: every scheduled time is fired exactly once.
#
#   SCHEDULE_ROUNDS=300    how often two maintainers meet
#   SCHEDULE_SECONDS=5     how long maintainers are killed
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use Test::More;
use Time::HiRes qw(time);

recovery::build();
my $program = $recovery::program = 'build/test/recovery_maintainer';
my $folder = $recovery::folder;
my $minute = 60_000_000;
my $begin = 1_767_225_600_000_000;    # 2026-01-01

at_the_same_moment();
killed_at_any_write();
killed_in_numbers();
done_testing();

# What the program prints.
sub maintainer {
    my $pid = open my $output, '-|';
    if (!$pid) {
        open STDERR, '>>', "$folder/maintainer.err";
        exec $program, @_ or POSIX::_exit(127);
    }
    my $text = do { local $/; <$output> } // '';
    close $output;
    return $text;
}

# A file with a schedule of a task and one of an execution, each minute from the beginning on.
sub scheduled_file {
    my ($name) = @_;
    # Who is kept waiting by another that stands still waits on.
    my $url = "sqlite:///$folder/$name.db?_busy_timeout=120000";
    maintainer('call', $url, $begin, 'define_workflow', '{"name": "flow", "definition": {"tasks": [{"name": "a"}, {"name": "b", "dependencies": ["a"]}]}}');
    maintainer('call', $url, $begin, 'create_schedule', qq({"name": "$_->[0]", "cron": "* * * * *", $_->[1], "catch_up": "run_all"}))
        for ['flow', '"workflow": "flow"'], ['task', '"task": "work", "queue": "fired"'];
    return $url;
}

# Firings, tasks, executions, tasks of executions, and how many of these are live.
sub work {
    my ($url) = @_;
    return recovery::must($url, "select (select count(*) from cloaca_firing where outcome = 'fired'), (select count(*) from cloaca_task where queue = 'fired'),
        (select count(*) from cloaca_execution), (select count(*) from cloaca_execution_task), (select count(*) from cloaca_task where queue = 'default')");
}

# The same when each of so many times was fired once.
sub whole {
    my ($times) = @_;
    return join '|', 2 * $times, $times, $times, 2 * $times, $times;
}

sub is_in_order {
    my ($url, $name) = @_;
    is(recovery::must($url, "select count(*) from (select scheduled_at - lag(scheduled_at) over (partition by schedule order by scheduled_at) as step
        from cloaca_firing) t where step <> $minute"), 0, "$name: every minute has its firing");
    is(recovery::must($url, "select count(*) from cloaca_firing f left join cloaca_task t on t.id = f.task left join cloaca_execution e on e.id = f.execution
        where t.id is null and e.id is null"), 0, "$name: every firing has what it started");
    is(recovery::must($url, 'select (select count(*) from cloaca_due) + (select count(*) from cloaca_settling)'), 0, "$name: nothing is left half-way");
    is(recovery::must($url, 'pragma integrity_check'), 'ok', "$name: the file is in order");
}

sub at_the_same_moment {
    my $rounds = $ENV{SCHEDULE_ROUNDS} || 300;
    my $url = scheduled_file('race');
    my $answer = maintainer('race', $url, $begin + $minute, $rounds);
    like($answer, qr/^one $rounds both 0 none 0$/m, 'of two maintainers at the same moment one fires');
    note($answer =~ /^(first .*)$/m);
    is(work($url), whole($rounds), 'each time once');
    is_in_order($url, 'two');
}

sub killed_at_any_write {
    my $url = scheduled_file('killed');
    my ($writes, %left, @wrong) = (0);
    for (;; $writes++) {
        my $now = $begin + ($writes + 1) * $minute;
        my $answer = maintainer('die', $url, $now, $writes);
        my $work = work($url);
        my $is_whole = $work eq whole($writes + 1);
        push @wrong, "after $writes writes: $work" unless $is_whole || $work eq whole($writes) && $answer !~ /committed/;
        $left{ $is_whole ? 'all' : 'nothing' }++;
        maintainer('call', $url, $now + 1_000_000, 'run_maintenance', '{}');
        $work = work($url);
        push @wrong, "after $writes writes, and maintenance: $work" unless $work eq whole($writes + 1);
        last if $answer =~ /closed/ || @wrong;
    }
    is_deeply(\@wrong, [], 'a maintainer that is killed at any write leaves nothing or all, and the next one fires what is missing');
    note("$writes writes; " . join ', ', map { "$left{$_} times $_ was left" } sort keys %left);
    cmp_ok($left{$_} // 0, '>', 1, "$_ was left") for qw(nothing all);
    is_in_order($url, 'killed');
}

sub killed_in_numbers {
    my $url = scheduled_file('numbers');
    my $real = '-9223372036854775808';    # the real time
    maintainer('call', $url, $real, 'delete_schedule', qq({"name": "$_"})) for qw(flow task);
    maintainer('call', $url, $real, 'create_schedule', qq({"name": "second $_", "cron": "* * * * * *", "catch_up": "run_all", "max_catch_up": 1000, )
        . ($_ % 2 ? '"workflow": "flow"}' : qq("task": "n$_", "queue": "fired"}))) for 1 .. 4;
    my ($end, $number, $kills) = (time + ($ENV{SCHEDULE_SECONDS} || 5), 0, 0);
    my @running = map { recovery::start('loop' . ++$number, 'loop', $url) } 1 .. 4;
    while (time < $end) {
        recovery::wait_ms(rand 40);
        recovery::kill_one(shift @running);
        push @running, recovery::start('loop' . ++$number, 'loop', $url);
        $kills++;
    }
    is_deeply([recovery::failures()], [], 'no maintainer met an error that no kill explains');
    recovery::kill_one($_) for @running;
    maintainer('call', $url, $real, 'run_maintenance', '{}');
    note("$kills kills, " . recovery::must($url, 'select count(*) from cloaca_firing') . ' firings');
    cmp_ok(recovery::must($url, 'select min(fired) from cloaca_schedule'), '>=', 3, 'each schedule was fired');
    is(recovery::must($url, "select count(*) from cloaca_firing where outcome <> 'fired' or count <> 1"), 0, 'none was skipped, and none failed');
    is(recovery::must($url, 'select count(*) from (select scheduled_at - lag(scheduled_at) over (partition by schedule order by scheduled_at) as step
        from cloaca_firing) t where step <> 1000000'), 0, 'every second has its firing');
    is(recovery::must($url, "select (select count(*) from cloaca_task where queue = 'fired') - (select count(task) from cloaca_firing),
        (select count(*) from cloaca_execution) - (select count(execution) from cloaca_firing), (select count(*) from cloaca_firing f
            left join cloaca_task t on t.id = f.task left join cloaca_execution e on e.id = f.execution where t.id is null and e.id is null)"), '0|0|0',
        'and every firing its task or execution, and no other');
    is(recovery::must($url, 'pragma integrity_check'), 'ok', 'the file is in order');
}
