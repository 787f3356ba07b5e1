#!/usr/bin/env python3
"""One port that carries both sides is as good a set-up as two: the sender and the Internet on one switch."""
# timeout: 400
import check
import messages
from system import Tap, practice

CHOSEN = ("plain", "mime", "8-bit", "utf8", "six", "dead-mx", "unknown", "smart-plain", "many")


def main():
    with Tap() as tap, practice(one_port=True) as one:
        ports = one.appliance.show("ports")
        tap.ok(len(ports) == 1, "there is one port", ports)
        sents = [one.senders.send(message) for message in messages.generate() if message.id in CHOSEN]
        tap.ok(one.wait(sents, 60), "all of it came to an end", one.appliance.cli("show", "queue", check=False))
        stored = one.stored()
        findings = check.judge(sents, stored)
        tap.ok(not findings.problems, "every message arrived once and byte for byte, or bounced as it must",
               "\n".join(findings.problems[:10]))
        wrong = check.ledger_problems(one.appliance.ledger(), sents, findings, len(stored))
        tap.ok(not wrong, "the ledger agrees", "\n".join(wrong))


main()
