"""gatepost-fetch on a link that goes silent, with nobody told: it gives the link up after five minutes, and finishes on
another. Slow, so of --full alone."""
import gatepost as library
import pytest
from cut import Cut, Relay
from fetch import OK, Site
from remote import deliver, sections

TEXT = b"Subject: hello\r\n\r\n" + b"Hello\r\n" * 1000


@pytest.mark.seconds(900)
def test_a_silent_link_is_given_up():
    with library.Gatepost(sections()) as gate, Relay(gate.port("remote")) as relay, Site() as site:
        deliver(gate, TEXT)
        relay.plan(Cut("down", 4000, "drop"))
        result = site.run(gate, relay.port, tls=False, retries=1, timeout=800)
        assert result.returncode == OK, result.words
        assert relay.links[0].was_cut.is_set() and len(relay.links) == 2
        assert site.received() == [TEXT.replace(b"\r\n", b"\n")] and gate.messages() == []
