#!/usr/bin/perl
# The C code: its style, and what two compilers and two analysers have to say about it. Quiet is right.
use strict;
use warnings;
use Test::More;

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
chomp(my ($server, $include) = map { scalar `$pg_config --$_` } qw(includedir-server includedir));
my ($version) = do { local @ARGV = 'cloaca.control'; map { /^default_version = '(.*)'/ } <> };

# Other people's headers are -isystem: only ours are judged.
my @client = ('-std=c11', "-DCLOACA_VERSION=\"$version\"", qw(-Ibuild -Isrc -Isrc/client), "-isystem$include");
my @extension = ('-std=gnu11', '-D_GNU_SOURCE', "-DCLOACA_VERSION=\"$version\"", qw(-Ibuild -Isrc -Isrc/extension), "-isystem$server");
my %flags;
$flags{$_} = \@client for grep { !m{^src/extension/} } glob 'src/*/*.c test/client/*.c test/conformance/*.c test/recovery/*.c bench/*.c';
$flags{$_} = \@extension for glob 'src/extension/*.c';
my @sources = sort keys %flags;
my @headers = grep { !/^build/ } glob 'src/*/*.h test/client/*.h';

quiet('clang-format', 'clang-format', '--dry-run', '-Werror', @sources, @headers);
for my $compiler ('gcc', 'clang') {
    all_quiet(map { ["$compiler $_", $compiler, '-fsyntax-only', qw(-O2 -Wall -Wextra -Wstrict-prototypes -Werror), pedantry($_),
        @{ $flags{$_} }, $_] } @sources);
}
for my $compiler ('g++', 'clang++') {
    quiet("$compiler, the public header", $compiler, qw(-std=c++11 -fsyntax-only -pedantic -Wall -Wextra -Werror -Isrc/client),
        'test/client/header.cc');
}
quiet('cppcheck', 'cppcheck', qw(--quiet -j2 --std=c11 --inline-suppr --error-exitcode=1), '--enable=warning,performance,portability',
    qw(--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches), qw(-Ibuild -Isrc -Isrc/client), @sources);
all_quiet(map { ["clang-tidy $_", 'clang-tidy', '--quiet', $_, '--', @{ $flags{$_} }] } @sources);
done_testing();

# PostgreSQL's callbacks have parameters that not every one uses.
sub pedantry {
    my ($source) = @_;
    return $source =~ m{^src/extension/} ? '-Wno-unused-parameter' : ();
}

# Tests that pass when their commands succeed, and show what they say otherwise. As many run at a time as there are processors.
sub all_quiet {
    my @waiting = @_;
    my @running;

    chomp(my $processors = `nproc` || 1);
    while (@waiting || @running) {
        while (@waiting && @running < $processors) {
            my ($name, @command) = @{ shift @waiting };
            open my $pipe, '-|', 'sh', '-c', '"$0" "$@" 2>&1', @command or die $!;
            push @running, [$name, $pipe];
        }
        my ($name, $pipe) = @{ shift @running };
        my @said = <$pipe>;
        ok(close($pipe), $name) or diag(@said);
    }
}

sub quiet {
    all_quiet([@_]);
}
