# What came out: the table of ratios, the same as CSV, and every single figure for the plots.
package Bench::Report;
use strict;
use warnings;
use Bench::Server;
use Exporter qw(import);
our @EXPORT = qw(row at_most figure notice heading);

our (@rows, @figures, @notices);
my $heading = '';

# A line of the table: scenario, case, what it is measured against, the figure of that, that of cloaca, and where there is a goal for
# their ratio, its sign and value; and the figure of cloaca with durable claims, where that differs.
sub row {
    my ($scenario, $case, $against, $base, $cloaca, %more) = @_;
    my $ratio = $base ? $cloaca / $base : 0;
    my $met = !$more{sign} ? '' : ($more{sign} eq '<=' ? $ratio <= $more{goal} : $ratio >= $more{goal}) ? 'met' : 'MISSED';
    my $durable = $more{durable} && $base ? sprintf '%.2f', $more{durable} / $base : '';
    add({ scenario => $scenario, case => $case, against => $against, base => $base, cloaca => $cloaca, durable => $durable,
        ratio => $base ? sprintf('%.2f', $ratio) : '', goal => $more{sign} ? "$more{sign} $more{goal}" : '', met => $met });
}

# A line whose goal is no ratio: cloaca's figure is at most so much.
sub at_most {
    my ($scenario, $case, $limit, $unit, $cloaca) = @_;
    add({ scenario => $scenario, case => $case, against => "the goal, $unit", base => $limit, cloaca => $cloaca, durable => '',
        ratio => $limit ? sprintf('%.2f', $cloaca / $limit) : '', goal => "<= $limit $unit", met => $cloaca <= $limit ? 'met' : 'MISSED' });
}

sub add {
    my ($row) = @_;
    push @rows, $row;
    printf "  %-36s %-44s %11s %11s %7s %8s  %-9s %s\n", $row->{case}, $row->{against}, short($row->{base}), short($row->{cloaca}),
        @$row{qw(ratio durable goal met)};
}

# Any figure, for the plots: one number of one system in a case.
sub figure {
    my ($scenario, $case, $measure, $system, $value) = @_;
    push @figures, [$scenario, $case, $measure, $system, $value];
}

# Said among the rows, and again at the end.
sub notice {
    my ($text) = @_;
    push @notices, $text;
    print "  note: $text\n";
}

sub heading {
    my ($scenario, $unit) = @_;
    $heading = $scenario;
    printf "\n%s (%s)\n  %-36s %-44s %11s %11s %7s %8s  %s\n", $scenario, $unit, qw(case against base cloaca ratio durable goal);
}

sub short {
    my ($value) = @_;
    return sprintf $value >= 100 || $value == 0 ? '%.0f' : $value >= 1 ? '%.1f' : '%.3f', $value;
}

sub save {
    my ($folder) = @_;
    my @columns = qw(scenario case against base cloaca ratio durable goal met);
    write_file("$folder/results.csv", csv(\@columns, map { [@$_{@columns}] } @rows));
    write_file("$folder/figures.csv", csv([qw(scenario case measure system value)], @figures));
    return unless @rows;
    my $missed = grep { $_->{met} eq 'MISSED' } @rows;
    printf "\n%d of %d goals met. build/bench/results.csv has this table, build/bench/figures.csv every figure.\n",
        (grep { $_->{goal} } @rows) - $missed, scalar grep { $_->{goal} } @rows;
    print "note: $_\n" for @notices;
}

sub csv {
    return join '', map { join(',', map { /[",]/ ? '"' . s/"/""/gr . '"' : $_ } @$_) . "\n" } @_;
}

1;
