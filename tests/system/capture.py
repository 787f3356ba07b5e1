#!/usr/bin/env python3
"""Packet captures: during the main job, of a port and of one session, bounded by size, time and a full disk."""
# timeout: 300
import os
import pwd
import re
import subprocess
import sys
import time

import messages
import world
from network import NetworkError
from system import Tap, practice

# A session that stays: greets, then says NOOP for each line on standard input; prints its own port first.
CLIENT = r"""
import socket, sys
sock = socket.create_connection((sys.argv[1], 25), 10)
print(sock.getsockname()[1], sock.recv(4096).decode().strip(), flush=True)
for line in sys.stdin:
    sock.sendall(b"NOOP\r\n")
    print(sock.recv(4096).decode().strip(), flush=True)
"""


def packets(path, *options):
    """tcpdump's lines; raises when the file is not whole."""
    result = subprocess.run(["tcpdump", "-nn", "-r", str(path), *options], capture_output=True, text=True, check=False)
    if result.returncode or "truncated" in result.stderr:
        raise NetworkError(result.stderr)
    return result.stdout.splitlines()


def refused(one, *words):
    try:
        one.appliance.cli("request", "capture", "start", *words)
    except NetworkError as error:
        return str(error)
    return "it was taken"


def capture(one, number):
    return next(item for item in one.appliance.show("captures") if item["capture"] == number)


def ended(one, number, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while capture(one, number)["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    return capture(one, number)


def start(one, *words):
    one.appliance.cli("request", "capture", "start", *words)
    return one.appliance.show("captures")[-1]


def main_job(tap, one):
    port = start(one, "port", "outside", "filter", "tcp port 25 or arp", "file", "job.pcapng", "time", "10m")
    small = start(one, "port", "inside", "size", "8k", "time", "10m")
    short = start(one, "port", "all", "filter", "udp port 9", "time", "1s")
    sents = [one.senders.send(message) for message in messages.generate() if message.id in ("plain", "mime", "8-bit")]
    tap.ok(one.wait(sents, 120), "mail flows while packets are copied", one.appliance.cli("show", "queue", check=False))
    one.appliance.cli("request", "capture", "stop", "id", str(port["capture"]))
    port = capture(one, port["capture"])
    lines = packets(port["file"])
    tap.ok(port["state"] == "stopped" and len(lines) == port["packets"] > 20 and port["missed"] == 0,
           "every packet that matched is in the file", f"{port} {len(lines)}")
    syn = [line for line in packets(port["file"], "tcp[tcpflags] == tcp-syn and dst port 25") if "Flags [S]" in line]
    tap.ok(syn and all("mss 1460" in line or "mss 1440" in line for line in syn), "our SYN with its MSS", syn[:3])
    answers = packets(port["file"], "tcp[tcpflags] == tcp-syn|tcp-ack and src port 25")
    tap.ok(answers, "and the exchanger's answer: both directions", lines[:10])
    other = [line for line in lines if not re.search(r"\.25[ :]", line) and "ARP" not in line]
    tap.ok(not other, "nothing that the filter leaves out", other[:5])
    out = packets(port["file"], "-vv", "dst port 25")
    tap.ok("cksum" in "".join(out) and "incorrect" not in "".join(out), "with the checksums of the wire", out[:5])
    text = open(port["file"], "rb").read()
    tap.ok(b"220 " in text and b"STARTTLS" in text and b"X-Practice-Id" not in text, "what TLS protects stays protected")
    mode = os.stat(port["file"])
    tap.ok((mode.st_mode & 0o777, mode.st_uid) == (0o600, pwd.getpwnam("millrace").pw_uid), "for nobody else to read", mode)
    small = ended(one, small["capture"])
    tap.ok(small["state"] == "ended: size reached" and os.path.getsize(small["file"]) == small["bytes"] <= 8192 and
           len(packets(small["file"])) == small["packets"] > 0, "a capture ends at its size, behind a whole packet", small)
    short = ended(one, short["capture"])
    tap.ok(short["state"] == "ended: time is over" and short["packets"] == 0 and not packets(short["file"]),
           "and at its time", short)


def one_session(tap, one):
    argv = one.network.command("sender", [sys.executable, "-c", CLIENT, world.LISTENER_IPV4])
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port, greeting = client.stdout.readline().split(" ", 1)
    tap.ok(greeting.startswith("220"), "a session is open", greeting)
    session = next(item["session"] for item in one.appliance.show("sessions", "in") if item["peer"].endswith(f":{port}"))
    of_one = start(one, "session", session, "time", "10m")
    sent = one.senders.send(next(message for message in messages.generate() if message.id == "plain"))
    for _ in range(5):
        client.stdin.write("\n")
        client.stdin.flush()
        client.stdout.readline()
    client.stdin.close()
    client.wait(10)
    one.wait([sent], 60)
    time.sleep(0.2)
    one.appliance.cli("request", "capture", "stop")
    of_one = capture(one, of_one["capture"])
    lines = packets(of_one["file"])
    tap.ok(len(lines) >= 10 and all(f".{port} " in line or f".{port}:" in line for line in lines),
           "a capture of a session has its packets and no others", "\n".join(lines))


def full_disk(tap, one):
    directory = os.path.dirname(one.appliance.show("captures")[0]["file"])
    uid = pwd.getpwnam("millrace").pw_uid
    # `ip netns exec` gave the daemon mounts of its own.
    inside = ["nsenter", "-t", str(one.appliance.process.pid), "-m"]
    mounted = subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", f"size=64k,uid={uid},mode=0700", "tmpfs", directory],
                             capture_output=True, check=False).returncode == 0
    if not mounted:
        tap.note("no small file system can be mounted here")
        return
    try:
        full = start(one, "port", "all", "time", "10m")
        sents = [one.senders.send(message) for message in messages.generate() if message.id in ("plain", "mime", "8-bit")]
        sents += [one.senders.send(message) for message in messages.generate() if message.id == "plain"]
        one.wait(sents, 120)
        full = ended(one, full["capture"])
        copy = one.network.directory / "full.pcapng"
        copy.write_bytes(subprocess.run([*inside, "cat", full["file"]], capture_output=True, check=True).stdout)
        lines = packets(copy)
        tap.ok(full["state"] == "ended: No space left on device" and len(lines) == full["packets"] > 0,
               "a full disk ends a capture, and what it has is whole", full)
    finally:
        subprocess.run([*inside, "umount", directory], check=False)


def main():
    with Tap() as tap, practice() as one:
        tap.ok("syntax error" in refused(one, "port", "outside", "filter", "tcp prot 25"), "a wrong filter is explained",
               refused(one, "port", "outside", "filter", "tcp prot 25"))
        tap.ok("no port 'nowhere'" in refused(one, "port", "nowhere"), "so is a port that there is not",
               refused(one, "port", "nowhere"))
        tap.ok("no session" in refused(one, "session", "12345"), "and a session", refused(one, "session", "12345"))
        tap.ok("without '/'" in refused(one, "port", "all", "file", "../x"), "a file stays in its directory")
        main_job(tap, one)
        tap.ok("File exists" in refused(one, "port", "all", "file", "job.pcapng"), "a file is never written over")
        one_session(tap, one)
        full_disk(tap, one)
        tap.ok(one.appliance.alive() and one.appliance.show("health")["healthy"], "and all is well")
        running = start(one, "port", "all")
        tap.ok(one.appliance.stop() == 0 and packets(running["file"]) is not None, "a stop ends a capture in good order")


main()
