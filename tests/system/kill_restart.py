#!/usr/bin/env python3
"""kill -9 at any moment of a burst, then a restart, again and again: nothing that got a 250 is missing at the receivers."""
# timeout: 600
import random
import time

import check
import world
from system import Tap, arrived, drained, practice

ROUNDS = 6
RECIPIENT = "reader@normal.example"


def flood(one, log):
    return one.network.spawn("sender", ["/usr/bin/python3", "-B", f"{check.__file__.rsplit('/', 1)[0]}/flood.py",
                                        world.LISTENER_IPV4, 25, 6, RECIPIENT, log], "flood.out")


def main():
    rng = random.Random(2026)
    with Tap() as tap, practice(expire="10m") as one:
        log = one.network.directory / "acknowledged"
        log.touch()
        client = flood(one, log)
        for number in range(1, ROUNDS + 1):
            before = len(log.read_text().splitlines())
            time.sleep(rng.uniform(0.5, 2.5))
            one.appliance.kill()
            one.appliance.start()
            after = len(log.read_text().splitlines())
            tap.ok(after > before, f"round {number}: mail was acknowledged, millraced killed and ready again",
                   f"{before} before, {after} after")
        time.sleep(1)
        client.terminate()
        client.wait(20)
        acknowledged = log.read_text().splitlines()
        ledger = drained(one, 90)
        tap.ok(ledger["queued"] == 0, "the queue drained", ledger)
        tap.ok(ledger.get("drift", 0) == 0, "the ledger has no drift", ledger)

        copies, missing = arrived(one, acknowledged)
        tap.ok(not missing, f"none of {len(acknowledged)} acknowledged messages is missing", "\n".join(missing[:20]))
        twice = sum(count > 1 for count in copies.values())
        # Only what was being delivered when the power went may come twice: at most what connections can have in flight.
        tap.note(f"{len(copies)} messages stored, {twice} of them more than once")
        tap.ok(twice <= ROUNDS * 50, "only what was in delivery came twice", twice)
        wrong = [item.path for item in one.stored() if item.identity.startswith("flood-") and
                 not item.below.endswith(b"\n\n" + b"One of many.\n" * 20)]
        tap.ok(not wrong, "every stored message is whole", wrong[:5])


main()
