"""Which server a user is at: logins that the proxy reads and replays (rules 5, 13, 22; P2, P7), and maps of users."""
import base64
import contextlib
import os
import subprocess

import pytest

import gatepost as library
import clients
import proc
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

USERNAME, PASSWORD = b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6"
SECRET = "open sesame"
QUICK = {"gatepost": {"log_level": "debug"},
         **{f"listen {port}": {"hints": "no", "detect_wait": "50ms"} for port in ("smtp", "submission", "pop3")}}
MAIL = b"MAIL FROM:<bert@example.org>"


def base64_of(*parts):
    return base64.b64encode("\0".join(parts).encode())


def plain(user, password=SECRET, authzid=""):
    return base64_of(authzid, user, password)


def asks(*steps):
    """AUTH of a scripted server: a challenge for each step but the last, which is its reply."""
    def answer(wire, connection, _):
        connection.answers = []
        for challenge in steps[:-1]:
            wire.send(challenge + b"\r\n")
            connection.answers.append(wire.line())
        return steps[-1]
    return answer


def taking(*users):
    """AUTH of a scripted SMTP server that knows these users, by whatever mechanism."""
    def answer(wire, connection, line):
        words = line.split()
        if words[1].upper() == b"PLAIN":
            if len(words) < 3:
                wire.send(b"334 \r\n")
                words.append(wire.line())
            user = base64.b64decode(words[2]).split(b"\0")[1]
        else:
            wire.send(USERNAME + b"\r\n")
            user = base64.b64decode(wire.line())
            wire.send(PASSWORD + b"\r\n")
            wire.line()
        return b"235 2.7.0 Welcome" if user.decode() in users else b"535 5.7.8 No"
    return answer


def has_login(connection):
    return any(line[:4].upper() in (b"AUTH", b"PASS", b"MAIL") and b"<>" not in line for line in connection.lines)


def ours(backend):
    """Connections that carry a client, not the proxy's own learning."""
    return [one for one in backend.connections if has_login(one)]


@pytest.fixture()
def folder():
    return library.make_folder("gatepost-r-")


@contextlib.contextmanager
def reading(folder, script, protocol="smtp", **over):
    """One server behind a port where logins are read, because one of several addresses is chosen by the user."""
    path = folder / f"{protocol}.sock"
    sections = {f"backend {protocol}": {"address": f"unix:{path}", "policy": "hash-user"}, **QUICK}
    with Backend(path, script) as server, library.Gatepost(library.overlay(sections, over)) as gate:
        yield gate, server


# the replay

REPLAYS = [  # what the client says and hears; what the server asks, and hears
    ("PLAIN with an initial response", [(b"AUTH PLAIN " + plain("joe"), b"235")], [], []),
    ("PLAIN", [(b"AUTH PLAIN", b"334 "), (plain("joe"), b"235")], [b"334 "], [plain("joe")]),
    ("PLAIN in the name of another", [(b"auth plain", b"334 "), (plain("joe", authzid="ann"), b"235")], [b"334 Z28="],
     [plain("joe", authzid="ann")]),
    ("LOGIN", [(b"AUTH LOGIN", USERNAME), (b"am9l", PASSWORD), (b"cGFzcw==", b"235")],
     [b"334 VXNlciBOYW1lAA==", b"334 UGFzc3dvcmQA"], [b"am9l", b"cGFzcw=="]),
    ("LOGIN with an initial response", [(b"AUTH LOGIN am9l", PASSWORD), (b"cGFzcw==", b"235")], [PASSWORD],
     [b"cGFzcw=="]),
    ("LOGIN with an initial response that the server does not look at",
     [(b"AUTH LOGIN am9l", PASSWORD), (b"cGFzcw==", b"235")], [USERNAME, PASSWORD], [b"am9l", b"cGFzcw=="]),
]


