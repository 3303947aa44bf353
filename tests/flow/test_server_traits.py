"""What real servers do in their own way: relay for their own machine, offer APOP or a STARTTLS of their own, know no
CAPA, lose what is pipelined behind PASS, deal with both versions of PROXY (rules 9, 15, 19, 20, 25, 26)."""
import poplib

import pytest

import certificates
import clients
import gatepost as library
import messages
import proc
import recipes
import servers
from backend import Backend, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

KINDS = pytest.mark.parametrize("kind", clients.KINDS)


def before(name, address, over=None):
    """A gate in front of one server. `over`: keys of its [backend]."""
    other = "pop3" if name == "smtp" else "smtp"
    sections = {f"backend {name}": {"address": address, **(over or {})}, f"backend {other}": {"address": None},
                "listen pop3s": {"detect_wait": "300ms"}}
    return library.Gatepost(sections, users=())


# the relay test

def shut(gate):
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire)
        wire.command("MAIL FROM:<bert@example.org>", "554 5.7.1")
        assert wire.at_eof()


@pytest.fixture(scope="module")
def postfix():
    with servers.Postfix() as postfix:
        yield postfix


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_p10_rule_26_postfix_as_installed_trusts_its_own_machine_and_gets_no_mail_untold(postfix, way):
    before_us = len(postfix.messages())
    with before("smtp", f"unix:{postfix.socket}" if way == "unix" else f"127.0.0.1:{postfix.port}") as gate:
        shut(gate)
        gate.wait_for_log(r"relays mail of strangers.*gets no mail.*identity = proxy-v2 or xclient.* Postfix .*mynetworks= .* Exim .* OpenSMTPD ")
    assert len(postfix.messages()) == before_us


def test_a_gate_that_ends_while_it_asks_a_server_at_a_port_leaves_nothing(postfix):
    for _ in range(3):
        with before("smtp", f"127.0.0.1:{postfix.port}"):
            pass  # stop() looks


@pytest.mark.parametrize("title, file, cure, without", [
    ("Postfix, told nothing", "/etc/postfix/master.cf", "  -o mynetworks=\n", ""),
    ("Exim, from inetd", "/etc/inetd.conf", " -oMa 192.0.2.25", ""),
    ("Exim, told by PROXY", "/etc/exim4/exim4.conf.localmacros", "hosts_proxy = 127.0.0.1\n", "")])
def test_p10_rule_26_without_the_cure_of_its_recipe_the_gate_is_shut(title, file, cure, without):
    recipe = recipes.read(title)
    assert cure in recipe.files[file]
    recipe.files[file] = recipe.files[file].replace(cure, without)
    recipe.files[recipes.INI] = recipe.files[recipes.INI].replace("identity = proxy-v2\n", "")
    with recipes.start(recipe) as server, library.Gatepost(recipe.sections(server), users=()) as gate:
        shut(gate)
        gate.wait_for_log("relays mail of strangers.*gets no mail")


# PROXY in both versions, over TCP

@pytest.mark.parametrize("version", ["proxy-v1", "proxy-v2"])
def test_rule_25_postfix_at_a_port_is_told_by_either_version_of_proxy(version):
    options = "-o smtpd_upstream_proxy_protocol=haproxy"
    recipe = recipes.read("Postfix, told by PROXY")
    recipe.files["/etc/postfix/master.cf"] = f"127.0.0.1:10025 inet n - n - 100 smtpd {options}\n"
    recipe.files[recipes.INI] = f"[backend smtp]\naddress = 127.0.0.1:10025\nidentity = {version}\n"
    told(recipe, r"client=unknown\[127\.0\.0\.7\]")


@pytest.mark.parametrize("title, log", [("Exim, told by PROXY", r"H=\(client\.example\) \[127\.0\.0\.7\]")])
def test_rule_25_exim_is_told_by_proxy_v1_too(title, log):
    recipe = recipes.read(title)
    recipe.files[recipes.INI] = recipe.files[recipes.INI].replace("proxy-v2", "proxy-v1")
    told(recipe, log)


def told(recipe, log):
    with recipes.start(recipe) as server, library.Gatepost(recipe.sections(server), users=()) as gate:
        for kind in clients.KINDS:
            clients.send(gate, "smtp", kind, recipes.MESSAGE, host="127.0.0.1", source="127.0.0.7")
        for stored in server.wait_messages(3):
            assert not messages.difference(recipes.MESSAGE, messages.own_part(stored))
        server.wait_for_log(log, count=3)


def test_rule_18_a_client_whose_address_postfix_does_not_take_is_refused_and_closes_the_gate_for_nobody_else():
    if not library.has_ipv6():
        pytest.fail("this machine has no IPv6")
    options = "-o smtpd_authorized_xclient_hosts=127.0.0.0/8"  # and inet_protocols = ipv4
    with servers.Postfix(options=options) as postfix:
        with before("smtp", f"unix:{postfix.socket}", {"identity": "xclient"}) as gate:
            for count in range(3):
                with Wire(gate.port("smtp"), host="::1") as wire:
                    smtp_session(wire)
                    wire.command("MAIL FROM:<bert@example.org>", "421 4.3.2")
                    assert wire.at_eof()
                clients.send(gate, "smtp", "plain", recipes.MESSAGE, host="127.0.0.1")
                postfix.wait_messages(count + 1)
            assert "out of service" not in gate.log()


# a STARTTLS of their own

def offers(wire):
    return [line[4:] for line in wire.command("EHLO me.example", "250")]


