#!/usr/bin/perl
# The manual page and the completions know every command and option that the help knows.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Test::More;

my $top = "$FindBin::Bin/../..";
my $manual = slurp("$top/docs/cloaca.1") =~ s/\\-/-/gr =~ s/"//gr;

cloaca('--help');
my @commands = $stdout =~ /^  ([a-z][a-z-]*(?: [a-z-]+)?)  /mg;
cmp_ok(scalar @commands, '>=', 25, 'the help lists the commands');
for my $command (@commands) {
    like($manual, qr/^\.B (?:cloaca )?\Q$command\E\b/m, "the manual has $command");
    is(cloaca(split(/ /, $command), '--help'), 0, "cloaca $command --help");
    like($stdout, qr/^usage: cloaca \Q$command\E/, 'its usage');
    is_deeply([grep { length > 120 } split /\n/, $stdout], [], 'in lines that a screen has room for');
    my @missing = grep { $manual !~ /--\Q$_\E\b/ } $stdout =~ /^  (?:-\S|  )[, ] --([a-z-]+)/mg;
    is_deeply(\@missing, [], "the manual has every option of $command");
}
is(qx{man --warnings -l $top/docs/cloaca.1 2>&1 >/dev/null}, '', 'the manual page is well formed') if -x '/usr/bin/man';

sub completes {
    my ($line, @expected) = @_;
    my @words = map {"'$_'"} split / /, $line, -1;
    my $got = qx{bash -c '. "$top/src/cli/completion.bash"; COMP_WORDS=("\$@"); COMP_CWORD=\$((\$# - 1)); _cloaca; printf "%s\\n" "\${COMPREPLY[@]}"' x @words};
    my %got = map { $_ => 1 } split /\n/, $got;
    is_deeply([grep { !$got{$_} } @expected], [], "completion of \"$line\"");
}
completes('cloaca ', qw(enqueue work tenant queue --url));
completes('cloaca en', 'enqueue');
completes('cloaca queue ', qw(list set drop pause resume));
completes('cloaca queue set --l', '--lease');
completes('cloaca work --con', '--concurrency');
completes('cloaca call cl', 'claim');
completes('cloaca workflow ', qw(define start status graph list));
completes('cloaca workflow start x --w', '--wait');
completes('cloaca schedule ', qw(create list next));

done_testing;