@pytest.mark.parametrize("dialogue, asked, heard", [row[1:] for row in REPLAYS], ids=[row[0] for row in REPLAYS])
def test_rule_13_a_login_that_was_read_is_replayed_line_by_line(folder, dialogue, asked, heard):
    script = smtp_script(answers={b"AUTH": asks(*asked, b"235 2.7.0 Welcome")})
    with reading(folder, script) as (gate, server):
        for kind in ("plain", "starttls", "implicit"):
            with Wire(gate.port("submission")) as wire:
                smtp_session(wire, client_context(), kind).commands(*dialogue)
                wire.commands((MAIL, "250"), ("RSET", "250"))
                wire.quit()
        for connection in ours(server):
            connection.wait_done()
            assert connection.answers == heard
            assert connection.lines == [b"EHLO me.example", dialogue[0][0], *heard, MAIL, b"RSET", b"QUIT"]
        assert len(ours(server)) == 3
        gate.wait_for_log("user=joe backend=smtp", count=3)


@pytest.mark.parametrize("pieces", ["at once", "bytewise"])
def test_rule_15_what_stands_behind_a_login_waits_for_its_end(folder, pieces):
    script = smtp_script(answers={b"AUTH": asks(USERNAME, PASSWORD, b"235 2.7.0 Welcome")})
    said = [b"AUTH LOGIN", b"am9l", b"cGFzcw==", MAIL, b"RCPT TO:<anna@gatepost.test>", b"QUIT"]
    with reading(folder, script) as (gate, server):
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire)
            send = wire.send if pieces == "at once" else wire.send_bytewise
            send(b"\r\n".join(said) + b"\r\n")
            for reply in (USERNAME, PASSWORD, "235", "250", "250", "221"):
                wire.expect(reply)
        (connection,) = ours(server)
        assert connection.wait_done().lines == [b"EHLO me.example", *said]


@pytest.mark.parametrize("steps", [(b"504 5.5.4 not here",), (b"535 5.7.8 no",), (USERNAME, b"535 5.7.8 no"),
                                   (b"535-5.7.8 no\r\n535 5.7.8 really",), (USERNAME, b"454 4.7.0 later")])
def test_p7_a_password_that_the_server_does_not_ask_for_is_never_sent(folder, steps):
    with reading(folder, smtp_script(answers={b"AUTH": asks(*steps)})) as (gate, server):
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire)
            wire.commands(("AUTH LOGIN", USERNAME), (base64_of("joe"), PASSWORD))
            wire.send(base64_of(SECRET) + b"\r\nNOOP\r\n")  # what stands behind it is a command, and stays one
            wire.expect(steps[-1][:3])
            wire.expect("250")
            wire.quit()
        (connection,) = ours(server)
        assert connection.wait_done().lines[-2:] == [b"NOOP", b"QUIT"]
        assert base64_of(SECRET) not in server.received
        assert SECRET not in gate.log() and base64_of(SECRET).decode() not in gate.log()


def test_rule_13_a_challenge_more_than_was_answered_goes_to_the_client(folder):
    with reading(folder, smtp_script(answers={b"AUTH": asks(b"334 ", b"334 bW9yZQ==", b"235 ok")})) as (gate, server):
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire)
            wire.commands(("AUTH PLAIN", "334 "), (plain("joe"), "334 bW9yZQ=="), ("eWVz", "235"))
            wire.quit()
        assert ours(server)[0].wait_done().answers == [plain("joe"), b"eWVz"]


def test_rule_13_a_server_that_goes_in_the_middle_of_a_replay_is_told(folder):
    def hang_up(wire, connection, line):
        connection.reset()
        raise ConnectionResetError
    with reading(folder, smtp_script(answers={b"AUTH": hang_up})) as (gate, server):
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire)
            wire.commands(("AUTH PLAIN", "334 "), (plain("joe"), "421 4.4"))
            assert wire.at_eof()
        assert SECRET not in gate.log()


