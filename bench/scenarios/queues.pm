# Claim and complete of single tasks by four clients, when the tasks are not simply in one queue:
#
#   BENCH_QUEUES=1000 queues in turn     BENCH_TENANTS=1000 tenants in turn     two queues, nine of ten tasks in one of them
#   BENCH_SCHEDULED=1000000 more tasks in the queue, scheduled for tomorrow
#
# against one queue of one tenant. For the tenants each cycle begins with cloaca.set_tenant, in the single tenant that they are compared
# with, too; the session is a superuser's, as behind a pool that serves all of them.
package Bench::Scenario::queues;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;
use Bench::Server;
use Cwd qw(abs_path);
use File::Basename qw(dirname);

my $clients = 4;
my $queues = $ENV{BENCH_QUEUES} || 1000;
my $tenants = $ENV{BENCH_TENANTS} || 1000;
my $scheduled = $ENV{BENCH_SCHEDULED} || 1_000_000;
my $tenant_script = dirname(abs_path(__FILE__)) . '/queues.tenant.sql';

sub scenario {
    heading('queues', 'tasks/s');
    my $peer = Bench::Peer->get('cloaca');
    my @names = map { "q$_" } 1 .. $queues;
    my %cases = (
        single    => sub { lifecycle($peer, 'bench') },
        queues    => sub { lifecycle($peer, join(',', @names), sub { spread($peer, $_[0], @names) }) },
        skew      => sub { lifecycle($peer, join(',', ('hot') x 9, 'cold'), sub { spread($peer, $_[0], ('hot') x 9, 'cold') }) },
        scheduled => sub { lifecycle($peer, 'bench', sub { scheduled($peer, $_[0]) }) },
    );
    my $rates = rates(%cases);
    compare($rates, 'single', 'one queue', [queues => "$queues queues", 0.7], [skew => 'two queues, 90/10'],
        [scheduled => "$scheduled more scheduled"]);
    tenants($peer);
}

sub rates {
    my %cases = @_;
    my %rates;
    for (1 .. $rounds) {
        push @{ $rates{$_} }, $cases{$_}->() for sort keys %cases;
    }
    return { map { $_ => median(@{ $rates{$_} }) } keys %rates };
}

sub compare {
    my ($rates, $base, $title, @cases) = @_;
    figure('queues', $title, 'tasks/s', 'cloaca', $rates->{$base});
    for (@cases) {
        my ($name, $case, $goal) = @$_;
        figure('queues', $case, 'tasks/s', 'cloaca', $rates->{$name});
        row('queues', $case, $title, $rates->{$base}, $rates->{$name}, $goal ? (sign => '>=', goal => $goal) : ());
    }
}

sub lifecycle {
    my ($peer, $queue, $fill) = @_;
    return throughput($peer, 'lifecycle', $clients, 1, arguments => ['-D', "queue=$queue"], $fill ? (fill => $fill) : ())->{rate};
}

# Tasks for each of these queues, ten at a time. A queue is served as often as it appears.
sub spread {
    my ($peer, $tasks, @names) = @_;
    my $turns = int($tasks / 10 / @names) + 2;
    statements($peer->{database}, "do \$\$ declare name text; begin for turn in 1 .. $turns loop
        foreach name in array '{@{[join ',', @names]}}'::text[] loop
            perform from cloaca.enqueue_many('bench', array_fill(jsonb '{\"n\": 1}', array[10]), queue => name);
        end loop; end loop; end \$\$", 'vacuum analyze', 'checkpoint');
}

sub scheduled {
    my ($peer, $tasks) = @_;
    my $many = sub { "select count(*) from generate_series(0, $_[0] - 1, 10000) done, cloaca.enqueue_many('bench',
        array_fill(jsonb '{\"n\": 1}', array[least(10000, $_[0] - done)]), queue => 'bench'$_[1])" };
    statements($peer->{database}, $many->($scheduled, ", delay => '1 day'"), $many->($tasks, ''), 'vacuum analyze', 'checkpoint');
}

# ------------------------------------------------------------------------------------------------------------------ tenants

sub tenants {
    my $peer = $_[0]->in_database('tenants');
    my @names = map { "t$_" } 1 .. $tenants;
    statements($peer->{database}, "do \$\$ begin for n in 1 .. $tenants loop
        perform from cloaca.create_tenant('t' || n, 't' || n); commit; end loop; end \$\$", 'vacuum analyze');
    my $rates = rates(one => sub { tenant_rate($peer, 't1') }, many => sub { tenant_rate($peer, @names) });
    compare($rates, 'one', 'one tenant', [many => "$tenants tenants", 0.7]);
    run('dropdb', 'tenants');
}

# The cycles go round the tenants, so each has its share of tasks; the queues are empty before and get more when they run dry. A
# connection learns of each tenant once (its tables, its cursor), so it is given the time to go round often.
sub tenant_rate {
    my ($peer, @names) = @_;
    my $seconds = 4 * $seconds;
    my $expected = 6000;
    for (1 .. 8) {
        my $each = int($expected * $seconds * 1.3 / @names) + 5;
        statements($peer->{database}, "do \$\$ declare name text; begin foreach name in array '{@{[join ',', @names]}}'::text[] loop
            execute format('truncate %I.cloaca_task', name);
            perform from cloaca.set_tenant(name);
            for done in 0 .. $each - 1 by 10000 loop
                perform from cloaca.enqueue_many('bench', array_fill(jsonb '{\"n\": 1}', array[least(10000, $each - done)]), queue => 'bench');
            end loop;
            commit; end loop; end \$\$", 'vacuum analyze', 'checkpoint');
        my $figures = $peer->drive($tenant_script, '-c', $clients, '-t', $seconds, '-D', 'tenant=' . join(',', @names));
        return $figures->{rate} unless $figures->{empty};
        $expected *= 2;
    }
    die "queues: the tenants run dry\n";
}

1;
