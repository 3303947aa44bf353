"""PROXY headers of trusted balancers: who a client is, seen at the server's socket, in our log and in Received lines."""
import socket
import types

import pytest

import backend
import gatepost as library
import proc
from certificates import client_context
from wire import Wire, smtp_session

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENTS = {4: ("198.51.100.7", "203.0.113.1"), 6: ("2001:db8::7", "2001:db8:1::1")}
NO_HEADER = r"the connection of trusted 127\.0\.0\.1:{} does not begin with a PROXY header"


def packed(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def version_1(client, server, port=4711):
    return f"PROXY TCP{6 if ':' in client else 4} {client} {server} {port} 25\r\n".encode()


def version_2(client, server, port=4711, command=0x21, tlvs=b"\x03\0\x04\1\2\3\4\x20\0\x05\1\0\0\0\0"):
    rest = packed(client) + packed(server) + port.to_bytes(2, "big") + b"\0\x19" + tlvs
    return SIGNATURE + bytes([command, 0x21 if ":" in client else 0x11]) + len(rest).to_bytes(2, "big") + rest


HEADERS = {1: version_1, 2: version_2}
VERSION = pytest.mark.parametrize("version", HEADERS)
FAMILY = pytest.mark.parametrize("family", CLIENTS, ids=["inet", "inet6"])


def header_of(version, family=4, **more):
    return HEADERS[version](*CLIENTS[family], **more)


def opaque_script(wire, connection):
    connection.identity = backend.read_proxy_v2(wire, connection)
    backend.echo_script(wire, connection)


def version_1_script():
    def read_line(wire, connection):
        connection.line_1 = wire.read_until(b"\r\n")

    return backend.smtp_script(before_greeting=read_line)


@pytest.fixture(scope="module")
def site():
    """Every listener trusts 127.0.0.1, some a whole network; behind each is a scripted server that records."""
    folder = library.make_folder()
    scripts = {"smtp": backend.smtp_script(proxy=True), "pop3": backend.pop3_script(proxy=True),
               "opaque": opaque_script, "old": version_1_script()}
    sections = {f"backend {name}": {"address": f"unix:{folder / name}", "identity": "proxy-v2"} for name in scripts}
    sections["backend old"]["identity"] = "proxy-v1"
    sections |= {"listen smtp": {"trusted": "127.0.0.1"},
                 "listen smtp-alt": {"trusted": "192.0.2.0/24, 127.0.0.1", "detect": "no"},
                 "listen submission": {"trusted": "2001:db8::/32, 127.0.0.1/32", "backend": "old"},
                 "listen pop3": {"trusted": "127.0.0.0/8"}, "listen pop3s": {"trusted": "127.0.0.0/8"},
                 "listen remote": {"trusted": "127.0.0.1", "protocol": "opaque", "backend": "opaque",
                                   "detect_wait": "300ms"}}
    for name in ("smtp", "smtp-alt", "submission", "pop3", "pop3s", "remote"):
        sections[f"listen {name}"]["hints"] = "no"  # the claimed clients begin in every way
    servers = {name: backend.Backend(folder / name, script) for name, script in scripts.items()}
    try:
        with library.Gatepost(sections) as gate:
            yield types.SimpleNamespace(gate=gate, **servers)
    finally:
        for server in servers.values():
            server.close()
    assert [server.errors for server in servers.values()] == [[]] * len(servers)


def connect(gate, port, source="127.0.0.1"):
    return Wire.over(socket.create_connection(("127.0.0.1", gate.port(port)), 15, (source, 0)))


def own_port(wire):
    return wire.socket.getsockname()[1]


def told(server, client, port):
    """The connection on which the server was told of this client."""
    def matches(connection):
        return getattr(connection, "identity", (0, 0, 0))[1:3] == (client, port)

    proc.wait_until(lambda: any(map(matches, server.connections)), 15, f"{client} port {port} at the server")
    return next(filter(matches, server.connections))


def assert_logged(gate, client, port, words="", wire_port=None):
    host = f"[{client}]" if ":" in client else client
    text = f"client {host}:{port}, port {words}".replace("[", r"\[").replace("]", r"\]").replace(".", r"\.")
    line = gate.wait_for_log(text + ".*")[0]
    assert (f" through=127.0.0.1:{wire_port} " in line) == bool(wire_port), line


def mail(wire, kind="plain"):
    """A message until RCPT: by then the server has been told."""
    smtp_session(wire, client_context(), kind)
    wire.commands(("MAIL FROM:<a@example.org>", "250"), ("RCPT TO:<anna@gatepost.test>", "250"), ("QUIT", "221"))


def login(wire):
    wire.expect("+OK")
    wire.commands(("USER anna", "+OK"), ("PASS x", "+OK"), ("QUIT", "+OK"))


def echo(wire):
    wire.send(b"first")
    assert wire.read_exactly(5) == b"first"
    wire.shut_write()
    assert wire.read_all() == b"<end>"


# Name of the listener, TLS before the dialogue, the dialogue, the server.
PORTS = {
    "smtp": ("smtp", False, mail, "smtp"),
    "smtp starttls": ("smtp", False, lambda wire: mail(wire, "starttls"), "smtp"),
    "smtp tls": ("smtp", True, mail, "smtp"),
    "smtp no detection": ("smtp-alt", False, mail, "smtp"),
    "pop3": ("pop3", False, login, "pop3"),
    "pop3 tls": ("pop3", True, login, "pop3"),
    "pop3s": ("pop3s", True, login, "pop3"),
    "opaque": ("remote", False, echo, "opaque"),
    "opaque tls": ("remote", True, echo, "opaque"),
}
PORT = pytest.mark.parametrize("port", PORTS.values(), ids=PORTS)
numbers = iter(range(10000, 20000))  # each claimed client has a port number of its own


@PORT
@VERSION
@FAMILY
def test_rule_25_the_client_that_a_trusted_balancer_names_reaches_server_and_log(site, port, version, family):
    listener, tls, dialogue, server = port
    client, destination = CLIENTS[family]
    number = next(numbers)
    with connect(site.gate, listener) as wire:
        wire.send_raw(header_of(version, family, port=number))
        if tls:
            wire.start_tls(client_context())
        dialogue(wire)
        connection = told(getattr(site, server), client, number)
        assert packed(client) + packed(destination) in connection.proxy
        assert (0x20 in connection.identity[3]) == (tls or dialogue is PORTS["smtp starttls"][2])
        through = own_port(wire)
    assert_logged(site.gate, client, number, f"{listener} ", through)


@PORT
@VERSION
def test_rule_25_a_header_may_come_octet_by_octet(site, port, version):
    listener, tls, dialogue, server = port
    number = next(numbers)
    with connect(site.gate, listener) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in header_of(version, 6, port=number):
            wire.send_raw(bytes([octet]))
        if tls:
            wire.start_tls(client_context())
        dialogue(wire)
    told(getattr(site, server), CLIENTS[6][0], number)


@VERSION
@pytest.mark.parametrize("port", [port for port in PORTS.values() if port[1]],
                         ids=[name for name, port in PORTS.items() if port[1]])
def test_a_clienthello_in_the_header_s_segment_is_the_client_s(site, port, version):
    listener, _, dialogue, server = port
    number = next(numbers)
    with connect(site.gate, listener) as wire:
        hello = wire.begin_tls(client_context())
        wire.finish_tls(header_of(version, port=number) + hello)
        dialogue(wire)
    assert 0x20 in told(getattr(site, server), CLIENTS[4][0], number).identity[3]


@VERSION
def test_a_clienthello_whose_first_octet_comes_with_the_header_loses_nothing(site, version):
    number = next(numbers)
    with connect(site.gate, "pop3") as wire:
        hello = wire.begin_tls(client_context())
        wire.send_raw(header_of(version, port=number) + hello[:1])
        wire.finish_tls(hello[1:])
        login(wire)
    told(site.pop3, CLIENTS[4][0], number)


@VERSION
@pytest.mark.parametrize("listener", ["smtp", "smtp-alt"])
def test_commands_in_the_header_s_segment_are_answered_in_order(site, version, listener):
    number = next(numbers)
    with connect(site.gate, listener) as wire:
        wire.send_raw(header_of(version, port=number) + b"EHLO early.example\r\nNOOP\r\nMAIL FROM:<a@example.org>\r\n")
        for answer in ("220", "250", "250", "250"):
            wire.expect(answer)
        wire.command("QUIT", "221")
    assert b"EHLO early.example" in told(site.smtp, CLIENTS[4][0], number).lines


@VERSION
def test_a_command_in_the_header_s_segment_reaches_a_pop3_server(site, version):
    number = next(numbers)
    with connect(site.gate, "pop3") as wire:
        wire.send_raw(header_of(version, port=number) + b"USER anna\r\nPASS x\r\n")
        for _ in range(3):
            wire.expect("+OK")
    assert told(site.pop3, CLIENTS[4][0], number).lines[:2] == [b"USER anna", b"PASS x"]


@VERSION
def test_octets_in_the_header_s_segment_reach_an_opaque_server(site, version):
    number = next(numbers)
    with connect(site.gate, "remote") as wire:
        wire.send_raw(header_of(version, port=number) + bytes(range(256)) * 8)
        assert wire.read_exactly(2048) == bytes(range(256)) * 8
    told(site.opaque, CLIENTS[4][0], number)


@VERSION
@FAMILY
def test_rule_25_a_server_of_version_1_is_told_the_client_of_either_header(site, version, family):
    number = next(numbers)
    with connect(site.gate, "submission") as wire:
        wire.send_raw(header_of(version, family, port=number))
        mail(wire)
    line = version_1(*CLIENTS[family], number)
    assert [getattr(connection, "line_1", b"") for connection in site.old.connections].count(line) == 1


NO_CLIENT = {
    "UNKNOWN": b"PROXY UNKNOWN\r\n",
    "UNKNOWN with addresses": b"PROXY UNKNOWN 198.51.100.99 203.0.113.1 1 2\r\n",
    "LOCAL": SIGNATURE + b"\x20\0\0\0",
    "LOCAL with addresses": version_2("198.51.100.99", "203.0.113.1", command=0x20),
    "no family": SIGNATURE + b"\x21\0\0\0",
    "a UNIX socket": SIGNATURE + b"\x21\x31\0\xd8" + b"/run/x".ljust(108, b"\0") * 2,
}


@pytest.mark.parametrize("header", NO_CLIENT.values(), ids=NO_CLIENT)
def test_rule_25_a_header_that_names_nobody_leaves_the_balancer_s_own_address(site, header):
    with connect(site.gate, "smtp") as wire:
        wire.send_raw(header)
        number = own_port(wire)
        mail(wire)
    told(site.smtp, "127.0.0.1", number)
    assert_logged(site.gate, "127.0.0.1", number)


def garbage():
    good = version_2("198.51.100.66", "203.0.113.1")
    return {
        "a command": b"EHLO x\r\n",
        "an empty line": b"\r\nEHLO x\r\n",
        "a command that begins as a header does": b"PASS x\r\n",
        "an address that is none": b"PROXY TCP4 198.51.100.66 mail.example 1 2\r\nEHLO x\r\n",
        "IPv6 that is said to be IPv4": b"PROXY TCP4 ::1 ::1 1 2\r\nEHLO x\r\n",
        "LF alone": b"PROXY TCP4 198.51.100.66 203.0.113.1 1 2\nEHLO x\r\n",
        "a line without end": b"PROXY UNKNOWN " + b"x" * 200,
        "version 3": good[:12] + b"\x31" + good[13:],
        "a length that lies": good[:14] + b"\0\x05" + good[16:],
        "the longest length": good[:14] + b"\xff\xff" + good[16:],
    }


@pytest.mark.parametrize("octets", garbage().values(), ids=garbage())
@pytest.mark.parametrize("listener", ["smtp", "pop3s", "remote"])
def test_rule_25_a_trusted_connection_that_begins_with_anything_else_is_closed(site, listener, octets):
    accepted = site.opaque.accepted
    with connect(site.gate, listener) as wire:
        wire.send_raw(octets)
        assert wire.at_eof()
        site.gate.wait_for_log(f"port {listener} .*" + NO_HEADER.format(own_port(wire)))
    assert site.opaque.accepted == accepted
    assert "198.51.100.66" not in site.gate.log()


def test_rule_25_a_trusted_clienthello_without_a_header_is_closed(site):
    with connect(site.gate, "pop3s") as wire:
        wire.send_raw(wire.begin_tls(client_context()))
        wire._tls = None  # nothing is expected that a TLS engine could read
        assert wire.at_eof()
        site.gate.wait_for_log(NO_HEADER.format(own_port(wire)))


def test_rule_25_silence_and_half_headers_are_closed_in_time(site):
    wires = [connect(site.gate, listener) for listener in ("smtp", "pop3", "pop3s", "remote") for _ in range(2)]
    for wire in wires[::2]:
        wire.send_raw(version_2("198.51.100.66", "203.0.113.1")[:20])
    for wire in wires:
        assert wire.at_eof()
        site.gate.wait_for_log(f"trusted 127.0.0.1:{own_port(wire)} sends no PROXY header in time")
        wire.socket.close()


@pytest.mark.parametrize("octets", [b"", b"PROXY TCP4 198.51", SIGNATURE], ids=["nothing", "half a line", "half"])
def test_a_balancer_s_check_that_only_connects_is_no_fault(site, octets):
    with connect(site.gate, "smtp") as wire:
        wire.send_raw(octets)
        wire.shut_write()
        assert wire.at_eof()
        site.gate.wait_for_log(f"client 127.0.0.1:{own_port(wire)}, .*: closed before its PROXY header")
        assert f"trusted 127.0.0.1:{own_port(wire)}" not in site.gate.log()


def test_a_second_header_is_not_believed(site):
    number = next(numbers)
    with connect(site.gate, "smtp") as wire:
        wire.send_raw(header_of(1, port=number) + version_1("198.51.100.99", "203.0.113.1"))
        wire.expect("220")
        wire.expect("50")
        wire.commands(("EHLO x", "250"), ("MAIL FROM:<a@example.org>", "250"))
    told(site.smtp, CLIENTS[4][0], number)
    assert "198.51.100.99" not in site.gate.log()


# Nobody else

def test_rule_25_a_stranger_s_line_is_a_command_that_nobody_knows(site):
    with connect(site.gate, "smtp", "127.0.0.2") as wire:
        wire.send_raw(version_1("198.51.100.99", "203.0.113.1"))
        wire.expect("220")
        wire.expect("50")
        mail_from = (("EHLO x", "250"), ("MAIL FROM:<a@example.org>", "250"), ("QUIT", "221"))
        number = own_port(wire)
        wire.commands(*mail_from)
    told(site.smtp, "127.0.0.2", number)
    assert_logged(site.gate, "127.0.0.2", number)
    assert "198.51.100.99" not in site.gate.log()


def test_rule_25_a_stranger_s_binary_header_is_garbage(site):
    with connect(site.gate, "smtp", "127.0.0.2") as wire:
        wire.send_raw(version_2("198.51.100.99", "203.0.113.1"))
        wire.expect("220")
        wire.expect("5")
        number = own_port(wire)
    assert_logged(site.gate, "127.0.0.2", number)
    assert "198.51.100.99" not in site.gate.log()


def test_rule_25_a_stranger_s_header_is_no_clienthello(site):
    with connect(site.gate, "smtp-alt", "127.0.0.2") as wire:
        wire.expect("220")  # no detection: the greeting at once, and no header is waited for
        wire.send_raw(version_1("198.51.100.99", "203.0.113.1"))
        wire.expect("50")


@VERSION
def test_rule_25_a_stranger_s_header_reaches_an_opaque_server_as_any_octets_do(site, version):
    header = HEADERS[version]("198.51.100.99", "203.0.113.1")
    with connect(site.gate, "remote", "127.0.0.2") as wire:
        wire.send_raw(header)
        assert wire.read_exactly(len(header)) == header
        connection = told(site.opaque, "127.0.0.2", own_port(wire))
    assert not any(getattr(other, "identity", (0, 0))[1] == "198.51.100.99" for other in site.opaque.connections)
    assert connection.received == connection.proxy + header


@pytest.mark.skipif(not library.has_ipv6(), reason="no IPv6 here")
def test_rule_25_ipv6_is_a_stranger_where_only_ipv4_is_trusted(site):
    with Wire(site.gate.port("smtp"), host="::1") as wire:
        wire.send_raw(version_1("198.51.100.99", "203.0.113.1"))
        wire.expect("220")
        wire.expect("50")
        number = own_port(wire)
    assert_logged(site.gate, "::1", number)


# What else belongs to the address

def test_received_lines_and_the_log_of_the_embedded_server_name_the_claimed_client():
    with library.Gatepost({"listen smtp": {"trusted": "127.0.0.0/8"}}) as gate:
        for family in CLIENTS:
            with connect(gate, "smtp") as wire:
                wire.send_raw(header_of(2, family))
                smtp_session(wire, client_context(), "starttls")
                wire.commands(("MAIL FROM:<a@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"),
                              ("DATA", "354"), ("Subject: x\r\n\r\nx\r\n.", "250"), ("QUIT", "221"))
        received = b"".join(gate.messages())
        assert b"[198.51.100.7]" in received and b"[IPv6:2001:db8::7]" in received and b"127.0.0.1" not in received
        gate.wait_for_log(r"gatepost-smtpd: .* client 198\.51\.100\.7:4711 ")
        gate.wait_for_log(r"gatepost-smtpd: .* client \[2001:db8::7\]:4711 ")
        with connect(gate, "smtp") as wire:  # shutting down: said also while a header is awaited
            gate.process.terminate()
            assert wire.read_all().startswith(b"421 ")


@VERSION
def test_a_header_is_read_one_octet_at_a_time_and_tls_follows(version):
    with library.Gatepost({"listen pop3s": {"trusted": "127.0.0.1"}, "limits": {"read_size": "1"}}) as gate:
        with connect(gate, "pop3s") as wire:
            hello = wire.begin_tls(client_context())
            wire.finish_tls(header_of(version, 6) + hello)
            wire.expect("+OK")
            wire.commands((f"USER {library.USER}", "+OK"), (f"PASS {gate.password}", "+OK"), ("QUIT", "+OK"))
        gate.wait_for_log(r"gatepost-pop3d: .*\[2001:db8::7\]:4711")


def test_hints_are_kept_of_the_claimed_client_and_not_of_the_balancer():
    with library.Gatepost({"listen smtp": {"trusted": "127.0.0.1", "detect_wait": "60s"}}) as gate:
        for _ in range(5):
            with connect(gate, "smtp") as wire:
                wire.send_raw(version_1("198.51.100.7", "203.0.113.1") + b"QUIT\r\n")
                wire.expect("220")
                wire.expect("221")
        with connect(gate, "smtp") as other, connect(gate, "smtp") as known:
            other.send_raw(version_1("198.51.100.8", "203.0.113.1"))
            known.send_raw(version_1("198.51.100.7", "203.0.113.1"))
            known.expect("220")
            assert other.silent(0.5)
            # A hello that came before the greeting is served, whatever the hint says.
            with connect(gate, "smtp") as again:
                hello = again.begin_tls(client_context())
                again.finish_tls(version_1("198.51.100.7", "203.0.113.1") + hello)
                again.expect("220")