def test_rule_13_only_what_can_be_read_is_offered_and_taken(folder):
    words = ("SIZE 1000", "AUTH CRAM-MD5 PLAIN XOAUTH2 LOGIN", "DSN")
    with reading(folder, smtp_script(ehlo=words)) as (gate, server):
        with Wire(gate.port("submission")) as wire:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            assert [line for line in wire.reply() if b"AUTH" in line] == [b"250-AUTH PLAIN LOGIN"]
            wire.commands(("AUTH CRAM-MD5", "504 5.5.4"), ("AUTH XOAUTH2 dG9rZW4=", "504 5.5.4"),
                          ("AUTH PLAIN", "334 "), ("*", "501"), ("AUTH PLAIN", "334 "), ("no base64", "501 5.5.2"),
                          ("AUTH PLAIN =", "501 5.5.2"), ("AUTH LOGIN", USERNAME), (b"A" * 12300, "500 5.5.2"),
                          ("AUTH LOGIN", USERNAME), ("a\rb", "500 5.5.2"), ("NOOP", "250"))
            wire.quit()
        assert not ours(server)
        assert b"me.example" not in server.received  # none of it has cost the server anything


def test_rule_20_only_what_every_login_keeps_is_offered_in_pop3(folder):
    words = ("USER", "SASL PLAIN CRAM-MD5", "LANG", "UTF8", "UIDL")
    with reading(folder, pop3_script(capabilities=words), "pop3") as (gate, server):
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.send(b"CAPA\r\n")
            assert [word for word in wire.multiline()[1:] if word in (b"LANG", b"UTF8", b"SASL PLAIN", b"UIDL")] \
                == [b"SASL PLAIN", b"UIDL"]
            wire.commands(("LANG de", "-ERR"), ("UTF8", "-ERR"), ("APOP joe 0", "-ERR"), ("AUTH CRAM-MD5", "-ERR"),
                          ("AUTH PLAIN", "+ "), ("*", "-ERR"), ("AUTH PLAIN", "+ "), ("?", "-ERR"))
            wire.quit()
        assert not ours(server)


@pytest.mark.parametrize("size", [8, 9000])
@pytest.mark.parametrize("steps", [(b"+ ", b"+OK"), (b"-ERR no",)])
def test_rule_22_a_login_of_pop3_is_replayed(folder, steps, size):
    said = plain("joe", "x" * size)
    with reading(folder, pop3_script(answers={b"AUTH": asks(*steps)}), "pop3") as (gate, server):
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.send(b"AUTH PLAIN\n" + said + b"\nNOOP\n")
            for reply in ("+ ", steps[-1], "+OK"):
                wire.expect(reply)
            wire.quit()
        (connection,) = ours(server)
        login = [b"AUTH PLAIN"] + [said] * (len(steps) - 1)
        assert connection.wait_done().lines == [*login, b"NOOP", b"QUIT"]


def test_rule_23_failed_logins_are_counted_over_all_servers(folder):
    with reading(folder, smtp_script(answers={b"AUTH": taking()}), limits={"max_errors": "3"}) as (gate, server):
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire)
            for _ in range(3):
                wire.command(b"AUTH PLAIN " + plain("joe"), "535")
            wire.command(b"AUTH PLAIN " + plain("joe"), "421 4.7.0")
            assert wire.at_eof()
        assert len(ours(server)) == 3


def test_rule_13_no_login_inside_a_transaction(folder):
    with reading(folder, smtp_script(answers={b"AUTH": taking("joe")})) as (gate, server):
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            wire.commands((MAIL, "250"), (b"AUTH PLAIN " + plain("joe"), "503"), ("RSET", "250"),
                          (b"AUTH PLAIN " + plain("joe"), "235"), (b"AUTH PLAIN " + plain("joe"), "235"))
            wire.quit()
        first, second = ours(server)
        assert first.wait_done().lines == [b"EHLO me.example", MAIL, b"RSET"]
        assert second.wait_done().lines[1:] == [b"AUTH PLAIN " + plain("joe")] * 2 + [b"QUIT"]


