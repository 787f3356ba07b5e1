#!/usr/bin/env python3
"""Reloads and an orderly stop under load: nothing acknowledged is lost, nothing comes twice, and every stop ends with 0."""
# timeout: 600
import time

import check
import world
from system import Tap, arrived, drained, practice

ROUNDS = 3
RELOADS = 8
RECIPIENT = "reader@normal.example"


def flood(one, log):
    return one.network.spawn("sender", ["/usr/bin/python3", "-B", f"{check.__file__.rsplit('/', 1)[0]}/flood.py",
                                        world.LISTENER_IPV4, 25, 6, RECIPIENT, log, "--tls"], "flood.out")


def reload_often(one):
    """Reloads with another limit each time; returns the revisions that the daemon named."""
    text = one.appliance.config.read_text()
    revisions = []
    for number in range(RELOADS):
        one.appliance.config.write_text(text.replace("message-size 50m", f"message-size {20 + number}m"))
        one.appliance.cli("request", "config", "reload")
        revisions.append(one.appliance.show("version")["config_revision"])
        time.sleep(0.1)
    return revisions


def main():
    with Tap() as tap, practice(expire="10m") as one:
        log = one.network.directory / "acknowledged"
        log.touch()
        client = flood(one, log)
        for number in range(1, ROUNDS + 1):
            before = len(log.read_text().splitlines())
            time.sleep(1)
            revisions = reload_often(one)
            tap.ok(revisions == list(range(2, RELOADS + 2)), f"round {number}: every reload was adopted", revisions)
            after = len(log.read_text().splitlines())
            tap.ok(after > before, f"round {number}: mail went on meanwhile", f"{before} before, {after} after")
            status = one.appliance.stop()
            tap.ok(status == 0, f"round {number}: SIGTERM under load ends in order", f"status {status}\n"
                   f"{one.appliance.diagnostics()}")
            one.appliance.start()
        time.sleep(1)
        client.terminate()
        client.wait(20)
        acknowledged = log.read_text().splitlines()
        ledger = drained(one, 90)
        tap.ok(ledger["queued"] == 0 and ledger.get("drift", 0) == 0, "the queue drained, the ledger balances", ledger)
        copies, missing = arrived(one, acknowledged)
        tap.ok(not missing, f"none of {len(acknowledged)} acknowledged messages is missing", "\n".join(missing[:20]))
        twice = [identity for identity in acknowledged if copies[identity] > 1]
        tap.ok(not twice, "an orderly stop delivers nothing twice", "\n".join(twice[:20]))


main()
