"""Namespaces and links of the practice network, and the processes in them.

A network has a suffix of its own, so that two can stand side by side, and a note in /run/millrace/practice that tells
who made it: what a killed run left behind is found there and cleaned by the next one. Every process in one of its
namespaces was started by us, so cleaning ends those and no others.
"""
import ipaddress
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import time

import world

NOTES = pathlib.Path("/run/millrace/practice")
ROLES = ("sender", "internet", "appliance", "wire")
# Mail servers drop root and must still reach their files: not every checkout lies where they may look.
DIRECTORIES = pathlib.Path("/var/tmp")
EXIM_USER, EXIM_UID = "Debian-exim", 65533


class NetworkError(Exception):
    """The network cannot be built; the text says why."""


def sh(*argv, check=True, **options):
    result = subprocess.run([str(arg) for arg in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            stdin=subprocess.DEVNULL, errors="replace", **options)
    if check and result.returncode:
        raise NetworkError(f"{' '.join(map(str, argv))}: {result.stdout.strip() or result.returncode}")
    return result.stdout


def started_at(pid):
    """A living process's start time in clock ticks, or None: with the pid it names one process and no later one."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] == "Z" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


class Network:
    """`with Network() as net:` builds it and takes it down."""

    def __init__(self, link=None, kernel_appliance=False, one_port=False):
        """
        link: None, or a function(device, device) -> argv of a program that joins two devices; one runs in the namespace
              `wire` between the sender and the first port, one between the second port and the Internet
        one_port: the appliance has one port, on a switch with the sender and the Internet
        kernel_appliance: the ports get addresses of the kernel's; for trying the network without Millrace
        """
        self.suffix = secrets.token_hex(2)
        self.names = {role: f"mr-{role}-{self.suffix}" for role in ROLES}
        self.directory = DIRECTORIES / f"millrace-practice-{self.suffix}"
        self.link = link
        self.kernel_appliance = kernel_appliance
        self.one_port = one_port
        self.processes = []

    def __enter__(self):
        clean_leftovers()
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    # -- processes

    def command(self, role, argv):
        return ["ip", "netns", "exec", self.names[role]] + [str(arg) for arg in argv]

    def run(self, role, *argv, check=True, **options):
        return sh(*self.command(role, argv), check=check, **options)

    def spawn(self, role, argv, log, **options):
        """Starts a process in a namespace with its output in `log` (under the network's directory)."""
        with open(self.directory / log, "ab") as sink:
            process = subprocess.Popen(self.command(role, argv), stdin=subprocess.DEVNULL, stdout=sink,
                                       stderr=subprocess.STDOUT, start_new_session=True, **options)
        self.processes.append(process)
        return process

    # -- building

    def up(self):
        if os.geteuid() != 0:
            raise NetworkError("network namespaces need root")
        NOTES.mkdir(parents=True, exist_ok=True)
        note = {"owner": os.getpid(), "started_at": started_at(os.getpid()), "names": self.names,
                "directory": str(self.directory)}
        (NOTES / f"{self.suffix}.json").write_text(json.dumps(note))
        self.directory.mkdir(mode=0o755)
        for role, name in self.names.items():
            if role == "wire" and not self.link and not self.one_port:
                continue
            self._etc(role)
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        for role in ("sender", "internet"):
            # The kernel of the build machine may default to something else, and comparisons need one answer.
            self.run(role, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic", check=False)

        self._join()
        self._veth("appliance", "mgmt", "internet", "mgmt")
        self._addresses()

    def _join(self):
        """The appliance's ports with the sender and the Internet."""
        if self.one_port:
            self._switch([("appliance", world.PORTS[0]), ("sender", "net0"), ("internet", "net0")])
            return
        for number, (port, role) in enumerate(zip(world.PORTS, ("sender", "internet"))):
            if not self.link:
                self._veth("appliance", port, role, "net0")
                continue
            ends = f"wire{number}a", f"wire{number}b"
            self._veth("appliance", port, "wire", ends[0])
            self._veth(role, "net0", "wire", ends[1])
            for end in ends:
                self._bare("wire", end)
            self.spawn("wire", self.link(*ends), f"wire{number}.log")

    def _etc(self, role):
        """What `ip netns exec` lays over /etc: Exim's user, which only its package would create, and the resolver."""
        etc = pathlib.Path("/etc/netns") / self.names[role]
        etc.mkdir(parents=True, exist_ok=True)
        (etc / "resolv.conf").write_text(f"nameserver {world.DNS_SERVER}\noptions timeout:1 attempts:2\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        passwd, group = pathlib.Path("/etc/passwd").read_text(), pathlib.Path("/etc/group").read_text()
        if f"\n{EXIM_USER}:" not in passwd:
            passwd += f"{EXIM_USER}:x:{EXIM_UID}:{EXIM_UID}::/nonexistent:/usr/sbin/nologin\n"
        if f"\n{EXIM_USER}:" not in group:
            group += f"{EXIM_USER}:x:{EXIM_UID}:\n"
        (etc / "passwd").write_text(passwd)
        (etc / "group").write_text(group)

    def _veth(self, role_a, name_a, role_b, name_b):
        sh("ip", "link", "add", name_a, "netns", self.names[role_a], "numrxqueues", 2, "numtxqueues", 2, "type", "veth",
           "peer", "name", name_b, "netns", self.names[role_b], "numrxqueues", 2, "numtxqueues", 2)
        for role, name in ((role_a, name_a), (role_b, name_b)):
            # Frames must look as they would on a wire: checksums finished, nothing larger than the MTU.
            if not (role == "appliance" and name in world.PORTS):
                self.run(role, "sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0", check=False)
            self.run(role, "ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        if role_a == "appliance" and name_a in world.PORTS:
            self._bare(role_a, name_a)
        for role, name in ((role_a, name_a), (role_b, name_b)):
            sh("ip", "-n", self.names[role], "link", "set", name, "up")

    def _switch(self, members):
        """A bridge in `wire` that joins devices of other namespaces."""
        wire = self.names["wire"]
        sh("ip", "-n", wire, "link", "add", "switch", "type", "bridge", "mcast_snooping", 0)
        sh("ip", "-n", wire, "link", "set", "switch", "up")
        for number, (role, name) in enumerate(members):
            self._veth(role, name, "wire", f"wire{number}")
            sh("ip", "-n", wire, "link", "set", f"wire{number}", "master", "switch")

    def _bare(self, role, name):
        """A device that belongs to a program and not to the kernel's stack, which would answer, too."""
        if self.kernel_appliance and role == "appliance":
            return
        self.run(role, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
        sh("ip", "-n", self.names[role], "link", "set", name, "arp", "off", "promisc", "on")

    def _address(self, role, device, address, prefix):
        extra = ["nodad"] if ":" in address else []
        sh("ip", "-n", self.names[role], "addr", "add", f"{address}/{prefix}", "dev", device, *extra)

    def _addresses(self):
        self._address("sender", "net0", world.SENDER_IPV4, 25)
        self._address("sender", "net0", world.SENDER_IPV6, 64)
        self._address("appliance", "mgmt", world.MGMT_APPLIANCE, 30)
        self._address("internet", "mgmt", world.MGMT_INTERNET, 30)
        self._address("internet", "net0", world.GATEWAY_IPV4, 24)
        self._address("internet", "net0", world.GATEWAY_IPV6, 64)
        for one in world.EXCHANGERS:
            for address in one.addresses():
                self._address("internet", "lo", address, 128 if ":" in address else 32)
        self._address("internet", "lo", world.REFUSING_IPV4, 32)
        sh("ip", "-n", self.names["internet"], "route", "add", "blackhole", f"{world.SILENT_IPV4}/32")
        if self.kernel_appliance:
            self._kernel_appliance()

    def _kernel_appliance(self):
        name = self.names["appliance"]
        inside, outside = world.PORTS
        self._address("appliance", inside, world.LISTENER_IPV4, 25)
        self._address("appliance", inside, world.LISTENER_IPV6, 64)
        for address in world.SOURCES_IPV4 + world.SOURCES_IPV6:
            self._address("appliance", outside, address, 64 if ":" in address else 24)
        sh("ip", "-n", name, "route", "add", "default", "via", world.GATEWAY_IPV4)
        sh("ip", "-n", name, "-6", "route", "add", "default", "via", world.GATEWAY_IPV6)

    # -- taking down

    def down(self):
        destroy(self.names, self.directory)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        (NOTES / f"{self.suffix}.json").unlink(missing_ok=True)


def _pids(name):
    return [int(pid) for pid in sh("ip", "netns", "pids", name, check=False).split() if pid.isdigit()]


def _end_processes(names):
    for sign, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        deadline = time.monotonic() + patience_s
        while True:
            alive = [pid for name in names for pid in _pids(name)]
            # The one that is cleaning may itself stand in a namespace.
            alive = [pid for pid in alive if pid != os.getpid()]
            if not alive:
                return
            for pid in alive:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)


def destroy(names, directory):
    """Ends what runs in the namespaces, then removes them, their links and the directory. Never fails."""
    existing = {line.split()[0] for line in sh("ip", "netns", "list", check=False).splitlines() if line.strip()}
    mine = [name for name in names.values() if name in existing]
    _end_processes(mine)
    for name in mine:
        sh("ip", "netns", "del", name, check=False)
    for name in names.values():
        shutil.rmtree(pathlib.Path("/etc/netns") / name, ignore_errors=True)
    try:
        os.rmdir("/etc/netns")
    except OSError:
        pass
    shutil.rmtree(directory, ignore_errors=True)


def clean_leftovers():
    """Takes down the networks whose maker is gone. Returns how many."""
    cleaned = 0
    for path in sorted(NOTES.glob("*.json")) if NOTES.exists() else []:
        try:
            note = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if started_at(note["owner"]) == note["started_at"]:
            continue
        destroy(note["names"], pathlib.Path(note["directory"]))
        path.unlink(missing_ok=True)
        cleaned += 1
    return cleaned


def in_network(address, network):
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)
