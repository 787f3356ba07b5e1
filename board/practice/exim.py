"""An Exim of our own, unpacked from its package (which conflicts with Postfix's), in one namespace. It runs wholly as an
unprivileged user after it has bound its ports, so its binary need not be set-uid."""
import os
import pathlib
import shutil
import socket
import time

import world
from network import EXIM_UID, EXIM_USER, NetworkError

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "build/deps/peers/exim4-daemon-light"

CONFIG = """\
exim_path = {directory}/exim4
exim_user = {user}
exim_group = {user}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%s.log
pid_file_path = {directory}/exim.pid
log_selector = +all -address_rewrite -delivery_size -pid -retry_defer
primary_hostname = mx.exim.example
local_interfaces = <; {interfaces}
daemon_smtp_ports = 25
# As the host that is addressed, so that the Received header names the exchanger.
smtp_active_hostname = ${{lookup{{$received_ip_address}}lsearch{{{directory}/hosts}}{{$value}}{{mx.exim.example}}}}
smtp_banner = $smtp_active_hostname ESMTP Exim $version_number
received_header_text = Received: from $sender_helo_name by $smtp_active_hostname with $received_protocol id $message_exim_id
domainlist ours = {domains}
host_lookup =
helo_allow_chars = _
rfc1413_query_timeout = 0s
deliver_drop_privilege
message_size_limit = 100M
return_size_limit = 100M
smtp_accept_max = 200
smtp_accept_max_per_connection = 0
recipients_max = 10000
received_headers_max = 200
auto_thaw = 1h
trusted_users = {user}
bounce_return_body = false
allow_utf8_domains = true
accept_8bitmime = true
chunking_advertise_hosts = *
smtputf8_advertise_hosts = ${{lookup{{$received_ip_address}}lsearch{{{directory}/no-smtputf8}}{{}}{{*}}}}
tls_advertise_hosts = *
tls_certificate = {directory}/tls.crt
tls_privatekey = {directory}/tls.key
return_path_remove = false
envelope_to_remove = false
delivery_date_remove = false
acl_smtp_mail = accept
acl_smtp_rcpt = recipient
acl_smtp_data = accept

begin acl
recipient:
  deny
    message = relaying is not for you
    !domains = +ours
  deny
    message = 5.1.1 no such user
    local_parts = nobody
  accept
    !condition = ${{lookup{{$received_ip_address}}lsearch{{{directory}/greylist}}{{yes}}{{no}}}}
  # The first sight of (client, sender, recipient) is written down; what comes soon after it waits, too.
  warn
    set acl_m_file = {directory}/seen/${{sha256:$sender_host_address $sender_address $local_part@$domain}}
  defer
    message = 4.7.1 greylisted, come back later
    !condition = ${{if exists{{$acl_m_file}}}}
    condition = ${{run{{/bin/touch $acl_m_file}}{{yes}}{{yes}}}}
  defer
    message = 4.7.1 greylisted, you come too soon
    condition = ${{if <{{${{eval:$tod_epoch - ${{extract{{mtime}}{{${{stat:$acl_m_file}}}}}}}}}}{{{greylist_s}}}}}
  accept

begin routers
store:
  driver = accept
  domains = +ours
  transport = maildir

begin transports
maildir:
  driver = appendfile
  user = {user}
  group = {user}
  directory = {store}
  maildir_format
  create_directory
  return_path_add
  envelope_to_add
  batch_max = 1
  message_size_limit = 100M
"""


class Exim:
    def __init__(self, network, role, name, store):
        self.network, self.role, self.store = network, role, store
        self.directory = network.directory / name
        self.hosts = []
        self.domains = []

    def start(self, certificate, key):
        binary = PACKAGE / "usr/sbin/exim4"
        if not binary.exists():
            raise NetworkError(f"no {binary}: run board/setup")
        for name in ("", "log", "spool", "seen"):
            (self.directory / name).mkdir(mode=0o755, exist_ok=True)
            os.chown(self.directory / name, EXIM_UID, EXIM_UID)
        self.store.mkdir(mode=0o755, exist_ok=True)
        os.chown(self.store, EXIM_UID, EXIM_UID)
        shutil.copyfile(binary, self.directory / "exim4")
        (self.directory / "exim4").chmod(0o755)
        for source, name in ((certificate, "tls.crt"), (key, "tls.key")):
            shutil.copyfile(source, self.directory / name)
            os.chown(self.directory / name, EXIM_UID, EXIM_UID)

        def table(wanted):
            # A colon ends the key of such a file; quotes keep an IPv6 address whole.
            return "".join(f'"{address}": {host.host}\n' for host in self.hosts if wanted(host)
                           for address in host.addresses())
        (self.directory / "hosts").write_text(table(lambda host: True))
        (self.directory / "no-smtputf8").write_text(table(lambda host: not host.smtputf8))
        (self.directory / "greylist").write_text(table(lambda host: host.greylist_s))
        config = self.directory / "exim.conf"
        config.write_text(CONFIG.format(
            directory=self.directory, user=EXIM_USER, store=self.store, domains=" : ".join(self.domains),
            interfaces=" ; ".join(address for host in self.hosts for address in host.addresses()),
            greylist_s=max((host.greylist_s for host in self.hosts), default=0)))
        config.chmod(0o644)
        process = self.network.spawn(self.role, [self.directory / "exim4", "-C", config, "-bdf", "-q10s"], "exim.log")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            if "daemon started" in self.read_log():
                return
            time.sleep(0.1)
        raise NetworkError("Exim does not start:\n" + (self.network.directory / "exim.log").read_text()[-2000:] +
                           self.read_log()[-2000:])

    def read_log(self, name="main"):
        path = self.directory / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


def listens(address, port=25, timeout_s=0.5):
    """True when somebody takes connections there; from the caller's own namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        return sock.connect_ex((address, port)) == 0


__all__ = ["Exim", "listens", "world"]
