/* Tests of conf/settings_check_listen.c: what is said about balancers and routes of [listen]
 * sections. What is said about ports stands in test_settings.c. */
#include "tests/unit/conf/settings_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* A port of its own for each row, and two backends that a route may lead to. */
#define PORT                                                                                       \
    "[backend pop3]\naddress = unix:/p\n[listen x]\nport = 1110\nprotocol = pop3\nrequire_tls = "  \
    "auth\nbackend = pop3\n"
#define BACKENDS "[backend north]\naddress = n.example:110\n[backend south]\naddress = unix:/s\n"
#define ROUTE    "route = user:cdb:/etc/users.cdb\n"
#define UNUSED                                                                                     \
    "warning: [backend north] stands behind no port < [backend north]\n"                           \
    "warning: [backend south] stands behind no port < [backend south]\n"
#define FORM(item)                                                                                 \
    "error: trusted: " item " is no address or network such as 192.0.2.1, 192.0.2.0/24 or "        \
    "2001:db8::/32 < trusted = " item "\n"

static const struct words_row rows[] = {
    /* trusted */
    { "a login on the port of other servers",
      "[backend smtp]\naddress = unix:/s\n[listen mx]\nport = 25\nbind = 192.0.2.1\nbackend = "
      "smtp\nrequire_auth = yes\nrequire_tls = "
      "auth\n[gatepost]\nbind = 127.0.0.1\n",
      "warning: [listen mx] takes mail only after a login, on port 25: mail from other servers is "
      "refused < require_auth = yes\n" },
    { "a login on another port",
      "[backend smtp]\naddress = unix:/s\n[listen mx]\nport = 2525\nbackend = smtp\nrequire_auth = "
      "yes\nrequire_tls = auth\n",
      "" },
    { "a login on port 25 that is not opened",
      "[backend smtp]\naddress = unix:/s\n[listen mx]\nport = 25\nenabled = no\nbackend = "
      "smtp\nrequire_auth = yes\n",
      "" },
    { "addresses and networks",
      PORT "trusted = 192.0.2.7, 2001:db8::7, 192.0.2.0/24, 2001:db8::/32,"
           "\n  127.0.0.0/8, 10.0.0.0/8\n",
      "" },
    { "a network of one", PORT "trusted = 192.0.2.7/32, ::1/128\n", "" },
    { "an opaque port",
      "[backend remote]\naddress = unix:/r\n[listen remote]\ntrusted = 192.0.2.7\n", "" },
    { "a name", PORT "trusted = balancer.example.org\n", FORM("balancer.example.org") },
    { "an address with a port", PORT "trusted = 192.0.2.7:1110\n", FORM("192.0.2.7:1110") },
    { "an address in brackets", PORT "trusted = [2001:db8::7]\n", FORM("[2001:db8::7]") },
    { "a mask", PORT "trusted = 192.0.2.0/255.255.255.0\n", FORM("192.0.2.0/255.255.255.0") },
    { "a prefix that is too long", PORT "trusted = 192.0.2.0/33\n", FORM("192.0.2.0/33") },
    { "no prefix behind the slash", PORT "trusted = 192.0.2.0/\n", FORM("192.0.2.0/") },
    { "a socket", PORT "trusted = unix:/run/balancer\n", FORM("unix:/run/balancer") },
    { "a path", PORT "trusted = /24\n", FORM("/24") },
    { "no comma", PORT "trusted = 192.0.2.1 192.0.2.2\n",
      "error: the items of a list are separated by commas < trusted = 192.0.2.1 192.0.2.2\n" },
    { "bits behind the prefix", PORT "trusted = 192.0.2.0/24, 192.0.2.17/28\n",
      "error: trusted: 192.0.2.17/28 has bits set behind its prefix: the network is 192.0.2.16/28 "
      "< trusted = 192.0.2.0/24, 192.0.2.17/28\n" },
    { "bits behind the prefix of IPv6", PORT "trusted = 2001:db8::1/64\n",
      "error: trusted: 2001:db8::1/64 has bits set behind its prefix: the network is "
      "2001:db8::/64 < trusted = 2001:db8::1/64\n" },
    { "an address with a prefix of zero", PORT "trusted = 192.0.2.1/0\n",
      "error: trusted: 192.0.2.1/0 has bits set behind its prefix: the network is 0.0.0.0/0 < "
      "trusted = 192.0.2.1/0\n" },
    { "everybody", PORT "trusted = 0.0.0.0/0, ::/0\n",
      "warning: trusted: 0.0.0.0/0 lets anybody claim any address < trusted = 0.0.0.0/0, ::/0\n"
      "warning: trusted: ::/0 lets anybody claim any address < trusted = 0.0.0.0/0, ::/0\n" },
    { "a port that is not opened", PORT "enabled = no\ntrusted = nonsense\n", "" },
    /* routes */
    { "a route", PORT ROUTE "route_backends = north, south\n" BACKENDS, "" },
    { "a route with a default",
      PORT ROUTE "route_backends = north\ndefault_backend = south\n" BACKENDS, "" },
    { "a route that leads to the port's own backend too",
      PORT ROUTE "route_backends = pop3, north, south\ndefault_backend = pop3\n" BACKENDS, "" },
    { "a route to the embedded server and to another",
      PORT ROUTE "route_backends = e\ndefault_backend = e\n[backend e]\naddress = embedded\n", "" },
    { "a route on an SMTP port",
      "[backend smtp]\naddress = unix:/s\n[listen y]\nport = 588\nbackend = smtp\nrequire_tls = "
      "auth\n" ROUTE
      "route_backends = north\n[backend north]\naddress = n.example:25\nidentity = xclient\n",
      "" },
    { "two ports with one route",
      PORT ROUTE "route_backends = north, south\n[listen y]\nport = 1111\nprotocol = "
                 "pop3\nrequire_tls = auth\nbackend = north\n" ROUTE
                 "route_backends = south\n" BACKENDS,
      "" },
    { "a route of another kind",
      PORT "route = user:hash:/etc/users\nroute_backends = north, "
           "south\n" BACKENDS,
      "error: route must be user:cdb:/path; \"user:hash:/etc/users\" does not begin with user:cdb: "
      "< route = user:hash:/etc/users\n" },
    { "a route that is a path",
      PORT "route = /etc/users.cdb\nroute_backends = north, "
           "south\n" BACKENDS,
      "error: route must be user:cdb:/path; \"/etc/users.cdb\" does not begin with user:cdb: < "
      "route = /etc/users.cdb\n" },
    { "a route without a whole path",
      PORT "route = user:cdb:users.cdb\nroute_backends = north, "
           "south\n" BACKENDS,
      "error: route must be user:cdb:/path; \"user:cdb:users.cdb\" needs an absolute path behind "
      "user:cdb: < route = user:cdb:users.cdb\n" },
    { "a route to a folder",
      PORT "route = user:cdb:/etc/\nroute_backends = north, south\n" BACKENDS,
      "error: route must be user:cdb:/path; \"user:cdb:/etc/\" names a folder, not a file < route "
      "= user:cdb:/etc/\n" },
    { "a route without backends", PORT ROUTE,
      "error: [listen x] has a route, but no route_backends: the [backend] sections that the map "
      "may name < route = user:cdb:/etc/users.cdb\n" },
    { "a route with nothing but a default",
      PORT ROUTE "default_backend = north\n[backend north]\naddress = n.example:110\n",
      "error: [listen x] has a route, but no route_backends: the [backend] sections that the map "
      "may name < route = user:cdb:/etc/users.cdb\n" },
    { "route_backends without a route", PORT "route_backends = north, south\n" BACKENDS,
      "warning: route_backends has no effect: [listen x] has no route < route_backends = north, "
      "south\n" UNUSED },
    { "default_backend without a route", PORT "default_backend = pop3\n",
      "warning: default_backend has no effect: [listen x] has no route < default_backend = "
      "pop3\n" },
    { "a route to no section", PORT ROUTE "route_backends = north, sout\n" BACKENDS,
      "error: there is no section [backend sout]; did you mean \"south\"? < route_backends = "
      "north, "
      "sout\n"
      "warning: [backend south] stands behind no port < [backend south]\n" },
    { "no section, and no route either", PORT "route_backends = nowhere\n",
      "error: there is no section [backend nowhere] < route_backends = nowhere\n"
      "warning: route_backends has no effect: [listen x] has no route < route_backends = "
      "nowhere\n" },
    { "a default that is no section",
      PORT ROUTE "route_backends = north, south\ndefault_backend = est\n" BACKENDS,
      "error: there is no section [backend est] < default_backend = est\n" },
    { "a route to a backend without an address",
      PORT ROUTE "route_backends = north, south, west\n[backend west]\n" BACKENDS,
      "error: route_backends: [backend west] has no address < route_backends = north, south, "
      "west\n" },
    { "a default without an address",
      PORT ROUTE "route_backends = north, south\ndefault_backend = smtp\n" BACKENDS,
      "error: default_backend: [backend smtp] has no address < default_backend = smtp\n" },
    { "a route of a port whose own backend has no address",
      "[backend smtp]\naddress = unix:/s\n[listen y]\nport = 1111\nprotocol = pop3\nbackend = "
      "pop3\n" ROUTE "route_backends = north\n[backend "
      "north]\naddress = n.example:110\n",
      "warning: [listen y] has a route and is not opened: [backend pop3] has no address < route "
      "= user:cdb:/etc/users.cdb\n"
      "warning: [backend north] stands behind no port < [backend north]\n" },
    { "a route of a remote port",
      "[backend remote]\naddress = unix:/r\n[listen remote]\n" ROUTE
      "route_backends = north\n[backend north]\naddress = n.example:110\n",
      "error: [listen remote] is remote: no user is known by whom a route could go < route = "
      "user:cdb:/etc/users.cdb\n" },
    { "a route to a server of another protocol",
      PORT ROUTE
      "route_backends = north, south, smtp\n[backend smtp]\naddress = unix:/s\n" BACKENDS,
      "error: [backend smtp] stands behind both smtp and pop3 ports: [listen smtp] and [listen x] "
      "< "
      "address = unix:/s\n" },
    { "a default of another protocol",
      PORT ROUTE "route_backends = north, south\ndefault_backend = smtp\n[backend smtp]\naddress = "
                 "embedded\n" BACKENDS,
      "error: [backend smtp] stands behind both smtp and pop3 ports: [listen smtp] and [listen x] "
      "< "
      "address = embedded\n" },
    { "a route to a server that tells itself by XCLIENT, on a POP3 port",
      PORT ROUTE "route_backends = north\n[backend north]\naddress = n.example:110\nidentity = "
                 "xclient\n",
      "error: identity = xclient: XCLIENT is a command of SMTP, and [listen x] in front of "
      "[backend "
      "north] is a pop3 port; proxy-v1 and proxy-v2 go everywhere < identity = xclient\n" },
    { "a route to an APOP server",
      PORT ROUTE "route_backends = north, south\n" BACKENDS "apop = yes\n",
      "error: route_backends: [backend south] has apop = yes: its banner is needed before the user "
      "is known, by whom the route goes < route_backends = north, south\n" },
    { "a default that is an APOP server",
      PORT ROUTE "route_backends = north\ndefault_backend = south\n" BACKENDS "apop = yes\n",
      "error: default_backend: [backend south] has apop = yes: its banner is needed before the "
      "user "
      "is known, by whom the route goes < default_backend = south\n" },
    { "a route of a port whose own backend is an APOP server",
      PORT ROUTE "route_backends = north, south\n" BACKENDS "[listen pop3s]\nenabled = no\n[listen "
                 "y]\nport = 1111\nprotocol = pop3\nbackend = a\nrequire_tls = auth\n" ROUTE
                 "route_backends = north\n[backend a]\naddress = unix:/a\napop = yes\n",
      "error: [listen y] has a route, and [backend a] has apop = yes: its banner is needed before "
      "the user is known < route = user:cdb:/etc/users.cdb\n" },
    { "a route to a server that a route of its users orders again",
      PORT ROUTE "route_backends = north\n[backend north]\naddress = n.example:110\npolicy = "
                 "hash-user\n",
      "" },
    { "a bad route of a port that is not opened",
      PORT "enabled = no\nroute = nonsense\nroute_backends = nowhere\n", "" },
};

static void balancers_and_routes_of_a_port_are_judged_in_words(void **state)
{
    bool good = true;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        good &= words_row_holds(&rows[i]);
    assert_true(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balancers_and_routes_of_a_port_are_judged_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
