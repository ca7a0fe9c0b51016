#!/usr/bin/perl
# Executions of random graphs, and of very wide ones, under 16 workers that end tasks in every way, several in a transaction too, while
# others pause, resume, cancel, retry and signal the executions. Nobody ever meets a deadlock; all the time the tables agree with each
# other, and at the end every execution has ended as it must. Then one wide execution, and one that is a long chain.
#
#   WORKFLOW_SECONDS=6    how long the storm goes on before everybody only completes
#   WORKFLOW_TASKS=1000   how wide the wide execution is, and ten times as long as the chain; 10000 for a whole run
#   WORKFLOW_SEED=1       of the graphs and of what workers do
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use flows;
use modes;
use Test::More;
use Time::HiRes qw(time);

modes::under_clusters('direct' => [], 'shared memory' => ['--preload'], 'by SQL' => ['--conf', 'cloaca.direct = off']);
recovery::build();
$recovery::program = 'build/test/recovery_flows';
my $url = recovery::postgres_url();
my $seconds = $ENV{WORKFLOW_SECONDS} || 6;
my $most = $ENV{WORKFLOW_TASKS} || 1000;
my $length = $most / 10;
my $seed = $ENV{WORKFLOW_SEED} || 1;
srand($seed);

flows::set_up($url);
recovery::must($url, "select cloaca.set_queue('default', retention => '1 day', retry => '{\"initial\": 0}')");
for my $n (1 .. 8) {
    flows::define($url, "random$n", 3, flows::random_tasks(2 + $n, 8));
}
flows::define($url, 'wide', 3, flows::wide_tasks(1000));
flows::start($url, 'wide', 1);
flows::start($url, "random$_", 20) for 1 .. 8;
my $executions = 161;

my $begun = time;
recovery::start("storm$_", $url, "storm$_", $seed * 100 + $_, 2, 2000, 1, $executions) for 1 .. 16;
my (@contradictions, @failures);
while (time < $begun + $seconds && !@contradictions && !@failures) {
    recovery::wait_ms(300);
    push @contradictions, grep { $_ } flows::contradictions($url);
    @failures = recovery::failures();
}
is_deeply(\@failures, [], 'no worker met an error that no call of another explains');
is_deeply(\@contradictions, [], 'at any moment the tables agree with each other');
is(recovery::stop_all(), 0, 'the workers stop when they are told to');
note(recovery::must($url, "select count(*) || ' effects, ' || (select count(*) from cloaca_default.cloaca_execution_event) || ' events' from effect"));

recovery::must($url, "select cloaca.resume_execution(id) from cloaca_default.cloaca_execution where finished_at is null");
drain(8, 'the storm');
flows::check($url);

end_in_time('fan', $most + 2, "select 'first' as name, '[]'::jsonb as dependencies
    union all select 'w' || n, '[\"first\"]' from generate_series(1, $most) n
    union all select 'last', (select jsonb_agg('w' || n) from generate_series(1, $most) n)");
end_in_time('chain', $length, "select 'c' || n as name, case when n = 1 then '[]' else jsonb_build_array('c' || (n - 1)) end as dependencies
    from generate_series(1, $length) n");
done_testing();

# Workers that only complete, until there is nothing left.
sub drain {
    my ($workers, $what) = @_;
    recovery::start("drain$what$_", $url, "drain$_", $_, 0, 60_000, 1, 1) for 1 .. $workers;
    is_deeply([flows::until_done($url)], [], "no worker of $what fails");
    is(recovery::stop_all(), 0, "nothing is left of $what");
}

# One execution of the tasks that a query gives.
sub end_in_time {
    my ($name, $count, $tasks) = @_;
    my $begun = time;
    recovery::must($url, "select cloaca.define_workflow('$name', jsonb_build_object('tasks', jsonb_agg(to_jsonb(t)))) from ($tasks) t");
    my $defined = time;
    flows::start($url, $name, 1);
    my $started = time;
    drain(4, $name);
    note(sprintf '%s of %d tasks: defined in %.2f s, started in %.2f s, done in %.2f s', $name, $count, $defined - $begun,
        $started - $defined, time - $started);
    is(recovery::must($url, "select e.state || ' ' || (i.tasks ->> 'completed') from cloaca.list_executions('$name') e,
        cloaca.get_execution(e.execution) i"), "completed $count", "$name of $count tasks completes");
}
