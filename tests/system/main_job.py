#!/usr/bin/env python3
"""The main job: every message of the practice set, through real clients and to real exchangers, arrives once per recipient
and byte for byte, or bounces with the right code; and the ledger and the events say the same."""
# timeout: 600
import check
import messages
import show
from system import Tap, practice


def main():
    with Tap() as tap, practice() as one:
        tap.ok(one.appliance.alive(), "millraced is ready in its namespace")
        sents = [one.senders.send(message) for message in messages.generate()]
        finished = one.wait(sents, 120, tap.note)
        tap.ok(finished, "all of it came to an end", one.appliance.cli("show", "queue", check=False))
        stored = one.stored()
        findings = check.judge(sents, stored)
        for sent in sents:
            mine = [text for text in findings.problems if text.startswith(f"{sent.message.id} to ")]
            tap.ok(not mine, f"{sent.message.id}: {sent.message.what}", "\n".join(mine[:10]))
        others = [text for text in findings.problems
                  if not any(text.startswith(f"{sent.message.id} to ") for sent in sents)]
        tap.ok(not others, "nothing arrived that was not sent, and nobody who was not addressed got mail", "\n".join(others))
        wrong = check.ledger_problems(one.appliance.ledger(), sents, findings, len(stored))
        tap.ok(not wrong, "the ledger agrees with what was seen from outside", "\n".join(wrong))
        events = one.appliance.events()
        wrong = check.terminal_event_problems(events, findings, sents)
        tap.ok(not wrong, "each recipient ended in exactly one event", "\n".join(wrong[:20]))
        ends = [way for group in show.ways(events).values() for way in group]
        tap.ok(any(way.tls and way.kind == "Delivery" for way in ends), "there were deliveries by TLS")
        tap.ok(any(way.family == "6" for way in ends), "there were deliveries by IPv6")
        exchangers = {way.exchanger for way in ends if way.site and "plain" in way.exchanger}
        tap.ok(not any(way.tls for way in ends if way.exchanger in exchangers), "in clear to who offers no STARTTLS")
        status = one.appliance.stop()
        tap.ok(status == 0, "SIGTERM ends it with status 0", f"status {status}\n{one.appliance.diagnostics()}")


main()
