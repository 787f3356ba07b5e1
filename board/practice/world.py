"""The practice world as one table: who has which address, which domain has which exchangers, what each exchanger can do.

Everything else (DNS zones, receivers, Millrace's configuration, the check) is derived from it.

  sender --192.0.2.0/25--> appliance --203.0.113.0/24--> router of internet --> 198.51.100.0/24, 2001:db8:3::/64
                              |
                              +--mgmt 192.0.2.128/30-- the DNS server in internet
"""
from dataclasses import dataclass, field

SENDER_IPV4, SENDER_IPV6 = "192.0.2.10", "2001:db8:1::10"
SENDER_NET_IPV4, SENDER_NET_IPV6 = "192.0.2.0/25", "2001:db8:1::/64"
LISTENER_IPV4, LISTENER_IPV6 = "192.0.2.1", "2001:db8:1::1"

SOURCES_IPV4 = ["203.0.113.1", "203.0.113.2"]
SOURCES_IPV6 = ["2001:db8:2::1", "2001:db8:2::2"]
GATEWAY_IPV4, GATEWAY_IPV6 = "203.0.113.254", "2001:db8:2::fe"

MGMT_APPLIANCE, MGMT_INTERNET = "192.0.2.129", "192.0.2.130"
DNS_SERVER = MGMT_INTERNET

# The listeners' ports: for the networks it knows, and for whoever authenticates (STARTTLS, implicit TLS).
ENTRIES = {"relay": 25, "submission": 587, "submissions": 465}
USER, PASSWORD = "crm", "practice makes perfect"

# Names of the ports' network devices inside the appliance's namespace.
PORTS = ["mrp0", "mrp1"]

HOSTNAME = "relay.millrace.example"
# Whoever sends through the relay; bounces come home to this domain's exchanger.
SENDER_DOMAIN = "crm.example"

# Answers to nothing at all, and answers every SYN with a reset.
SILENT_IPV4 = "198.51.100.200"
REFUSING_IPV4 = "198.51.100.15"


@dataclass
class Exchanger:
    """A real server behind an MX record."""
    host: str
    server: str  # "postfix", "exim", or "sink": the load generator's other end, which stores nothing
    ipv4: str = ""
    ipv6: str = ""
    starttls: str = "yes"  # "yes", "no", or "broken": it offers what no client of today accepts
    smtputf8: bool = True
    eightbit: bool = True
    chunking: bool = True
    greylist_s: int = 0  # refuses a new (client, sender, recipient) for so long
    rsa: bool = False  # an RSA-2048 certificate; P-256 otherwise

    def addresses(self):
        return [address for address in (self.ipv4, self.ipv6) if address]


@dataclass
class Domain:
    """A mail domain: mx is [(preference, host)]; [] is a domain that has an address and no MX."""
    name: str
    mx: list
    signed: bool = True
    addresses: dict = field(default_factory=dict)  # host -> [address], for hosts that are no exchanger
    note: str = ""


EXCHANGERS = [
    Exchanger("mx1.normal.example", "postfix", "198.51.100.11"),
    Exchanger("mx2.normal.example", "postfix", "198.51.100.12", rsa=True),
    Exchanger("mx.dual.example", "postfix", "198.51.100.13", "2001:db8:3::13"),
    Exchanger("mx.six.example", "postfix", "", "2001:db8:3::14"),
    Exchanger("mx.grey.example", "exim", "198.51.100.16", greylist_s=3),
    Exchanger("mx.plain.example", "postfix", "198.51.100.17", starttls="no"),
    Exchanger("mx.crm.example", "postfix", "198.51.100.18"),
    Exchanger("mx.exim.example", "exim", "198.51.100.19", "2001:db8:3::19", rsa=True),
    Exchanger("mx.noutf8.example", "exim", "198.51.100.20", smtputf8=False),
    Exchanger("mx.no8bit.example", "postfix", "198.51.100.21", smtputf8=False, eightbit=False, chunking=False),
    Exchanger("mx.oldtls.example", "postfix", "198.51.100.22", starttls="broken"),
    Exchanger("nomx.example", "postfix", "198.51.100.23"),
    Exchanger("mx.sink.example", "sink", "198.51.100.30"),
]

DOMAINS = [
    Domain("normal.example", [(10, "mx1.normal.example"), (20, "mx2.normal.example")], note="two preferences"),
    Domain("dual.example", [(10, "mx.dual.example")], note="IPv4 and IPv6"),
    Domain("six.example", [(10, "mx.six.example")], note="IPv6 only"),
    Domain("deadmx.example", [(10, "silent.deadmx.example"), (15, "refusing.deadmx.example"),
                              (20, "mx2.normal.example")],
           addresses={"silent.deadmx.example": [SILENT_IPV4], "refusing.deadmx.example": [REFUSING_IPV4]},
           note="the first exchanger is silent, the second refuses"),
    Domain("grey.example", [(10, "mx.grey.example")], note="greylists"),
    Domain("plain.example", [(10, "mx.plain.example")], signed=False, note="no STARTTLS, zone not signed"),
    Domain("crm.example", [(10, "mx.crm.example")], note="the sender's own: bounces"),
    Domain("exim.example", [(10, "mx.exim.example")], note="Exim"),
    Domain("noutf8.example", [(10, "mx.noutf8.example")], note="no SMTPUTF8"),
    Domain("no8bit.example", [(10, "mx.no8bit.example")], note="no 8BITMIME"),
    Domain("oldtls.example", [(10, "mx.oldtls.example")], note="STARTTLS that fails"),
    Domain("nomx.example", [], note="no MX, only an address"),
    Domain("sink.example", [(10, "mx.sink.example")], note="the burst's sink"),
    Domain("nullmx.example", [(0, ".")], note="null MX: takes no mail"),
]

# The zone above them all; its key is the practice world's trust anchor.
TOP_ZONE = "example"
STUB_ZONES = [TOP_ZONE, "113.0.203.in-addr.arpa", "2.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"]
# Of this domain there is nothing at all.
MISSING_DOMAIN = "nothere.example"


def exchanger(host):
    """The exchanger of that name, or None (dead ones have no server)."""
    return next((one for one in EXCHANGERS if one.host == host), None)


def domain(name):
    return next((one for one in DOMAINS if one.name == name), None)


def live_hosts(name):
    """The exchangers of a domain that can take mail, best first."""
    one = domain(name)
    if one is None:
        return []
    hosts = [host for _, host in sorted(one.mx)] if one.mx else [name]
    return [host for host in hosts if exchanger(host)]
