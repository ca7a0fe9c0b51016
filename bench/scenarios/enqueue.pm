# New tasks: how many a second. "plain" is the bare insert into a table with the same columns and indexes.
package Bench::Scenario::enqueue;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;

my %goals = ('16/1' => 0.9, '1/100' => 0.9, '4/100' => 0.9, '16/100' => 0.9);

sub scenario {
    my ($peer_names) = @_;
    my @peers = grep { $_->{like} eq $_->{name} } Bench::Peer->all(@$peer_names);
    heading('enqueue', 'tasks/s');
    for my $batch (@batches) {
        for my $clients (@clients) {
            my $case = "batch $batch, $clients client" . ($clients == 1 ? '' : 's');
            my $rates = in_turn(\@peers, sub {
                my $figures = throughput($_[0], 'enqueue', $clients, $batch);
                return $figures && $figures->{rate};
            });
            for my $peer (grep { defined $rates->{ $_->{name} } } @peers) {
                figure('enqueue', $case, 'tasks/s', $peer->{title}, $rates->{ $peer->{name} });
                next if $peer->{name} eq 'cloaca';
                my $goal = $peer->{name} eq 'plain' ? $goals{"$clients/$batch"} : undef;
                row('enqueue', $case, $peer->{title}, $rates->{ $peer->{name} }, $rates->{cloaca},
                    $goal ? (sign => '>=', goal => $goal) : ());
            }
        }
    }
}

1;
