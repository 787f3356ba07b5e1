#!/usr/bin/env python3
"""A reload loses no session and takes effect; a configuration with an error changes nothing and is explained."""
# timeout: 240
import subprocess
import sys
import time

import world
from system import Tap, drained, practice

# A session by hand, run in the sender's namespace: says each reply, waits for a line on standard input between steps.
CLIENT = r"""
import socket, sys
sock = socket.create_connection((sys.argv[1], 25), 10)
file = sock.makefile("rwb")
def reply():
    lines = []
    while True:
        line = file.readline().decode().rstrip()
        lines.append(line)
        if line[3:4] != "-":
            print(" | ".join(lines), flush=True)
            return
reply()
for line in sys.stdin:
    line = line.rstrip("\n")
    file.write(line.replace("\\n", "\r\n").encode() + b"\r\n")
    file.flush()
    reply()
"""


class Session:
    def __init__(self, one):
        argv = one.network.command("sender", [sys.executable, "-c", CLIENT, world.LISTENER_IPV4])
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.greeting = self.process.stdout.readline().strip()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def main():
    with Tap() as tap, practice() as one:
        before = Session(one)
        tap.ok(before.greeting.startswith("220 "), "a session is open", before.greeting)
        before.say("EHLO before.crm.example")
        before.say("MAIL FROM:<news@crm.example>")
        tap.ok(before.say("RCPT TO:<reader@normal.example>").startswith("250"), "in the middle of a transaction")

        text = one.appliance.config.read_text()
        one.appliance.config.write_text(text.replace("message-size 50m", "message-size 1m"))
        tap.note(one.appliance.cli("request", "config", "reload"))
        after = Session(one)
        sizes = {name: session.say(f"EHLO {name}.crm.example") for name, session in (("after", after),)}
        tap.ok("SIZE 1048576" in sizes["after"], "a new session sees the new limit", sizes)
        tap.ok(before.say("DATA").startswith("354"), "the old session goes on")
        answer = before.say(r"X-Practice-Id: reload\nSubject: reload\n\nOver a reload.\n.")
        tap.ok(answer.startswith("250"), "and its message is accepted", answer)

        one.appliance.config.write_text(text.replace("long-lines accept", "long-lines perhaps"))
        refused = subprocess.run([str(one.appliance.program("millrace")), "--socket", str(one.appliance.socket),
                                  "request", "config", "reload"], capture_output=True, text=True, check=False)
        said = refused.stdout + refused.stderr
        line = next(number for number, each in enumerate(one.appliance.config.read_text().splitlines(), 1)
                    if "perhaps" in each)
        tap.ok(f"{line}" in said and "perhaps" in said, "an error names its line and its reason", said)
        later = Session(one)
        tap.ok("SIZE 1048576" in later.say("EHLO later.crm.example"), "and nothing has changed")
        # The gauge of the queue is a moment old: it may not know of the message yet.
        deadline = time.monotonic() + 30
        while not any(item.identity == "reload" for item in one.stored()) and time.monotonic() < deadline:
            time.sleep(0.1)
        tap.ok(any(item.identity == "reload" for item in one.stored()), "the message arrived")
        tap.ok(drained(one, 30)["queued"] == 0, "and left the queue")


main()
