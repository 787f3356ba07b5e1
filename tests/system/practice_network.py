#!/usr/bin/env python3
"""The practice network is sound: with a Postfix in Millrace's place every message of the set arrives as sent, and the
check finds what a relay may do wrong: lose, double, alter, misdirect."""
# timeout: 500
import copy
import os
import pathlib
import time

import check
import messages
import senders
import world
from dns import Dns
from network import Network
from postfix import Postfix
from receivers import Certificates, Receivers
from system import Tap

# Where Postfix, as a relay, says something else than RFC 3463's newer codes: known, and no fault of the network.
POSTFIX_CODES = {"missing": "5.4.4", "null-mx": "5.1.0"}


def relay(network):
    """A Postfix as the appliance, over the kernel's stack."""
    certificate, key = Certificates(network.directory / "relay-certificates").make(world.HOSTNAME)
    one = Postfix(network, "appliance", "relay")
    one.parameters.update({
        "myhostname": world.HOSTNAME, "myorigin": world.HOSTNAME,
        "mynetworks": f"{world.SENDER_NET_IPV4} [{world.SENDER_NET_IPV6.split('/')[0]}]/64",
        "smtpd_relay_restrictions": "permit_mynetworks reject", "smtp_tls_security_level": "may",
        "minimal_backoff_time": "4s", "maximal_backoff_time": "5s", "queue_run_delay": "3s",
        "smtp_connect_timeout": "3s", "smtp_bind_address": world.SOURCES_IPV4[0],
        "smtp_bind_address6": world.SOURCES_IPV6[0], "always_add_missing_headers": "yes",
        "append_at_myorigin": "yes",
    })
    for address in (world.LISTENER_IPV4, world.LISTENER_IPV6):
        one.listen(address, smtpd_tls_security_level="may", smtpd_tls_cert_file=certificate, smtpd_tls_key_file=key)
    one.start()


def expect(message):
    """The set, as a Postfix relays it."""
    message = copy.copy(message)
    if message.id in POSTFIX_CODES:
        message.expected = {recipient: messages.bounced(POSTFIX_CODES[message.id]) for recipient in message.recipients}
    return message


def main():
    with Tap() as tap:
        run(tap)


def run(tap):
    with Network(kernel_appliance=True) as network:
        Dns(network).start()
        receivers = Receivers(network)
        receivers.start()
        sender = senders.Senders(network)
        sender.start()
        relay(network)
        tap.ok(True, "namespaces, DNS, receivers and senders stand")

        sents = [sender.send(expect(message)) for message in messages.generate() if not message.auth]
        refused = [sent.message.id for sent in sents if len(sent.acknowledged()) != len(sent.message.recipients)]
        tap.ok(not refused, "every client was told that its message was accepted", refused)
        known, deadline = {}, time.monotonic() + 60
        while time.monotonic() < deadline and not check.complete(sents, check.read_store(receivers.maildirs(), known)):
            time.sleep(0.5)
        stored = list(known.values())
        found = check.judge(sents, stored)
        tap.ok(not found.problems, "every message arrived once per recipient, byte for byte, or bounced as it must",
               "\n".join(found.problems[:20]))

        # The check can fail: a relay's faults, played on what was stored.
        one = next(item for item in stored if item.identity == "dots")
        others = [item for item in stored if item is not one]
        tap.ok(bool(check.judge(sents, others).problems), "a lost message is found")
        tap.ok(bool(check.judge(sents, stored + [one]).problems), "a doubled message is found")
        for what, below in (("a dot-stuffed line left stuffed", one.below.replace(b"\n.hidden", b"\n..hidden")),
                            ("a lost last line", one.below[:-2]), ("a line too many", one.below + b"\n"),
                            ("a header field of our own", b"X-Relay: yes\n" + one.below)):
            altered = copy.copy(one)
            altered.below = below
            tap.ok(below != one.below and bool(check.judge(sents, others + [altered]).problems), f"{what} is found")
        strayed = copy.copy(one)
        strayed.recipient = "someone@else.example"
        tap.ok(bool(check.judge(sents, others + [strayed]).problems), "a message to the wrong recipient is found")
        directory = network.directory
    tap.ok(not directory.exists() and not any(name in os.listdir("/run/netns") for name in network.names.values())
           if pathlib.Path("/run/netns").exists() else True, "taken down, nothing is left of it")


main()
