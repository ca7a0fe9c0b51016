# Claim, then complete, in two transactions, as a worker does: how many tasks a second.
package Bench::Scenario::lifecycle;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;

my %single = (plain => 2, minimal => 1.5, 'graphile-worker' => 2, 'pg-boss' => 2);
my %goals = ('4/1' => \%single, '16/1' => \%single, '4/100' => { plain => 3, minimal => 1.8, 'graphile-worker' => 2.5, 'pg-boss' => 5 });

sub scenario {
    my ($peer_names) = @_;
    my @peers = Bench::Peer->all(@$peer_names);
    heading('lifecycle', 'tasks/s');
    for my $batch (@batches) {
        for my $clients (@clients) {
            my $rates = in_turn(\@peers, sub {
                my $figures = throughput($_[0], 'lifecycle', $clients, $batch);
                return $figures && $figures->{rate};
            });
            report(\@peers, $rates, $clients, $batch);
        }
    }
}

sub report {
    my ($peers, $rates, $clients, $batch) = @_;
    my $case = "batch $batch, $clients client" . ($clients == 1 ? '' : 's');
    for my $peer (@$peers) {
        my $name = $peer->{name};
        defined $rates->{$name} or next;
        figure('lifecycle', $case, 'tasks/s', $peer->{title}, $rates->{$name});
        next if $name eq 'cloaca';
        my $goal = $goals{"$clients/$batch"}{$name};
        row('lifecycle', $case, $peer->{title}, $rates->{$name}, $rates->{cloaca}, durable => $rates->{'cloaca-durable'},
            $goal ? (sign => '>=', goal => $goal) : ());
    }
}

1;
