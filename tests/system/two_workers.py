#!/usr/bin/env python3
"""Two workers in one process share the work: both accept and both deliver, connections that come in at the wrong queue are
handed over."""
# timeout: 400
import time

import check
import world
from system import Tap, arrived, drained, practice


def flood(one, seconds, connections=24):
    """Many connections from one client; returns what was acknowledged."""
    log = one.network.directory / "acknowledged"
    log.touch()
    client = one.network.spawn("sender", ["/usr/bin/python3", "-B", check.__file__.replace("check.py", "flood.py"),
                                          world.LISTENER_IPV4, 25, connections, "reader@normal.example", log, "--tls"],
                               "flood.out")
    time.sleep(seconds)
    client.terminate()
    client.wait(20)
    return log.read_text().splitlines()


def main():
    with Tap() as tap, practice(workers=2) as one:
        acknowledged = flood(one, 4)
        ledger = drained(one, 60)
        tap.ok(len(acknowledged) > 50 and ledger["queued"] == 0 and ledger["delivered"] == len(acknowledged),
               "all that was acknowledged was delivered", f"{len(acknowledged)} acknowledged, ledger {ledger}")
        events = one.appliance.events()
        for kind, what in (("Reception", "accepted"), ("Delivery", "delivered")):
            workers = {event["worker"] for event in events if event["type"] == kind}
            tap.ok(workers == {0, 1}, f"both workers {what}", workers)
        workers = one.appliance.show("workers")
        tap.ok(sum(worker["handed_off"] for worker in workers) > 0, "the hand-off ring was used", workers)
        tap.ok(sum(worker["handed_off"] for worker in workers) >= sum(worker["handed_in"] for worker in workers) > 0,
               "what was handed over was taken", workers)
        ports = one.appliance.show("ports")
        tap.ok(all(port["steering"] == "hand-off-ring" and "no hash" in port["steering_reason"] and port["arrived_home"] > 0 and
                   port["arrived_elsewhere"] > 0 for port in ports), "ports say how they steer, why, and with what result",
               ports)
        _, missing = arrived(one, acknowledged)
        tap.ok(not missing, "and is at the receiver", missing[:10])


main()
