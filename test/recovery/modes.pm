# A test that has to hold in several modes of the server: it runs itself again under test/cluster for each of them.
package modes;
use strict;
use warnings;
use Test::More;
use recovery;

# Pairs of a name and the options of test/cluster. In each run modes::name() is the name; what it reports is reported as ours.
sub under_clusters {
    my @modes = @_;
    return if $ENV{CLOACA_PGDATA};
    recovery::make('all');
    while (my ($name, $options) = splice @modes, 0, 2) {
        local $ENV{CLOACA_TEST_MODE} = $name;
        my $pid = open my $run, '-|', 'test/cluster', @$options, '--', $^X, $0 or die "test/cluster: $!\n";
        local $SIG{ALRM} = sub { kill 'KILL', $pid };
        alarm $recovery::longest;
        my $count = 0;
        while (<$run>) {
            if (/^(not )?ok \d+(?: - (.*))?$/) {
                local $Test::Builder::Level = $Test::Builder::Level + 1;
                ok(!$1, "$name: " . ($2 // ''));
                $count++;
            } elsif (/^# (.*)/) {
                note($1);
            }
        }
        ok(close($run) && $count > 0, "$name: the run ends well");
    }
    done_testing();
    exit(Test::More->builder->is_passing ? 0 : 1);
}

sub name {
    return $ENV{CLOACA_TEST_MODE};
}

1;
