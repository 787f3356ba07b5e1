#!/usr/bin/env python3
"""Two practice networks stand side by side; what a killed run leaves behind is removed by the next one, and only that."""
# timeout: 60
import os
import pathlib
import signal
import subprocess
import sys
import time

import network
from network import NOTES, Network, clean_leftovers
from system import Tap

CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
from network import Network
with Network() as net:
    net.spawn("internet", ["sleep", "600"], "sleep.log")
    print(net.suffix, flush=True)
    time.sleep(600)
"""


def standing(suffix):
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return f"-{suffix}" in names


def start():
    child = subprocess.Popen([sys.executable, "-B", "-c", CHILD], stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()


def main():
    with Tap() as tap:
        first, one = start()
        second, two = start()
        tap.ok(one != two and standing(one) and standing(two), "two networks stand side by side")
        sleeper = int(subprocess.run(["ip", "netns", "pids", f"mr-internet-{one}"], capture_output=True, text=True,
                                     check=True).stdout.split()[0])
        first.kill()
        first.wait()
        tap.ok(standing(one) and network.started_at(sleeper), "a killed run leaves its network and its processes")
        with Network() as third:
            tap.ok(not standing(one) and not (NOTES / f"{one}.json").exists(), "the next run removes it")
            tap.ok(network.started_at(sleeper) is None, "and ends what ran in it")
            tap.ok(standing(two) and second.poll() is None, "and leaves alone the one that is in use")
            tap.ok(standing(third.suffix), "while its own stands")
            directory = third.directory
        tap.ok(not standing(third.suffix) and not directory.exists(), "and goes with it")
        second.send_signal(signal.SIGINT)
        second.wait(20)
        deadline = time.monotonic() + 5
        while standing(two) and time.monotonic() < deadline:
            time.sleep(0.1)
        tap.ok(not standing(two), "Ctrl-C takes a network down")
        tap.ok(clean_leftovers() == 0, "nothing is left over")
        etc = pathlib.Path("/etc/netns")
        left = [name for name in (os.listdir(etc) if etc.exists() else []) if one in name or two in name]
        tap.ok(not left, "nor in /etc/netns", left)


main()
