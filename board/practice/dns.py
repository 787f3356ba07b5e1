"""The practice world's DNS: NSD, authoritative for the zone `example` and for each mail domain below it, signed with
ECDSA P-256 but for the domains that are not, with a key-signing key of the top zone as the only trust anchor."""
import socket
import struct
import time
from ipaddress import ip_address

import world
from network import NetworkError, sh

ALGORITHM = "ECDSAP256SHA256"
TTL_S = 300


def _address_records(host, addresses):
    return [f"{host}. IN {'AAAA' if ':' in address else 'A'} {address}" for address in addresses]


def _zone(name, records):
    """A zone's text. The serial is the time, so that two runs never share one."""
    return "\n".join([
        f"$ORIGIN {name}.", f"$TTL {TTL_S}",
        f"@ IN SOA ns.{world.TOP_ZONE}. hostmaster.{world.TOP_ZONE}. {int(time.time())} 3600 600 86400 60",
        f"@ IN NS ns.{world.TOP_ZONE}.",
    ] + records) + "\n"


def _domain_records(domain):
    records = []
    hosts = dict(domain.addresses)
    if not domain.mx:
        records += _address_records(domain.name, world.exchanger(domain.name).addresses())
    for preference, host in domain.mx:
        records.append(f"@ IN MX {preference} {'.' if host == '.' else host + '.'}")
        one = world.exchanger(host)
        if one and host.endswith("." + domain.name):
            hosts[host] = one.addresses()
    for host, addresses in hosts.items():
        records += _address_records(host, addresses)
    return records


def _reverse(zone_v4_v6):
    """PTR records of our sources, as real receivers ask for."""
    return [f"{ip_address(address).reverse_pointer}. IN PTR {world.HOSTNAME}." for address in zone_v4_v6]


class Dns:
    def __init__(self, network):
        self.network = network
        self.directory = network.directory / "dns"
        self.anchor = self.directory / "trust-anchor"
        self.zones = {}  # name -> file

    def _sign(self, name):
        """Signs a zone; returns (signed file, its DS records)."""
        keys = []
        for flags in (["-k"], []):
            keys.append(sh("ldns-keygen", "-a", ALGORITHM, *flags, name, cwd=self.directory).split()[-1])
        sh("ldns-signzone", "-n", "-o", name, "-f", f"{name}.signed", f"{name}.zone", *keys, cwd=self.directory)
        # ldns-keygen -k leaves the DS of the key-signing key beside it.
        records = (self.directory / f"{keys[0]}.ds").read_text().strip().splitlines()
        return f"{name}.signed", records

    def write(self):
        self.directory.mkdir(mode=0o755)
        top = _address_records(f"ns.{world.TOP_ZONE}", [world.DNS_SERVER])
        top += _address_records(world.HOSTNAME, world.SOURCES_IPV4[:1] + world.SOURCES_IPV6[:1])
        for domain in world.DOMAINS:
            (self.directory / f"{domain.name}.zone").write_text(_zone(domain.name, _domain_records(domain)))
            self.zones[domain.name] = f"{domain.name}.zone"
            top.append(f"{domain.name}. IN NS ns.{world.TOP_ZONE}.")
            if domain.signed:
                self.zones[domain.name], delegation = self._sign(domain.name)
                top += delegation
        (self.directory / f"{world.TOP_ZONE}.zone").write_text(_zone(world.TOP_ZONE, top))
        self.zones[world.TOP_ZONE], anchor = self._sign(world.TOP_ZONE)
        self.anchor.write_text("\n".join(anchor) + "\n")

        for name, addresses in zip(world.STUB_ZONES[1:], (world.SOURCES_IPV4, world.SOURCES_IPV6)):
            (self.directory / f"{name}.zone").write_text(_zone(name, _reverse(addresses)))
            self.zones[name] = f"{name}.zone"

    def start(self):
        self.write()
        config = self.directory / "nsd.conf"
        lines = ["server:", f"  ip-address: {world.DNS_SERVER}", "  server-count: 1", '  username: ""',
                 f'  zonesdir: "{self.directory}"', f'  pidfile: "{self.directory}/nsd.pid"', '  database: ""',
                 f'  zonelistfile: "{self.directory}/zone.list"', f'  xfrdfile: "{self.directory}/xfrd.state"',
                 f'  xfrdir: "{self.directory}"', "  verbosity: 1", "  rrl-ratelimit: 0", "remote-control:",
                 "  control-enable: no"]
        for name, file in self.zones.items():
            lines += ["zone:", f"  name: {name}", f"  zonefile: {file}"]
        config.write_text("\n".join(lines) + "\n")
        sh("nsd-checkconf", config)
        process = self.network.spawn("internet", ["nsd", "-d", "-c", config], "nsd.log")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.1)
        raise NetworkError("NSD does not answer:\n" + (self.network.directory / "nsd.log").read_text()[-2000:])

    def _answers(self):
        out = self.network.run("internet", "python3", "-B", __file__, world.DNS_SERVER, world.TOP_ZONE, check=False)
        return out.strip() == "answers"


def ask_soa(server, name):
    """True if the server answers for the zone with authority: the smallest DNS question there is."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    packet = struct.pack(">HHHHHH", 0x4d52, 0, 1, 0, 0, 0) + question + struct.pack(">HH", 6, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        try:
            sock.sendto(packet, (server, 53))
            answer = sock.recv(4096)
        except OSError:
            return False
    _, flags, _, answers, _, _ = struct.unpack(">HHHHHH", answer[:12])
    return bool(flags & 0x0400) and flags & 0xf == 0 and answers > 0


if __name__ == "__main__":
    import sys
    print("answers" if ask_soa(sys.argv[1], sys.argv[2]) else "silent")
