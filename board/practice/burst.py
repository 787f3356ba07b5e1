"""Ten seconds of load through the practice network, from perf/'s generator in the sender's namespace to its sink in the
Internet's, both over kernel sockets and in one process, so that it knows of each message whether it arrived, and when."""
import json
import subprocess
import time

import show
import world
from network import NetworkError
from patience import Patience

SECONDS, SESSIONS, SIZE = 10, 24, 10240


def _load(practice):
    """Runs the generator and the sink; returns ({name: value}, what it said)."""
    network = practice.network
    program = practice.appliance.build / "perf" / "load" / "millrace-load"
    if not program.exists():
        program = practice.appliance.build / "perf" / "millrace-load"
    if not program.exists():
        raise NetworkError(f"millrace-load is not built in {practice.appliance.build}")
    figures = network.directory / "burst.json"
    sink = world.exchanger("mx.sink.example").ipv4
    result = subprocess.run(
        [str(program), "--generate", world.SENDER_IPV4, "--generate-netns", network.names["sender"],
         "--target", f"{world.LISTENER_IPV4}:25", "--sink", sink, "--sink-netns", network.names["internet"],
         "--domains", "sink.example", "--starttls", "--sink-starttls", "--sessions", str(SESSIONS),
         "--seconds", str(SECONDS), "--size", str(SIZE), "--drain", "60", "--no-huge", "--json", str(figures)],
        capture_output=True, text=True, errors="replace", timeout=180, check=False, stdin=subprocess.DEVNULL)
    said = result.stdout + result.stderr
    if not figures.exists():
        raise NetworkError(f"millrace-load ended with status {result.returncode}:\n{said[-2000:]}")
    with open(figures, encoding="utf-8") as file:
        return {one["name"].split(".", 1)[1]: one["value"] for one in json.load(file)}, said


def run(practice, say, note):
    """Returns a list of problems."""
    say(f"burst: {SECONDS} s, {SESSIONS} sessions, {show.size(SIZE)} messages, STARTTLS on both sides, durable before each 250")
    before = practice.appliance.ledger()
    cycles_before = practice.appliance.worker_cycles()
    handed_before = [worker["handed_off"] for worker in practice.appliance.show("workers")]
    try:
        figures, _ = _load(practice)
        cycles_after = practice.appliance.worker_cycles()
    except (NetworkError, subprocess.TimeoutExpired) as error:
        return [f"burst: {error}"]
    patience = Patience(30)
    after = practice.appliance.ledger()
    while after["queued"] and patience.lasts(after):
        time.sleep(0.2)
        after = practice.appliance.ledger()
    note(f"rate       {figures['messages_per_second']:8.0f} messages/s acknowledged")
    note(f"accepted   p50 {figures['accept_p50_ms']:7.2f} ms   p99 {figures['accept_p99_ms']:8.2f} ms   (end of data to 250)")
    note(f"relayed    p50 {figures['relay_p50_ms']:7.2f} ms   p99 {figures['relay_p99_ms']:8.2f} ms   p99.9 "
         f"{figures['relay_p999_ms']:8.2f} ms   (to the receiver)")
    workers = practice.appliance.show("workers")
    for worker, was, now, handed in zip(workers, cycles_before, cycles_after, handed_before):
        busy, idle = now[0] - was[0], now[1] - was[1]
        note(f"worker {worker['worker']}   {100 * busy / max(busy + idle, 1):5.1f} % busy, {worker['handed_off'] - handed} frames "
             "handed to another worker")
    acknowledged, stored = int(figures["acknowledged"]), int(figures["stored"])
    note(f"{acknowledged} acknowledged, {stored} stored at the sink, {int(figures['lost'])} lost, "
         f"{int(figures['duplicated'])} doubled")
    problems = []
    if acknowledged == 0:
        problems.append("burst: nothing was acknowledged")
    if figures["lost"] or figures["unknown"] or figures["duplicated"]:
        problems.append(f"burst: {int(figures['lost'])} lost, {int(figures['duplicated'])} doubled, "
                        f"{int(figures['unknown'])} unknown")
    for key, seen in (("accepted", acknowledged), ("delivered", stored), ("queued", 0)):
        if after[key] - (before[key] if key != "queued" else 0) != seen:
            problems.append(f"burst: the ledger's {key} grew by {after[key] - before[key]}, seen from outside {seen}")
    return problems