@pytest.mark.skipif(not library.AS_ROOT, reason="only root may read another process's memory")
def test_p7_after_a_replay_the_password_is_nowhere_in_the_memory_of_a_worker(folder):
    secrets = [os.urandom(24).hex() for _ in range(3)]
    wrong = base64_of("", "joe", secrets[0]), base64_of(secrets[1]), base64_of("", "joe", secrets[2])
    script = smtp_script(answers={b"AUTH": lambda wire, connection, line:
                                  b"535 no" if b"LOGIN" in line else asks(b"334 ", b"235 ok")(wire, connection, line)})
    with reading(folder, script, gatepost={"workers": "1"}) as (gate, _):
        (worker,) = gate.workers()
        for kind in ("plain", "starttls"):
            with Wire(gate.port("submission")) as wire:
                smtp_session(wire, client_context(), kind)
                wire.commands(("AUTH LOGIN", USERNAME), ("am9l", PASSWORD), (wrong[1], "535"), ("AUTH PLAIN", "334 "),
                              (wrong[0], "235"))
                wire.quit()
            with Wire(gate.port("submission")) as wire:  # a client that goes in the middle of its login
                smtp_session(wire, client_context(), kind)
                wire.command("AUTH LOGIN", USERNAME)
                wire.command("am9l", PASSWORD)
                wire.send(wrong[1][:-4])
            with Wire(gate.port("submission")) as wire:  # one that is refused for want of base64
                smtp_session(wire, client_context(), kind)
                wire.command("AUTH PLAIN", "334 ")
                wire.command(wrong[2] + b"!!!!", "501")
                wire.quit()
        gate.wait_idle()
        for octets in (*(secret.encode() for secret in secrets), *wrong):
            assert not proc.memory_holds(worker, octets[20:-4])  # the beginning of what is freed is written over


def test_hash_user_sends_a_user_to_one_address_by_whatever_mechanism(folder):
    users = [f"user{number}" for number in range(12)]
    script = smtp_script(answers={b"AUTH": taking(*users, *(user.upper() for user in users))})
    sections = {"backend smtp": {"address": f"unix:{folder}/a, unix:{folder}/b", "policy": "hash-user"}, **QUICK}
    with Backend(folder / "a", script) as one, Backend(folder / "b", script) as two, library.Gatepost(sections) as gate:
        homes = []
        for user in users:
            before = len(ours(one)), len(ours(two))
            for dialogue in ([(b"AUTH PLAIN " + plain(user), "235")],
                             [("AUTH LOGIN", USERNAME), (base64_of(user.upper()), PASSWORD), ("eA==", "235")]):
                with Wire(gate.port("submission")) as wire:
                    smtp_session(wire).commands(*dialogue)
                    wire.quit()
            homes.append((len(ours(one)) - before[0], len(ours(two)) - before[1]))
        assert set(homes) == {(2, 0), (0, 2)}  # each is at one of them, and not all at the same


# maps

def write_map(path, users):
    """A map of users to names of backends, renamed over the former one."""
    new = path.with_suffix(".new")
    text = "".join(f"{user} {backend}\n" for user, backend in users.items())
    subprocess.run(["cdb", "-c", "-m", new], input=text.encode(), check=True)
    new.chmod(0o644)
    new.rename(path)


class Routed:
    """Gatepost with a map, in front of three scripted servers of one protocol: middle (`backend`), north and south."""

    def __init__(self, folder, protocol, scripts, users, **over):
        self.map = folder / "users.cdb"
        write_map(self.map, users)
        sections = {f"backend {name}": {"address": f"unix:{folder}/{name}"} for name in ("middle", "north", "south")}
        for port in ("smtp", "submission") if protocol == "smtp" else ("pop3",):
            sections[f"listen {port}"] = {"backend": "middle", "route": f"user:cdb:{self.map}",
                                          "route_backends": "north, south"}
        sections["backend lost"] = {"address": f"unix:{folder}/middle"}  # which no route may lead to
        sections = library.overlay(library.overlay(sections, QUICK), over)
        self.servers = {name: Backend(folder / name, scripts.get(name) or scripts["middle"])
                        for name in ("middle", "north", "south")}
        self.gate = library.Gatepost(sections)

    def __enter__(self):
        self.gate.start()
        return self

    def __exit__(self, kind, *rest):
        try:
            self.gate.__exit__(kind, *rest)
        finally:
            for server in self.servers.values():
                server.__exit__(kind)

    def lines(self):
        """{server: [lines of each client]} when all have gone."""
        return {name: [one.wait_done().lines for one in ours(server)] for name, server in self.servers.items()}