@pytest.fixture(scope="module")
def postfix_with_tls():
    folder = library.make_folder("cert-")
    certificates.write(folder)
    more = "\n".join(["smtpd_tls_security_level = may", f"smtpd_tls_cert_file = {folder}/cert.pem",
                      f"smtpd_tls_key_file = {folder}/key.pem"])
    with servers.Postfix(mynetworks="", more=more) as postfix:
        with Wire(postfix.port) as wire:
            wire.expect("220")
            assert b"STARTTLS" in offers(wire)
        with before("smtp", f"127.0.0.1:{postfix.port}") as gate:
            yield postfix, gate


@KINDS
def test_rule_9_a_starttls_of_the_server_is_not_shown_and_ours_is_shown_once(postfix_with_tls, kind):
    postfix, gate = postfix_with_tls
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire, client_context(), kind)
        wire.send("EHLO me.example\r\n")
        assert [line[4:] for line in wire.reply()].count(b"STARTTLS") == (1 if kind == "plain" else 0)
        wire.command("QUIT", "221")
    count = len(postfix.messages())
    clients.send(gate, "smtp", kind, recipes.MESSAGE)
    stored = postfix.wait_messages(count + 1)[-1]
    assert b"with ESMTP id" in stored, "without TLS of its own"
    assert not messages.difference(recipes.MESSAGE, messages.own_part(stored))


# 8BITMIME that is not meant, and APOP

@KINDS
def test_rule_9_what_the_server_says_and_does_not_mean_is_hidden(folder, kind):
    with Backend(folder / "s.sock", smtp_script(ehlo=("8BITMIME", "PIPELINING", "SIZE 1000"))):
        with before("smtp", f"unix:{folder}/s.sock", {"hide": "8BITMIME"}) as gate, \
                clients.smtp(gate, "smtp", kind) as client:
            assert not client.has_extn("8BITMIME") and client.has_extn("pipelining") and client.has_extn("size")


@pytest.fixture(scope="module")
def apop():
    with servers.Dovecot({library.USER: [recipes.MESSAGE]}, more="auth_mechanisms = plain apop") as dovecot:
        with before("pop3", f"unix:{dovecot.socket}", {"apop": "yes"}) as gate:
            yield gate


@pytest.mark.parametrize("port, kind", [("pop3", "plain"), ("pop3", "starttls"), ("pop3", "implicit"),
                                        ("pop3s", "plain"), ("pop3s", "implicit")])
def test_rule_19_a_login_by_apop_fetches_the_mail_of_dovecot(apop, port, kind):
    if (port, kind) == ("pop3s", "plain"):
        with Wire(apop.port(port)) as wire:
            wire.expect("+OK")
            wire.command("APOP anna@gatepost.test 0123456789abcdef0123456789abcdef", "-ERR")
        return
    client = (clients.POP3_SSL if kind == "implicit" else clients.POP3)(
        "localhost", apop.port(port), timeout=40, **({"context": client_context()} if kind == "implicit" else {}))
    try:
        if kind == "starttls":
            client.stls(context=client_context())
        if (port, kind) == ("pop3", "starttls"):
            with pytest.raises(poplib.error_proto):
                client.apop(library.USER, "wrong")
        client.apop(library.USER, "secret")
        fetched = b"".join(line + b"\r\n" for line in client.retr(1)[1])
        assert not messages.difference(recipes.MESSAGE, messages.own_part(fetched))
        client.quit()
    finally:
        client.close()


# POP3 of the old kind

@pytest.fixture(scope="module", params=["popa3d, from inetd", "Courier"])
def old(request):
    with recipes.run(request.param) as running:
        yield running


@KINDS
def test_rule_15_what_a_client_pipelines_behind_pass_is_not_lost(old, kind):
    """Courier's first program takes it with it when it starts the second: asked directly, it never answers to STAT."""
    with Wire(old.gate.port("pop3")) as wire:
        pop3_session(wire, client_context(), kind)
        wire.send(b"USER anna\r\nPASS secret\r\nSTAT\r\nUIDL\r\nNOOP\r\nRETR 1\r\nQUIT\r\n")
        for _ in range(3):
            wire.expect("+OK")
        wire.expect("+OK")
        assert len(wire.multiline()) == 1
        wire.expect("+OK")
        wire.expect("+OK")
        assert len(wire.multiline()) > 100
        wire.expect("+OK")
        assert wire.read_all() == b""


@KINDS
def test_rule_20_capa_is_answered_for_a_server_that_knows_none_and_names_nothing_that_it_cannot_do(old, kind):
    with Wire(old.gate.port("pop3")) as wire:
        pop3_session(wire, client_context(), kind)
        wire.command("CAPA", "+OK")
        offered = wire.multiline()
        assert b"USER" in offered and offered.count(b"STLS") == (1 if kind == "plain" else 0)
        if old.title.startswith("popa3d"):
            assert not [word for word in offered if word.startswith((b"SASL", b"PIPELINING", b"IMPLEMENTATION"))]
        else:
            assert {b"UIDL", b"TOP"} <= set(offered)
        wire.command("USER anna", "+OK")
        wire.command("PASS secret", "+OK")
        wire.command("TOP 1 1", "+OK")
        wire.multiline()
        wire.quit()


def log_in(gate):
    """A Wire that is logged in; None while the session before still locks the maildrop."""
    wire = Wire(gate.port("pop3"))
    try:
        return pop3_session(wire, user="anna", password="secret")
    except AssertionError:
        wire.close()
        return None


def test_p3_a_message_is_deleted_by_quit_and_by_nothing_else(old):
    for end in ("vanish", "quit"):
        wire = proc.wait_until(lambda: log_in(old.gate), 30, "a login")
        wire.command("STAT", "+OK 1 ")
        wire.command("DELE 1", "+OK")
        getattr(wire, end)()
    wire = proc.wait_until(lambda: log_in(old.gate), 30, "a login")
    wire.command("STAT", "+OK 0 ")
    wire.quit()
