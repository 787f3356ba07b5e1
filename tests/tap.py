"""Reads the Test Anything Protocol, so that every test case counts and none that vanished counts as passed."""
import re
from typing import NamedTuple

RESULT = re.compile(r"^(not )?ok\b(?:\s+\d+)?\s*(?:-\s*)?(.*?)(?:\s*#\s*(SKIP|TODO)\b\s*(.*))?$", re.I)
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*SKIP\s*(.*))?", re.I)

SKIPPED_STATUS = 77


class Verdict(NamedTuple):
    """Names of cases."""
    passed: list
    failed: list
    skipped: list


def judge(output, status, late=None):
    """Judges one test program.

    output: what it wrote; without TAP in it the exit status is the one result (0 passed, 77 skipped)
    status: its exit status, negative for a signal
    late: None, or a text that says which time it overran
    """
    verdict = Verdict([], [], [])
    plan = None
    for line in output.splitlines():
        planned, result = PLAN.match(line), RESULT.match(line)
        if planned:
            plan = (plan or 0) + int(planned.group(1))
            if planned.group(1) == "0" and planned.group(2):
                verdict.skipped.append(planned.group(2))
        elif result:
            refused, text, directive, why = result.groups()
            if directive:
                verdict.skipped.append(f"{text} ({why})" if why else text)
            else:
                (verdict.failed if refused else verdict.passed).append(text)

    seen = sum(map(len, verdict))
    if late:
        verdict.failed.append(late)
    elif seen == 0 and plan is None:
        {0: verdict.passed, SKIPPED_STATUS: verdict.skipped}.get(status, verdict.failed).append(f"exit status {status}")
    elif status not in (0, SKIPPED_STATUS) and not verdict.failed:
        verdict.failed.append(f"exit status {status}")
    elif plan is None and seen or plan is not None and seen < plan:
        verdict.failed.append(f"planned {plan} results and gave {seen}" if plan else "no plan: cut short?")
    elif seen == 0:
        verdict.failed.append("planned no test")
    return verdict
