# The library on SQLite against the bare statements that do the same (bench/sqlite.c).
package Bench::Scenario::sqlite;
use strict;
use warnings;
use Bench::Measure;
use Bench::Report;
use Bench::Server;

sub scenario {
    heading('sqlite', 'tasks/s');
    run('make', '-s', '-C', 'bench', 'sqlite');
    for (split /\n/, capture("$ENV{BENCH_BUILD}/sqlite", $seconds, $rounds)) {
        my ($kind, $case, $bare, $cloaca) = split /\t/;
        $kind =~ s/^SQLite |, tasks.*//g;
        figure('sqlite', "$kind, $case", 'tasks/s', @$_) for ['bare statements', $bare], ['cloaca', $cloaca];
        row('sqlite', "$kind, $case", 'bare statements', $bare, $cloaca, $kind eq 'lifecycle' ? (sign => '>=', goal => 0.7) : ());
    }
}

1;
