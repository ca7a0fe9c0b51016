#!/usr/bin/perl
# Makes the reference from the headers of the SQL files and the table of conditions: reference.pl FILE, or - for standard output.
use strict;
use warnings;
BEGIN { unshift @INC, ($0 =~ m{\A(.*)/} ? $1 : '.') . '/../sql' }
use parts;

my %noun = (
    core => 'Core', tenant => 'Tenants', queue => 'Queues', task => 'Tasks', dead_letter => 'Dead letters', maintenance => 'Maintenance',
);
my @public = grep { $_->{dialects} ne 'helper' } parts::manifest();
my $page = join "\n", opening(), (map { section($_) } nouns()), conditions();
@ARGV == 1 or die "usage: reference.pl FILE|-\n";
if ($ARGV[0] eq '-') {
    binmode STDOUT, ':encoding(UTF-8)';
    print $page;
} else {
    parts::write_file($ARGV[0], $page);
}

sub opening {
    return <<'END';
# Reference

Every function of cloaca, by noun. The functions are the same in psql (schema `cloaca`), through the library (`cloaca_call`) and, in
the SQLite module, as `cloaca_<name>`. Arguments have names everywhere; those with a default may be left out. Functions marked
*admin* may be executed by those roles only that `grant_admin` was called for. Functions marked *PostgreSQL* raise `not_supported` on
SQLite, where one file is one tenant. On PostgreSQL those marked *procedure* are called with `call`, outside of transactions, and what
they return are inout arguments, which are given last, as null, or left out. Every function of a queue or a task also raises what
[choosing the tenant](security.md) can raise: `unknown_tenant`, `tenant_outdated` and `insufficient_privilege`.

This page is made from the headers of the SQL files by `make docs`.
END
}

# The nouns in the order of the manifest.
sub nouns {
    my %seen;
    return grep { !$seen{$_}++ } map { $_->{noun} } @public;
}

sub section {
    my ($noun) = @_;
    my $title = $noun{$noun} // ucfirst $noun =~ s/_/ /gr;
    return "## $title\n", map { entry($_) } grep { $_->{noun} eq $noun } @public;
}

sub entry {
    my ($function) = @_;
    my $text = parts::read_file("$parts::sql/$function->{noun}/$function->{name}.postgres.sql");
    my $signature = parts::signature($text) or die "$function->{name}: no signature\n";
    my $header = parts::header($text);
    my @marks = ($function->{access} eq 'public' ? () : "*$function->{access}*", $function->{dialects} eq 'postgres' ? '*PostgreSQL*' : (),
        $signature->{procedure} ? '*procedure*' : ());
    my %about = map { $_->{name} => $_->{text} } @{ $header->{arguments} };

    return join "\n", "### $function->{name}\n", (@marks ? join(', ', @marks) . "\n" : ()), "```", declaration($signature), "```\n",
        "$header->{description}\n",
        (@{ $signature->{arguments} } ? arguments($signature, \%about) : ()),
        join("  \n", map { "**$_:** $header->{$_}" } grep { length $header->{$_} } qw(Returns Errors Writes)) . "\n";
}

# The signature on lines that fit a page.
sub declaration {
    my ($signature) = @_;
    my @arguments = map { "$_->{name} $_->{type}" . (defined $_->{default} ? " = $_->{default}" : '') } @{ $signature->{arguments} };
    my @result = ref $signature->{result} ? map { "$_->{name} $_->{type}" } @{ $signature->{result} } : $signature->{result};
    return wrap("$signature->{name}(", ')', @arguments) . "\n" . wrap('    -> ', '', @result);
}

sub wrap {
    my ($before, $after, @items) = @_;
    my ($text, $line) = ('', $before);
    for my $i (0 .. $#items) {
        my $item = $items[$i] . ($i < $#items ? ', ' : '');
        if (length($line . $item) > 100) {
            $text .= $line =~ s/ +$/\n/r;
            $line = ' ' x 8;
        }
        $line .= $item;
    }
    return $text . $line . $after;
}

sub arguments {
    my ($signature, $about) = @_;
    return "| argument | type | default | |\n|---|---|---|---|\n" . join '', map {
        my $default = defined $_->{default} ? "`$_->{default}`" : '';
        "| `$_->{name}` | $_->{type} | $default | " . ($about->{ $_->{name} } // '') =~ s/\|/\\|/gr . " |\n"
    } @{ $signature->{arguments} };
}

sub conditions {
    my %kind = (
        error => 'the call is wrong, or the state forbids it', retry => 'nothing was changed: the same call may succeed later',
        lost => 'the connection is gone; a commit under way may or may not have happened',
    );
    return "## Conditions\n\nWhat a call can fail with, the same from every entrance. SQLSTATEs beginning with ZC are cloaca's own.\n\n"
        . "| condition | SQLSTATE | message | |\n|---|---|---|---|\n"
        . join '', map { "| `$_->{name}` | $_->{sqlstate} | $_->{message} | $kind{$_->{kind}} |\n" } parts::conditions();
}
