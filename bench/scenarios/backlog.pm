# What a claim and queue_stats cost when many tasks wait, or are scheduled for tomorrow. Three databases: a short backlog, a long one
# (BENCH_BACKLOG=1000000), and a short one with as many tasks as the long one has scheduled.
package Bench::Scenario::backlog;
use strict;
use warnings;
use Bench::Report;
use Bench::Server;
use Cwd qw(abs_path);

my $latency = abs_path(__FILE__) =~ s/\.pm$/.sql/r;
my $backlog = $ENV{BENCH_BACKLOG} || 1_000_000;

sub scenario {
    my %fill = (short => [enqueue(1000)], long => [enqueue($backlog)], scheduled => [enqueue(1000), enqueue($backlog, '1 day')]);
    my @databases = qw(short long scheduled);
    heading('backlog', 'us, and ms for queue_stats');
    for my $database (@databases) {
        run('createdb', $database);
        statements($database, 'create extension cloaca', 'create unlogged table latency (took double precision)', @{ $fill{$database} },
            'vacuum analyze');
    }
    for (1 .. 12) {
        psql($_, '-f', $latency) for @databases;
    }
    my %at = map { $_ => [split ' ', value($_, 'select percentile_disc(0.5) within group (order by took) || \' \' ||
        percentile_disc(0.99) within group (order by took) from latency')] } @databases;
    for my $database (qw(long scheduled)) {
        row('backlog', 'claim p' . (50, 99)[$_] . ", $database: $backlog", 'a backlog of 1000', $at{short}[$_], $at{$database}[$_],
            sign => '<=', goal => $database eq 'long' ? 1.3 : 1.1) for 0, 1;
    }
    stats($_) for @databases;
    run('dropdb', $_) for @databases;
}

# The statement that enqueues so many tasks, as many at a time as is sensible.
sub enqueue {
    my ($tasks, $delay) = @_;
    my $delayed = $delay ? ", delay => '$delay'" : '';
    return "do \$\$ begin for done in 0 .. $tasks - 1 by 10000 loop
        perform from cloaca.enqueue_many('bench', array_fill(jsonb '{\"n\": 1}', array[least(10000, $tasks - done)]),
            queue => 'bench'$delayed); commit; end loop; end \$\$";
}

# queue_stats, the median of 21, before run_maintenance estimated the long queue and after.
sub stats {
    my ($database) = @_;
    for my $maintenance ('', 'perform cloaca.run_maintenance();') {
        my $took = value($database, 'truncate latency', "do \$\$ declare begun timestamptz; begin $maintenance for n in 1 .. 21 loop
            begun := clock_timestamp(); perform from cloaca.queue_stats('bench');
            insert into latency values (extract(epoch from clock_timestamp() - begun) * 1000); end loop; end \$\$",
            'select percentile_disc(0.5) within group (order by took) from latency');
        at_most('backlog', "queue_stats, $database, " . ($maintenance ? 'with' : 'without') . ' estimate', 20, 'ms', $took);
    }
}

1;