USERS = {"ann@gatepost.test": "north", "joe": "south", "example.org": "south", "max": "nowhere", "eve": "lost"}
SMTP = {"middle": smtp_script(answers={b"AUTH": taking("ann@gatepost.test", "joe", "bob@example.org", "zoe")})}


@pytest.mark.parametrize("user, where", [("ann@gatepost.test", "north"), ("ANN@Gatepost.TEST", "north"),
                                         ("joe", "south"), ("bob@example.org", "south"), ("zoe", "middle"),
                                         ("ann", "middle"), ("joe@gatepost.test", "middle")])
def test_a_user_goes_to_the_server_that_the_map_names(folder, user, where):
    scripts = {"middle": smtp_script(answers={b"AUTH": lambda *_: b"235 ok"})}
    with Routed(folder, "smtp", scripts, USERS) as routed:
        for kind in ("plain", "starttls"):
            with Wire(routed.gate.port("submission")) as wire:
                smtp_session(wire, client_context(), kind)
                wire.commands((b"AUTH PLAIN " + plain(user), "235"), (MAIL, "250"))
                wire.quit()
        lines = routed.lines()
        wanted = [b"EHLO me.example", b"AUTH PLAIN " + plain(user), MAIL, b"QUIT"]
        assert lines.pop(where) == [wanted, wanted]
        assert not any(lines.values())
        routed.gate.wait_for_log(f"user={user} backend={where} ", count=2)


def test_mail_without_a_login_goes_to_the_default_and_a_login_behind_it_to_its_own_server(folder):
    with Routed(folder, "smtp", SMTP, USERS, **{"listen smtp": {"default_backend": "south"}}) as routed:
        with Wire(routed.gate.port("smtp")) as wire:
            smtp_session(wire)
            wire.commands((MAIL, "250"), ("RSET", "250"), ("AUTH LOGIN", USERNAME),
                          (base64_of("ann@gatepost.test"), PASSWORD), (base64_of(SECRET), "235"), (MAIL, "250"))
            wire.quit()
        lines = routed.lines()
        assert lines["middle"] == []
        assert lines["south"] == [[b"EHLO me.example", MAIL, b"RSET"]]
        assert lines["north"] == [[b"EHLO me.example", b"AUTH LOGIN", base64_of("ann@gatepost.test"), base64_of(SECRET),
                                   MAIL, b"QUIT"]]


def test_after_a_login_that_failed_another_user_goes_to_another_server(folder):
    with Routed(folder, "smtp", SMTP, {**USERS, "tom": "south"}) as routed:
        with Wire(routed.gate.port("submission")) as wire:
            smtp_session(wire)
            wire.commands((b"AUTH PLAIN " + plain("tom"), "535"), ("NOOP", "250"), ("EHLO me.example", "250"))
            wire.send(b"NOOP\r\nAUTH PLAIN " + plain("ann@gatepost.test") + b"\r\n" + MAIL + b"\r\n")
            for reply in ("250", "235", "250"):
                wire.expect(reply)
            wire.quit()
        lines = routed.lines()
        assert lines["south"] == [[b"EHLO me.example", b"AUTH PLAIN " + plain("tom"), b"NOOP"]]
        assert lines["north"] == [[b"EHLO me.example", b"AUTH PLAIN " + plain("ann@gatepost.test"), MAIL, b"QUIT"]]
        assert ours(routed.servers["south"])[0].ended in ("fin", "reset")


