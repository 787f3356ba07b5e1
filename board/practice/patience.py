"""Waiting on a machine whose speed nobody knows."""
import time


class Patience:
    """Goes on while something moves: gives up after timeout_s without a change, or after ten times as long in all."""

    def __init__(self, timeout_s):
        self.timeout_s = timeout_s
        self.began = self.moved = time.monotonic()
        self.state = None

    def lasts(self, state):
        """True: wait on. @param state anything that changes with progress"""
        now = time.monotonic()
        if state != self.state:
            self.state, self.moved = state, now
        return now - self.moved < self.timeout_s and now - self.began < 10 * self.timeout_s
