"""The Internet's mail exchangers: one Postfix and one Exim, each with several exchangers' addresses, every one with a
certificate of its own from a practice authority. Each stores every message it takes, per recipient, untouched below the
headers that it adds itself."""
import os
import time

import world
from exim import Exim
from network import sh
from postfix import Postfix

NOBODY_UID = 65534


class Certificates:
    """A practice authority and what it signed."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(mode=0o755)
        self.authority = directory / "authority.crt"
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
           "-subj", "/CN=Practice Authority", "-keyout", directory / "authority.key", "-out", self.authority)

    def make(self, host, *others, rsa=False):
        """Returns (certificate, key) files for a host name, valid for others, too."""
        certificate, key = self.directory / f"{host}.crt", self.directory / f"{host}.key"
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        sh("openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", 30, "-subj", f"/CN={host}",
           "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in (host, *others)), "-addext", "basicConstraints=critical,CA:FALSE",
           "-CA", self.authority, "-CAkey", self.directory / "authority.key", "-keyout", key, "-out", certificate)
        return certificate, key


class Receivers:
    def __init__(self, network):
        self.network = network
        self.store = network.directory / "store"
        self.postfix = Postfix(network, "internet", "receiver-postfix")
        self.exim = Exim(network, "internet", "receiver-exim", self.store / "exim")

    def start(self):
        self.store.mkdir(mode=0o755)
        certificates = Certificates(self.network.directory / "certificates")
        self._postfix(certificates)
        self.exim.hosts = [host for host in world.EXCHANGERS if host.server == "exim"]
        self.exim.domains = [one.name for one in world.DOMAINS if self._served_by(one) == "exim"]
        self.exim.start(*certificates.make(*(host.host for host in self.exim.hosts), rsa=True))
        self._wait()

    @staticmethod
    def _served_by(domain):
        hosts = world.live_hosts(domain.name)
        return world.exchanger(hosts[0]).server if hosts else None

    def _postfix(self, certificates):
        store = self.store / "postfix"
        store.mkdir(mode=0o755)
        os.chown(store, NOBODY_UID, NOBODY_UID)
        domains = [one.name for one in world.DOMAINS if self._served_by(one) == "postfix"]
        self.postfix.directory.mkdir(mode=0o755)
        (self.postfix.directory / "recipients").write_text(
            "/^nobody@/ 550 5.1.1 no such user\n/^full@/ 552 5.2.2 mailbox full\n")
        self.postfix.parameters.update({
            "myhostname": "mx.practice.example", "mynetworks": "127.0.0.0/8",
            "virtual_mailbox_domains": " ".join(domains), "virtual_mailbox_base": self.store,
            "virtual_mailbox_maps": "static:postfix/", "virtual_minimum_uid": "100",
            "virtual_uid_maps": f"static:{NOBODY_UID}", "virtual_gid_maps": f"static:{NOBODY_UID}",
            "smtpd_relay_restrictions": "reject_unauth_destination",
            "smtpd_recipient_restrictions": f"check_recipient_access regexp:{self.postfix.directory}/recipients",
            "smtpd_tls_mandatory_protocols": ">=TLSv1.2",
        })
        for host in (one for one in world.EXCHANGERS if one.server == "postfix"):
            options = {"myhostname": host.host}
            if host.starttls == "no":
                options["smtpd_tls_security_level"] = "none"
            else:
                certificate, key = certificates.make(host.host, rsa=host.rsa)
                options.update(smtpd_tls_security_level="may", smtpd_tls_cert_file=certificate,
                               smtpd_tls_key_file=key)
            if host.starttls == "broken":
                options["smtpd_tls_protocols"] = "TLSv1"
            discarded = [word for word, there in (("smtputf8", host.smtputf8), ("8bitmime", host.eightbit),
                                                  ("chunking", host.chunking)) if not there]
            if discarded:
                options["smtpd_discard_ehlo_keywords"] = ", ".join(discarded)
            for address in host.addresses():
                self.postfix.listen(address, **options)
        self.postfix.start()

    def _wait(self, timeout_s=20):
        """Until every exchanger answers."""
        addresses = [address for host in world.EXCHANGERS if host.server != "sink" for address in host.addresses()]
        probe = ("import sys; sys.path.insert(0, sys.argv[1])\nfrom exim import listens\n"
                 "print(' '.join(a for a in sys.argv[2:] if not listens(a)))")
        here = os.path.dirname(os.path.abspath(__file__))
        deadline = time.monotonic() + timeout_s
        while True:
            silent = self.network.run("internet", "python3", "-B", "-c", probe, here, *addresses).strip()
            if not silent:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no exchanger answers at {silent}")
            time.sleep(0.3)

    def maildirs(self):
        return [self.store / "postfix", self.store / "exim"]
