"""The outbound sender: real clients in the sender's namespace that hand the messages to the appliance."""
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field

import world
from network import NetworkError
from postfix import Postfix

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Sent:
    """What a client was told about one message."""
    message: object
    answers: dict = field(default_factory=dict)  # recipient -> (code, text)
    tls: str = ""
    seconds: float = 0.0

    def acknowledged(self):
        """The recipients that the appliance took over."""
        return [recipient for recipient, (code, _) in self.answers.items() if 200 <= code < 300]


class Senders:
    def __init__(self, network):
        self.network = network
        self.directory = network.directory / "sent"
        self.postfix = Postfix(network, "sender", "sender-postfix")

    def start(self):
        self.directory.mkdir(mode=0o755)
        self.postfix.parameters.update({
            "myhostname": f"postfix.{world.SENDER_DOMAIN}", "mynetworks": "127.0.0.0/8 [::1]/128",
            "relayhost": f"[{world.LISTENER_IPV4}]:{world.ENTRIES['relay']}", "relay_domains": "",
            "smtpd_relay_restrictions": "permit_mynetworks reject",
            "smtp_tls_security_level": "may", "smtp_host_lookup": "native", "disable_dns_lookups": "yes",
            "maximal_queue_lifetime": "0",
        })
        self.postfix.listen("127.0.0.1")
        self.postfix.start()

    def send(self, message):
        """Sends one message and returns a Sent; for Postfix it waits until Postfix has handed it on."""
        file = self.directory / f"{message.id}.eml"
        file.write_bytes(message.data)
        began = time.monotonic()
        sent = {"swaks": self._swaks, "smtplib": self._smtplib, "chunks": self._smtplib,
                "postfix": self._smart_host}[message.client](message, file)
        sent.seconds = time.monotonic() - began
        return sent

    @staticmethod
    def _listener(message):
        return world.LISTENER_IPV6 if message.ipv6 else world.LISTENER_IPV4

    def _client(self, message, file, host, port, tls):
        auth = [message.auth, world.USER, world.PASSWORD] if message.auth else ""
        job = {"host": host, "port": port, "tls": tls, "auth": auth, "messages": [{
            "id": message.id, "sender": message.sender, "recipients": message.recipients, "file": str(file),
            "eightbit": message.eightbit, "utf8": message.utf8, "notify": message.notify,
            "chunks": message.client == "chunks"}]}
        plan = self.directory / f"{message.id}.json"
        plan.write_text(json.dumps(job))
        argv = self.network.command("sender", ["python3", "-B", os.path.join(HERE, "client.py"), plan])
        result = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["?"])[-1]
            return Sent(message, {recipient: (0, last) for recipient in message.recipients})
        told = json.loads(result.stdout)
        answers = {recipient: tuple(answer) for recipient, answer in told["answers"].items()}
        return Sent(message, answers, told["tls"])

    def _smtplib(self, message, file):
        tls = "implicit" if message.entry == "submissions" else "starttls"
        return self._client(message, file, self._listener(message), world.ENTRIES[message.entry], tls)

    def _swaks(self, message, file):
        stuffed = self.directory / f"{message.id}.stuffed"
        stuffed.write_bytes(re.sub(rb"(?m)^\.", b"..", message.data) + b".\r\n")
        argv = self.network.command("sender", [
            "swaks", "--server", self._listener(message), "--port", world.ENTRIES[message.entry], "--helo", f"swaks.{world.SENDER_DOMAIN}",
            "--from", message.sender or "<>", "--to", ",".join(message.recipients),
            *(["--auth", message.auth, "--auth-user", world.USER, "--auth-password", world.PASSWORD]
              if message.auth else []),
            "--tls-on-connect" if message.entry == "submissions" else "--tls-optional", "--no-data-fixup", "--data", f"@{stuffed}", "--timeout", "60", "--suppress-data"])
        result = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=300, check=False)
        answers, replies, tls = {}, [], ""
        for line in result.stdout.splitlines():
            found = re.match(r"=== TLS started with cipher ([^:]+):([^:]+)", line)
            if found:
                tls = f"{found.group(1)} {found.group(2)}"
            found = re.match(r"<(?:-|~|\*\*|~\*)\s+(\d{3})[ -](.*)", line)
            if found:
                replies.append((int(found.group(1)), found.group(2)))
        if result.returncode == 0:
            # The answer to the data is the one before the answer to QUIT.
            answers = {recipient: replies[-2] for recipient in message.recipients}
        else:
            refused = next((one for one in replies if one[0] >= 400), (0, (result.stderr or "no answer").strip()[-200:]))
            answers = {recipient: refused for recipient in message.recipients}
        return Sent(message, answers, tls)

    def _smart_host(self, message, file):
        """Handed to the sender's own Postfix; what counts is what the appliance told Postfix."""
        handed = self._client(message, file, "127.0.0.1", 25, tls="")
        queued = {re.search(r"queued as (\w+)", text).group(1) for code, text in handed.answers.values()
                  if code == 250 and "queued as" in text}
        if len(queued) != 1:
            raise NetworkError(f"the sender's Postfix did not take {message.id}: {handed.answers}")
        queue_id = queued.pop()
        answers, deadline = {}, time.monotonic() + 60
        while time.monotonic() < deadline and len(answers) < len(message.recipients):
            for line in self.postfix.read_log().splitlines():
                found = re.search(rf" {queue_id}: to=<([^>]*)>.* dsn=(\S+), status=(\w+) \((.*)\)$", line)
                if found:
                    recipient, _, status, text = found.groups()
                    code = re.match(r"\d{3}", text)
                    answers[recipient] = (int(code.group()) if status == "sent" and code else 0, text)
            time.sleep(0.1)
        found = re.search(r"Untrusted TLS connection established to [^:]*:\S* (\S+) with cipher (\S+)",
                          self.postfix.read_log())
        return Sent(message, answers, f"{found.group(1)[:-1] if found.group(1).endswith(':') else found.group(1)} "
                                      f"{found.group(2)}" if found else "")