def test_users_of_pop3_go_to_their_servers_by_every_kind_of_login(folder):
    def password(wire, connection, line):
        return b"-ERR [AUTH] wrong" if line.endswith(b"wrong") else b"+OK"

    auth = asks(b"+ ", b"+OK")
    with Routed(folder, "pop3", {"middle": pop3_script(answers={b"PASS": password, b"AUTH": auth})}, USERS) as routed:
        with Wire(routed.gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.send(b"USER joe\r\nPASS wrong\r\nUSER ann@gatepost.test\r\nPASS right one\r\nSTAT\r\n")
            for reply in ("+OK", "-ERR", "+OK", "+OK", "+OK"):
                wire.expect(reply)
            wire.quit()
        with Wire(routed.gate.port("pop3")) as wire:
            pop3_session(wire, client_context(), "starttls")
            wire.commands(("AUTH PLAIN", "+ "), (plain("bob@example.org"), "+OK"), ("STAT", "+OK"))
            wire.quit()
        with Wire(routed.gate.port("pop3")) as wire:
            pop3_session(wire, client_context(), "plain", "zoe", "right")
            wire.quit()
        lines = routed.lines()
        assert lines["south"] == [[b"USER joe", b"PASS wrong"],
                                  [b"AUTH PLAIN", plain("bob@example.org"), b"STAT", b"QUIT"]]
        assert lines["north"] == [[b"USER ann@gatepost.test", b"PASS right one", b"STAT", b"QUIT"]]
        assert lines["middle"] == [[b"USER zoe", b"PASS right", b"QUIT"]]
        for secret in ("wrong", "right one", plain("bob@example.org").decode()):
            assert secret not in routed.gate.log()


def test_p2_before_a_login_only_what_all_servers_can_do_is_offered(folder):
    known = taking("ann@gatepost.test", "joe")
    scripts = {name: smtp_script(ehlo=words, answers={b"AUTH": known}) for name, words in (
        ("middle", ("PIPELINING", "SIZE 3000", "8BITMIME", "AUTH PLAIN LOGIN CRAM-MD5", "DSN")),
        ("north", ("SIZE 2000", "8BITMIME", "CHUNKING", "AUTH LOGIN PLAIN", "DSN")),
        ("south", ("PIPELINING", "SIZE 1000", "AUTH CRAM-MD5 PLAIN", "DSN", "CHUNKING")))}
    with Routed(folder, "smtp", scripts, USERS) as routed:
        with Wire(routed.gate.port("submission")) as wire:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            offered = {bytes(line[4:]) for line in wire.reply()[1:]} - {b"STARTTLS"}
            assert offered == {b"SIZE 1000", b"AUTH PLAIN", b"DSN"}
            wire.commands(("AUTH LOGIN", "504"), (b"AUTH PLAIN " + plain("ann@gatepost.test"), "235"))
            wire.send(b"EHLO me.example\r\n")  # from now on it is the server's own
            assert b"250-CHUNKING" in wire.reply()
            wire.quit()
        assert not ours(routed.servers["middle"]) and not ours(routed.servers["south"])


def test_p2_a_server_that_is_away_is_left_out_of_the_offer_and_only_its_users_are_refused(folder):
    scripts = {name: smtp_script(ehlo=words, answers={b"AUTH": taking("ann@gatepost.test", "joe")})
               for name, words in (("middle", ("DSN", "AUTH PLAIN")), ("north", ("DSN", "AUTH PLAIN")),
                                   ("south", ("AUTH PLAIN",)))}
    with Routed(folder, "smtp", scripts, USERS) as routed:
        routed.servers["south"].close()
        with Wire(routed.gate.port("submission")) as wire:
            smtp_session(wire)
            wire.command(b"AUTH PLAIN " + plain("joe"), "421 4.")
        routed.gate.wait_for_log("backend south .* is out of service")
        with Wire(routed.gate.port("submission")) as wire:
            smtp_session(wire)
            wire.command(b"AUTH PLAIN " + plain("ann@gatepost.test"), "235")
            wire.quit()


@pytest.mark.parametrize("user, name", [("max", "nowhere"), ("eve", "lost")])
def test_a_map_that_names_no_server_refuses_its_users_for_now_and_tells_the_log_once(folder, user, name):
    with Routed(folder, "smtp", SMTP, USERS, gatepost={"workers": "1"}) as routed:
        for _ in range(2):
            with Wire(routed.gate.port("submission")) as wire:
                smtp_session(wire)
                wire.commands((b"AUTH PLAIN " + plain(user), "454 4.7.0"), ("AUTH LOGIN", USERNAME),
                              (base64_of(user), PASSWORD))
                wire.send(base64_of(SECRET) + b"\r\nNOOP\r\nAUTH PLAIN " + plain("joe") + b"\r\n")
                for reply in ("454 4.7.0", "250", "235"):
                    wire.expect(reply)
                wire.quit()
        routed.gate.wait_for_log(f"map names backend {name}")
        assert routed.gate.log().count(f"map names backend {name}") == 1
        assert [len(lines) for lines in routed.lines().values()] == [0, 0, 2]


def test_the_same_is_sys_temp_in_pop3(folder):
    with Routed(folder, "pop3", {"middle": pop3_script()}, USERS) as routed:
        with Wire(routed.gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.commands(("USER max", "+OK"), (f"PASS {SECRET}", "-ERR [SYS/TEMP]"), ("USER joe", "+OK"),
                          (f"PASS {SECRET}", "+OK"))
            wire.quit()
        assert [len(lines) for lines in routed.lines().values()] == [0, 0, 1]


def test_a_map_that_is_renamed_over_the_old_one_is_used_without_a_reload(folder):
    with Routed(folder, "smtp", SMTP, USERS) as routed:
        def where():
            before = {name: len(ours(server)) for name, server in routed.servers.items()}
            with Wire(routed.gate.port("submission")) as wire:
                smtp_session(wire)
                wire.command(b"AUTH PLAIN " + plain("joe"), "235")
                wire.quit()
            (name,) = [name for name, server in routed.servers.items() if len(ours(server)) > before[name]]
            return name

        assert where() == "south"
        with Wire(routed.gate.port("submission")) as wire:  # a session of before keeps its server
            smtp_session(wire).command(b"AUTH PLAIN " + plain("joe"), "235")
            write_map(routed.map, {"joe": "north"})
            proc.wait_until(lambda: where() == "north", 30, "the new map")
            wire.command(MAIL, "250")
            wire.quit()
        assert where() == "north"


def test_the_embedded_workers_serve_users_by_name_as_python_and_swaks_log_in(folder):
    write_map(folder / "smtp.cdb", {library.USER: "smtp", "gatepost.test": "north"})
    write_map(folder / "pop3.cdb", {library.USER: "pop3"})
    sections = {"listen submission": {"route": f"user:cdb:{folder}/smtp.cdb", "route_backends": "smtp, north"},
                "listen pop3": {"route": f"user:cdb:{folder}/pop3.cdb", "route_backends": "pop3",
                                "default_backend": "north3"},
                "backend north": {"address": f"unix:{folder}/north"},
                "backend north3": {"address": f"unix:{folder}/north3"}}
    with Backend(folder / "north", smtp_script()) as north, Backend(folder / "north3", pop3_script()) as north3, \
            library.Gatepost(library.overlay(sections, QUICK)) as gate:
        for kind in clients.KINDS:
            with clients.smtp(gate, "submission", kind) as client:
                client.user, client.password = library.USER, gate.password
                mechanism = {"plain": "LOGIN", "starttls": "PLAIN", "implicit": "LOGIN"}[kind]
                client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"),
                            initial_response_ok=kind != "implicit")
                client.sendmail(library.USER, [library.USER], b"Subject: routed\r\n\r\nbody\r\n")
        for mechanism in ("LOGIN", "PLAIN"):
            subprocess.run(["swaks", "--server", "localhost", "--port", str(gate.port("submission")), "--tls",
                            "--auth", mechanism, "--auth-user", library.USER, "--auth-password", gate.password,
                            "--from", library.USER, "--to", library.USER], check=True, capture_output=True, timeout=60)
        assert len(gate.messages()) == 5
        for kind in clients.KINDS:
            with clients.pop3(gate, "pop3", kind) as client:
                assert client.stat()[0] == 5
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire).command(b"AUTH PLAIN " + plain("bert@gatepost.test"), "235")
            wire.quit()
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire, None, "plain", "bert", "x")
            wire.quit()
        assert len(ours(north)) == len(ours(north3)) == 1
        assert gate.password not in gate.log()
