"""A Postfix of our own beside the system's: its configuration, queue and log under one directory, in one namespace."""
import os
import pwd
import subprocess
import time

from network import NetworkError

# What every instance here has in common: nothing is looked up, limited, rewritten, dropped or folded that a test did
# not ask for. Postfix's defaults would fold lines at 998 octets, drop Bcc and Return-Path, and refuse over 10 MB.
COMMON = {
    "compatibility_level": "3.6",
    "alias_maps": "", "alias_database": "", "local_recipient_maps": "", "mydestination": "",
    "biff": "no", "notify_classes": "", "mynetworks_style": "host",
    "inet_protocols": "all", "smtpd_peername_lookup": "no", "smtpd_banner": "$myhostname ESMTP",
    "message_size_limit": "104857600", "mailbox_size_limit": "0", "virtual_mailbox_limit": "0",
    "queue_minfree": "0", "in_flow_delay": "0",
    "smtpd_client_connection_count_limit": "0", "smtpd_client_connection_rate_limit": "0",
    "smtpd_recipient_limit": "10000", "smtpd_recipient_overshoot_limit": "10000",
    "default_process_limit": "60", "header_size_limit": "1048576", "smtp_line_length_limit": "0",
    "message_drop_headers": "", "local_header_rewrite_clients": "", "append_at_myorigin": "no",
    "append_dot_mydomain": "no", "strict_rfc821_envelopes": "no", "smtputf8_enable": "yes",
    "smtpd_tls_loglevel": "1", "smtp_tls_loglevel": "1", "hopcount_limit": "200",
    "default_destination_recipient_limit": "1000", "enable_long_queue_ids": "yes",
}

# type, private, unprivileged, chroot, wakeup, process limit, command
SERVICES = """\
pickup     unix  n  -  n  60     1  pickup
cleanup    unix  n  -  n  -      0  cleanup
qmgr       unix  n  -  n  300    1  qmgr
tlsmgr     unix  -  -  n  1000?  1  tlsmgr
rewrite    unix  -  -  n  -      -  trivial-rewrite
bounce     unix  -  -  n  -      0  bounce
defer      unix  -  -  n  -      0  bounce
trace      unix  -  -  n  -      0  bounce
verify     unix  -  -  n  -      1  verify
flush      unix  n  -  n  1000?  0  flush
proxymap   unix  -  -  n  -      -  proxymap
smtp       unix  -  -  n  -      -  smtp
relay      unix  -  -  n  -      -  smtp
showq      unix  n  -  n  -      -  showq
error      unix  -  -  n  -      -  error
retry      unix  -  -  n  -      -  error
discard    unix  -  -  n  -      -  discard
local      unix  -  n  n  -      -  local
virtual    unix  -  n  n  -      -  virtual
lmtp       unix  -  -  n  -      -  lmtp
anvil      unix  -  -  n  -      1  anvil
scache     unix  -  -  n  -      1  scache
postlog    unix-dgram n -  n  -  1  postlogd
"""


class Postfix:
    def __init__(self, network, role, name):
        self.network, self.role = network, role
        self.directory = network.directory / name
        self.config = self.directory / "etc"
        self.log = self.directory / "mail.log"
        self.parameters = dict(COMMON)
        self.listeners = []

    def listen(self, address, **options):
        """An SMTP service on port 25 of an address, with parameters of its own."""
        where = f"[{address}]:25" if ":" in address else f"{address}:25"
        text = f"{where} inet n - n - - smtpd"
        for key, value in options.items():
            text += f"\n  -o {{ {key} = {value} }}"
        self.listeners.append(text)

    def start(self):
        queue, data = self.directory / "spool", self.directory / "data"
        for path in (self.directory, self.config, queue, data):
            path.mkdir(mode=0o755, exist_ok=True)
        owner = pwd.getpwnam("postfix")
        os.chown(data, owner.pw_uid, owner.pw_gid)
        settings = dict(self.parameters, queue_directory=queue, data_directory=data, maillog_file=self.log,
                        maillog_file_prefixes=self.directory, config_directory=self.config)
        (self.config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        (self.config / "master.cf").write_text("\n".join(self.listeners) + "\n" + SERVICES)
        self.network.run(self.role, "postfix", "-c", self.config, "start", env=self._environment())
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if subprocess.run(self._command("status"), env=self._environment(), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return
            time.sleep(0.2)
        raise NetworkError(f"Postfix in {self.role} does not start:\n{self.read_log()[-2000:]}")

    def _command(self, verb):
        return self.network.command(self.role, ["postfix", "-c", self.config, verb])

    @staticmethod
    def _environment():
        return {key: value for key, value in os.environ.items() if not key.startswith("MAIL_")}

    def read_log(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def queued(self):
        """How many messages stand in its queue."""
        out = self.network.run(self.role, "postqueue", "-c", self.config, "-j", check=False)
        return sum(line.startswith("{") for line in out.splitlines())

    def flush(self):
        self.network.run(self.role, "postqueue", "-c", self.config, "-f", check=False)
