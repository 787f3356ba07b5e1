"""Millrace itself in its namespace: its configuration for the practice world, its process, its CLI."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time

import world
from network import NetworkError, sh

USER = "millrace"

CONFIG = """\
# The practice appliance: mail comes in by the port "inside" and leaves by the port "outside".
system {{
    hostname {hostname};
    workers {workers};
    worker-cores {cores};
    idle sleep;
    hugepages {hugepages};
    memory {memory};
    user {user};
    state-directory {directory}/state;
    log {{ file {directory}/log/millraced.log; level {level}; }}
    events {{ directory {directory}/events; }}
    management {{ socket {directory}/run/millrace.sock; metrics 127.0.0.1:9464; }}
}}
port inside {{
    device "net_af_packet0,iface={inside},{queues}";
    address {listener4}/25;
    address {listener6}/64;
{between_ports}{source_addresses}
    route 0.0.0.0/0 {gateway4};
    route ::/0 {gateway6};
}}
certificate default {{ self-signed; }}
listener relay {{
    address [ {listener4} {listener6} ];
    tls starttls;
    certificate default;
    relay-from [ {sender_net4} {sender_net6} ];
    trusted-headers-from [ {sender_net4} {sender_net6} ];
    long-lines accept;
    tenant practice;
    pool main;
    limits {{ recipients 1000; message-size 50m; }}
}}
listener submission {{
    address [ {listener4} {listener6} ];
    tcp-port {submission};
    tls starttls; require-tls true; require-auth true;
    certificate default;
    users-file {directory}/users;
    pool main;
}}
listener submissions {{
    address [ {listener4} {listener6} ];
    tcp-port {submissions};
    tls implicit; require-auth true;
    certificate default;
    users-file {directory}/users;
    pool main;
}}
{sources}
pool main {{ {pool} }}
destination default {{
    tls may;
    timeouts {{ connect {connect}; }}
}}
retry {{ initial {retry}; max 30s; factor 2; jitter 10; expire {expire}; delay-notice 2m;
        postmaster postmaster@{hostname}; }}
