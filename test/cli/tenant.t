#!/usr/bin/perl
# The tenant commands: on PostgreSQL they make working tenants, on SQLite they say that a file is a tenant.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cli;
use Test::More;

on_backends(sub {
    return on_sqlite() if $backend eq 'sqlite';
    my $admin = $ENV{DATABASE_URL};
    my ($name) = $admin =~ /cli_(\d+_\d+)/;
    my ($schema, $user) = ("s_$name", "u_$name");

    my $made = row('tenant', 'create', $schema, $user);
    is_deeply([@$made{qw(schema_name username)}], [$schema, $user], 'tenant create');
    like($made->{password}, qr/^[A-Za-z0-9]{32}$/, 'a generated password');
    $ENV{DATABASE_URL} = $made->{connection_string};
    is(row('enqueue', 'n')->{task}, 1, 'the connection string works as it is');
    is(row('work', '--once', '--', 'true')->{completed}, 1, 'and so does a worker');
    fails_with(1, qr/^cloaca: permission denied/, 'tenant', 'list');
    fails_with(1, qr/^cloaca: permission denied/, 'tenant', 'drop', $schema);

    $ENV{DATABASE_URL} = $admin;
    fails_with(1, qr/^cloaca: name is taken/, 'tenant', 'create', $schema, 'another');
    fails_with(1, qr/^cloaca: invalid name/, 'tenant', 'create', 'pg_x', 'another');
    my $rotated = row('tenant', 'rotate-password', $schema);
    isnt($rotated->{password}, $made->{password}, 'tenant rotate-password');
    fails_with(1, qr/^cloaca: authentication failed/, '--url', $made->{connection_string}, 'stats');
    unlike($stderr, qr/$made->{password}/, 'no password in the error');
    is(cloaca('--url', $rotated->{connection_string}, 'stats'), 0, 'the new one works');
    my $own = row(\"Own Password 1\nrest\n", 'tenant', 'rotate-password', $schema, '--password-file', '-');
    is($own->{password}, 'Own Password 1', 'a password from stdin');
    is(cloaca('--url', $own->{connection_string}, 'stats'), 0, 'works');
    fails_with(1, qr/cannot read/, 'tenant', 'rotate-password', $schema, '--password-file', '/nonexistent');

    is_deeply([map { $_->{schema_name} } grep { $_->{schema_name} eq $schema } @{ rows('tenant', 'list') }], [$schema], 'tenant list');
    is(row('tenant', 'status', $schema)->{username}, $user, 'tenant status');
    is(cloaca('tenant', 'migrate'), 0, 'tenant migrate');
    is(cloaca('tenant', 'harden'), 0, 'tenant harden');
    fails_with(3, qr/^cloaca: unknown tenant/, 'tenant', 'status', 'nonsense');
    wait_until('its sessions have ended', sub { qx{psql -qXAtc "select count(*) from pg_stat_activity where usename = '$user'"} == 0 });
    is(cloaca('tenant', 'drop', $schema), 0, 'tenant drop');
    is($stdout, "null\n", 'prints null');
    fails_with(3, qr/^cloaca: unknown tenant/, 'tenant', 'drop', $schema);
});

sub on_sqlite {
    fails_with(1, qr/^cloaca: not supported.*\nhint: /, 'tenant', 'create', 's', 'u');
    fails_with(1, qr/^cloaca: not supported/, 'tenant', 'list');
}

done_testing;
