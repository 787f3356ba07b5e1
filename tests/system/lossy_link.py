#!/usr/bin/env python3
"""Over links that lose 2 %, reorder 5 % and double 1 % of the packets and take 50 ms each way, on both sides of the appliance, all
mail arrives as it was accepted."""
# timeout: 900
import concurrent.futures
import os
import pathlib

import check
import messages
from system import Tap, practice

# At such a loss a TCP that is fair to others moves a hundred kilobytes a second.
LEFT_OUT = ("25-mb",)
EMULATOR = pathlib.Path(os.environ["MILLRACE_BUILD"]) / "perf" / "emulator" / "emulator"


def link(one, other):
    return [EMULATOR, "--delay", 50, "--loss", 2, "--reorder", 5, "--duplicate", 1, "--seed", 2026, "--json", "-", one, other]


def main():
    with Tap() as tap, practice(link=link, connect="20s") as one:
        chosen = [message for message in messages.generate() if message.id not in LEFT_OUT]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            sents = list(pool.map(one.senders.send, chosen))
        refused = [f"{sent.message.id}: {sent.answers}" for sent in sents
                   if len(sent.acknowledged()) < len(sent.message.recipients)]
        tap.ok(not refused, "every client was told that its message was accepted", "\n".join(refused[:5]))
        tap.ok(one.wait(sents, 180, tap.note), "all of it came to an end", one.appliance.cli("show", "queue", check=False))
        stored = one.stored()
        findings = check.judge(sents, stored)
        tap.ok(not findings.problems, "every message arrived once and byte for byte, or bounced as it must",
               "\n".join(findings.problems[:10]))
        wrong = check.ledger_problems(one.appliance.ledger(), sents, findings, len(stored))
        tap.ok(not wrong, "the ledger agrees", "\n".join(wrong))
        counters = one.appliance.cli("show", "counters", check=False)
        tap.note(counters)
        tap.ok(any("retransmit" in line or "recover" in line for line in counters.lower().splitlines()),
               "and TCP had to send again")


main()