spool {{ directory {directory}/spool; size {spool_size}; segment-size 64m; }}
resolver {{
{stubs}
    trust-anchor-file {anchor};
    allow-private-addresses true;
    timeout 10s;
}}
{extra}"""


class Appliance:
    def __init__(self, network, build, anchor, **options):
        """
        build: the build directory that holds millraced and millrace
        anchor: the DNS trust anchor's file
        options: workers, cores, hugepages (bool), memory, level, retry, expire, spool_size, connect, extra (configuration
                 text)
        """
        self.network = network
        self.build = pathlib.Path(build)
        self.directory = network.directory / "appliance"
        self.config = self.directory / "millrace.conf"
        self.socket = self.directory / "run" / "millrace.sock"
        self.log = self.directory / "log" / "millraced.log"
        self.events_directory = self.directory / "events"
        self.anchor = anchor
        self.options = dict(workers=2, cores="[ 0 1 ]", hugepages=False, memory="512m", level="info", retry="4s",
                            expire="5m", spool_size="1g", connect="3s", extra="")
        unknown = set(options) - set(self.options)
        if unknown:
            raise ValueError(f"no such option: {', '.join(sorted(unknown))}")
        self.options.update(options)
        self.process = None

    # -- files

    def program(self, name):
        for path in (self.build / "control" / "daemon" / name, self.build / "control" / "cli" / name,
                     self.build / name):
            if path.exists():
                return path
        raise NetworkError(f"{name} is not built in {self.build}: run board/build")

    def write_config(self):
        try:
            owner = pwd.getpwnam(USER)
        except KeyError:
            raise NetworkError(f"no user '{USER}': run board/setup") from None
        for name in ("", "state", "log", "events", "run", "spool"):
            path = self.directory / name
            path.mkdir(mode=0o755, exist_ok=True)
            os.chown(path, owner.pw_uid, owner.pw_gid)
        shutil.copyfile(self.anchor, self.directory / "trust-anchor")
        self._users(owner)
        options = dict(self.options, hugepages="true" if self.options["hugepages"] else "false")
        one_port = getattr(self.network, "one_port", False)
        out = "inside" if one_port else "outside"
        queues = f"qpairs={options['workers']},qdisc_bypass=1,framecnt=2048,blocksz=65536"
        between = "" if one_port else f'}}\nport outside {{\n    device "net_af_packet1,iface={world.PORTS[1]},{queues}";\n'
        sources = [f"source out{number} {{ port {out}; address {ipv4}; address6 {ipv6}; ehlo-name {world.HOSTNAME}; }}"
                   for number, (ipv4, ipv6) in enumerate(zip(world.SOURCES_IPV4, world.SOURCES_IPV6), 1)]
        text = CONFIG.format(
            hostname=world.HOSTNAME, user=USER, directory=self.directory, anchor=self.directory / "trust-anchor",
            inside=world.PORTS[0], queues=queues, between_ports=between,
            listener4=world.LISTENER_IPV4, listener6=world.LISTENER_IPV6,
            submission=world.ENTRIES["submission"], submissions=world.ENTRIES["submissions"],
            sender_net4=world.SENDER_NET_IPV4, sender_net6=world.SENDER_NET_IPV6,
            gateway4=world.GATEWAY_IPV4, gateway6=world.GATEWAY_IPV6,
            source_addresses="\n".join([f"    address {one}/24;" for one in world.SOURCES_IPV4] +
                                       [f"    address {one}/64;" for one in world.SOURCES_IPV6]),
            sources="\n".join(sources),
            pool=" ".join(f"source out{number} {{ weight 1; }}" for number in range(1, len(sources) + 1)),
            stubs="\n".join(f"    stub-zone {zone} {{ server {world.DNS_SERVER}; }}" for zone in world.STUB_ZONES),
            **options)
        self.config.write_text(text)

    def _users(self, owner):
        """Who may authenticate: one user, hashed."""
        hashed = sh("openssl", "passwd", "-6", world.PASSWORD).strip()
        path = self.directory / "users"
        path.write_text(f"{world.USER}:{hashed}:practice\n")
        path.chmod(0o600)
        os.chown(path, owner.pw_uid, owner.pw_gid)

    # -- process

    def start(self, timeout_s=60):
        """Starts millraced and waits until it says that it is ready."""
        self.write_config()
        notify = self.directory / "run" / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(notify))
            notify.chmod(0o777)
            sock.settimeout(0.2)
            env = dict(os.environ, NOTIFY_SOCKET=str(notify))
            self.process = self.network.spawn("appliance", [self.program("millraced"), "--config", self.config],
                                              "millraced.out", env=env)
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise NetworkError(f"millraced ended with status {self.process.returncode}:\n{self.diagnostics()}")
                try:
                    if b"READY=1" in sock.recv(4096).splitlines():
                        return
                except socket.timeout:
                    pass
        raise NetworkError(f"millraced is not ready after {timeout_s} s:\n{self.diagnostics()}")

    def diagnostics(self, lines=40):
        """The end of what it said, on its standard output and in its log."""
        text = []
        for path in (self.network.directory / "millraced.out", self.log):
            if path.exists():
                text += [f"--- {path}"] + path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(text)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout_s=40):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self):
        """As a power cut would, but that the kernel keeps what was written."""
        self.process.kill()
        self.process.wait(20)

    # -- asking it

    def cli(self, *words, check=True):
        """Runs one command of the CLI and returns its output."""
        result = subprocess.run([str(self.program("millrace")), "--socket", str(self.socket), *words],
                                capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
        if check and result.returncode:
            raise NetworkError(f"millrace {' '.join(words)}: {(result.stderr or result.stdout).strip()}")
        return result.stdout

    def show(self, *words):
        """A show command's data."""
        return json.loads(self.cli("show", *words, "|", "display", "json"))

    def ledger(self):
        return self.show("health")["ledger"]

    def metrics(self):
        """The metrics endpoint's samples: {"name{labels}": value}."""
        code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9464/metrics', timeout=5).read().decode())"
        text = self.network.run("appliance", "/usr/bin/python3", "-c", code)
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def worker_cycles(self):
        """[(busy, idle)] TSC cycles of each worker so far."""
        metrics = self.metrics()
        return [tuple(metrics[f'millrace_worker_{what}_cycles_total{{worker="{worker}"}}'] for what in ("busy", "idle"))
                for worker in range(self.options["workers"])]

    def events(self):
        """All events so far, in order; rotated files first."""
        made = []
        for path in sorted(self.events_directory.glob("events*.jsonl"), key=lambda one: (one.name == "events.jsonl",
                                                                                        one.name)):
            for line in path.read_text(errors="replace").splitlines():
                try:
                    made.append(json.loads(line))
                except ValueError:
                    # The last line may be half written.
                    pass
        return made
