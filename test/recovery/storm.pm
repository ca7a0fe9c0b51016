# A storm over one queue: many workers with short leases, killed and replaced at random, until every task is done, or for a minute; what
# is left then is done undisturbed. Then history must show that each task was completed exactly once, and every completion that a worker was
# told of must be the one in history.
package storm;
use strict;
use warnings;
use Test::More;

my @batches = (1, 3, 10, 30, 100, 200);
my ($longest, $fewest) = (60, 60);    # seconds, kills

# fault: called about ten times a second, with the workers by id, beside the kills of workers
sub run {
    my ($url, $tasks, $workers, $fault) = @_;
    my $logs = 0;
    my $begin = sub {
        my ($lease) = @_;
        my $n = ++$logs;
        return recovery::start("worker$n", 'work', $url, "worker$n", $batches[$n % @batches], $lease // 200 + 300 * ($n % 4), "$recovery::folder/$n.log");
    };
    my $left = sub { recovery::ask($url, 'select count(*) from ' . recovery::table($url, 'task')) };
    my %running = map { $begin->() => 1 } 1 .. $workers;
    my ($begun, $kills, @failures) = (time, 0);

    while (time < $begun + $longest || $kills < $fewest) {
        recovery::wait_ms(100);
        my ($victim) = sort { rand() <=> 0.5 } keys %running;
        recovery::kill_one($victim);
        delete $running{$victim};
        $running{ $begin->() } = 1;
        $kills++;
        $fault->() if $fault;
        last if @failures = recovery::failures();
        last if $kills % 5 == 0 && ($left->() // '') eq '0';
    }
    note("$kills workers were killed in " . (time - $begun) . ' s');
    is_deeply(\@failures, [], 'no worker met an error that no fault explains');
    # Workers with such short leases need not get on where the machine is slow.
    is(recovery::stop_all(), 0, 'the workers stop when they are told to');
    $begin->(10_000) for 1 .. 4;
    recovery::reaches(sub { @failures = recovery::failures(); @failures ? 0 : $left->() }, 0);
    is_deeply(\@failures, [], 'nor later');
    is(recovery::stop_all(), 0, 'and the last ones, too');
    check($url, $tasks);
}

sub check {
    my ($url, $tasks) = @_;
    my $history = recovery::table($url, 'task_history');
    is(recovery::must($url, 'select count(*) from ' . recovery::table($url, 'task')), 0, 'no task is stuck');
    is(recovery::must($url, 'select count(*) from ' . recovery::table($url, 'dead_letter')), 0, 'no task died');
    is(recovery::must($url, "select count(*), count(distinct payload) from $history where state = 'completed'"), "$tasks|$tasks",
        "each of $tasks tasks was completed, and once");
    is(recovery::must($url, "select count(*) from $history where lease_id is null or attempt < 1 or result is distinct from payload"),
        0, 'under a lease, with its result');
    my %completed = map { split /\|/ } split /\n/, recovery::must($url, "select task, lease_id from $history");
    my @promises = recovery::promises('done');
    is_deeply([grep { $completed{ $_->[0] } ne $_->[1] } @promises], [], 'what a worker was told is completed is, under its lease');
    my %told;
    is(scalar(grep { $told{ $_->[0] }++ } @promises), 0, 'no task was acknowledged twice');
    cmp_ok(scalar @promises, '>', $tasks / 2, 'most completions were acknowledged');
    note(recovery::must($url, "select 'attempts: ' || sum(attempt) || ', at most ' || max(attempt) || ' for a task' from $history"));
}

1;
