"""What the system tests share: TAP, and the practice network around the build under test."""
import collections
import contextlib
import os
import sys
import time

from network import Network
from patience import Patience
from practice import Practice


class Tap:
    """`with Tap() as tap:` prints the results, the plan, and what went wrong; exits 1 if anything failed."""

    def __init__(self):
        self.count, self.failed = 0, 0

    def __enter__(self):
        return self

    def ok(self, fine, text, detail=""):
        self.count += 1
        self.failed += not fine
        print(f"{'ok' if fine else 'not ok'} {self.count} - {text}", flush=True)
        for line in str(detail).splitlines() if not fine else []:
            print(f"# {line}")
        return bool(fine)

    def note(self, text):
        for line in str(text).splitlines():
            print(f"# {line}", flush=True)

    def __exit__(self, kind, error, trace):
        if kind and issubclass(kind, Exception):
            self.ok(False, f"the test came to its end: {kind.__name__}", error)
        print(f"1..{self.count}", flush=True)
        sys.stdout.flush()
        if kind is None or issubclass(kind, Exception):
            sys.exit(1 if self.failed else 0)


@contextlib.contextmanager
def practice(link=None, one_port=False, **options):
    """The whole practice network with millraced of the build under test, up and ready."""
    with Network(link=link, one_port=one_port) as network:
        one = Practice(network, os.environ["MILLRACE_BUILD"], **options)
        try:
            one.start()
            yield one
        except BaseException:
            for line in one.appliance.diagnostics(60).splitlines():
                print(f"# {line}")
            raise


def drained(one, timeout_s):
    """Waits until the queue is empty, or nothing leaves it for so long; returns the ledger."""
    patience = Patience(timeout_s)
    while True:
        ledger = one.appliance.ledger()
        if ledger["queued"] == 0 or not patience.lasts(ledger):
            return ledger
        time.sleep(0.5)


def arrived(one, identities, timeout_s=30):
    """Waits until each is stored at a receiver, which has a queue of its own before its store.

    Returns how many copies of each identity there are, and those that are missing."""
    patience = Patience(timeout_s)
    while True:
        copies = collections.Counter(item.identity for item in one.stored())
        missing = [identity for identity in identities if not copies[identity]]
        if not missing or not patience.lasts(len(missing)):
            return copies, missing
        time.sleep(0.5)
