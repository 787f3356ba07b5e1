#!/usr/bin/env python3
"""The practice network with Millrace in it: shows the main job, or stays up for you to try.

  practice.py [--stay] [--build DIR] [--hugepages] [--no-burst] [--keep-on-failure]

Exits 0 only when what the clients were told, what the receivers stored and the appliance's ledger and events agree.
"""
import argparse
import os
import pathlib
import signal
import subprocess
import sys
import termios
import time

import burst
import check
import messages
import show
from appliance import Appliance
from dns import Dns
from network import Network, NetworkError, clean_leftovers
from patience import Patience
from receivers import Receivers
from senders import Senders

ROOT = pathlib.Path(__file__).resolve().parents[2]


def say(text):
    print(show.paint("==>", "bold") + " " + text, flush=True)


def note(text):
    print("    " + show.paint(text, "dim"), flush=True)


class Practice:
    """Everything that stands: network, DNS, receivers, senders, appliance."""

    def __init__(self, network, build, **options):
        self.network = network
        self.dns = Dns(network)
        self.receivers = Receivers(network)
        self.senders = Senders(network)
        self.appliance = Appliance(network, build, self.dns.anchor, **options)
        self._stored = {}

    def start(self, progress=lambda text: None):
        began = time.monotonic()
        self.dns.start()
        progress(f"DNS: {len(self.dns.zones)} zones, signed ({time.monotonic() - began:.1f} s)")
        self.receivers.start()
        progress(f"receivers: Postfix and Exim answer ({time.monotonic() - began:.1f} s)")
        self.senders.start()
        progress(f"senders: swaks, smtplib, a Postfix with Millrace as its smart host ({time.monotonic() - began:.1f} s)")
        self.appliance.start()
        progress(f"Millrace is ready ({time.monotonic() - began:.1f} s)")

    def stored(self):
        return check.read_store(self.receivers.maildirs(), self._stored)

    def wait(self, sents, timeout_s, progress=lambda text: None):
        """Until every acknowledged recipient came to an end that the receivers show and the queue is empty."""
        patience, said = Patience(timeout_s), 0.0
        while True:
            stored = self.stored()
            ledger = self.appliance.ledger()
            if check.complete(sents, stored) and ledger["queued"] == 0:
                return True
            if not patience.lasts((len(stored), ledger)):
                return False
            if not self.appliance.alive():
                return False
            if time.monotonic() - said > 5:
                said = time.monotonic()
                progress(f"{len(stored)} stored, {ledger['queued']} queued")
            time.sleep(0.5)


def send_all(practice, chosen):
    sents = []
    for message in chosen:
        sent = practice.senders.send(message)
        sents.append(sent)
        taken = len(sent.acknowledged())
        text = (f"{message.id:13} {show.fit(message.what, 42)} {show.size(len(message.data)):>8}  "
                f"{taken} of {len(message.recipients)} accepted")
        if taken < len(message.recipients):
            text += f": {next(iter(sent.answers.values()))}"
        note(text)
    return sents


def report(practice, sents):
    """Prints the table and returns the problems."""
    events = practice.appliance.events()
    receptions = {event["id"]: event for event in events if event["type"] == "Reception"}
    all_ways, known = show.ways(events), set()
    print(show.head())
    for sent in sents:
        mine = show.ids_of(sent, receptions)
        known |= mine
        print("\n".join(show.rows(sent, [way for one in sorted(mine) for way in all_ways.get(one, [])]) +
                        show.delays(events, mine)))
    print("\n".join(show.notification_rows(receptions, all_ways, known, sents)))

    stored = practice.stored()
    findings = check.judge(sents, stored)
    problems = list(findings.problems)
    ledger = practice.appliance.ledger()
    problems += check.ledger_problems(ledger, sents, findings, len(stored))
    problems += check.terminal_event_problems(events, findings, sents)
    acknowledged = sum(len(sent.acknowledged()) for sent in sents)
    say(f"{acknowledged} recipients acknowledged; {findings.stored} stored once and byte for byte, "
        f"{findings.bounced} bounced with the right notification, {findings.silent} as silent as was asked")
    note("ledger: " + ", ".join(f"{key} {ledger[key]}" for key in ("accepted", "generated", "queued", "delivered",
                                                                   "bounced", "expired", "removed", "discarded",
                                                                   "quarantined")))
    return problems


def the_set(practice):
    """Sends every message of the set and shows its way; returns the problems."""
    chosen = messages.generate()
    say(f"sending {len(chosen)} messages")
    sents = send_all(practice, chosen)
    say("waiting for the last of them (one greylists, one exchanger is silent)")
    finished = practice.wait(sents, 90, note)
    if not practice.appliance.alive():
        return ["millraced died"]
    say("the way of each message")
    return report(practice, sents) + ([] if finished else ["not all mail came to an end in time"])


def prompt(practice):
    """The CLI, until it ends."""
    cli, socket = practice.appliance.program("millrace"), practice.appliance.socket
    say("the practice network is up; `exit` or Ctrl-C takes it down")
    note(f"from another terminal: {cli} --socket {socket} show queue")
    for role, what in (("sender", "clients"), ("internet", "receivers, DNS"), ("appliance", "Millrace")):
        note(f"ip netns exec {practice.network.names[role]} bash    # {what}")
    note(f"configuration: {practice.appliance.config}    mail that arrived: {practice.receivers.store}")
    if sys.stdin.isatty():
        # Ctrl-C ends the CLI in the middle of a line: the terminal must be as it was all the same.
        before = termios.tcgetattr(sys.stdin)
        try:
            subprocess.run([str(cli), "--socket", str(socket)], check=False)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    else:
        for line in sys.stdin:
            if line.strip() in ("exit", "quit"):
                break
            if line.strip():
                print(practice.appliance.cli(*line.split(), check=False), end="", flush=True)


def restore_hugepages():
    """As they were before board/run."""
    lib = ROOT / "board" / "lib"
    subprocess.run(["bash", "-c", f". '{lib}/say.sh'; . '{lib}/hugepages.sh'; hugepages_restore"], check=False)


def main():
    parser = argparse.ArgumentParser(prog="board/run")
    parser.add_argument("--stay", action="store_true", help="leave the network up with a CLI prompt")
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--hugepages", action="store_true")
    parser.add_argument("--only-burst", action="store_true", help="without the set of messages")
    parser.add_argument("--no-burst", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    os.umask(0o022)

    cleaned = clean_leftovers()
    if cleaned:
        note(f"took down {cleaned} practice network(s) that an earlier run had left")
    say("practice network: sender, appliance, Internet")
    problems, practice = [], None
    try:
        with Network() as network:
            practice = Practice(network, args.build, hugepages=args.hugepages)
            practice.start(note)
            if args.stay:
                prompt(practice)
                return 0
            if not args.only_burst:
                problems += the_set(practice)
            if not args.no_burst:
                problems += burst.run(practice, say, note)
            if practice.appliance.stop() != 0:
                problems.append(f"millraced ended with status {practice.appliance.process.returncode} on SIGTERM")
            if problems:
                print(practice.appliance.diagnostics(20))
    except NetworkError as error:
        problems.append(str(error))
    except KeyboardInterrupt:
        print()
        say("interrupted; the practice network is down")
        return 0 if args.stay else 130
    for problem in problems[:40]:
        print(show.paint("not ok: ", "bad") + problem)
    if not problems:
        say(show.paint("all agree: the clients, the receivers, the ledger and the events", "ok"))
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        restore_hugepages()
