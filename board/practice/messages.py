"""The varied set of real messages: what is sent, by which client, to whom, and what must become of it.

Content is CRLF bytes just as a client hands them over (no dot-stuffing). Each message carries X-Practice-Id, by which it
is found again at the receivers and inside delivery status notifications.
"""
import base64
import email.message
import email.policy
import random
from dataclasses import dataclass, field

import world

SENDER = f"news@{world.SENDER_DOMAIN}"
STORED = "stored"
# Stored with another transfer encoding, because the receiver takes 7-bit only: the decoded content must be the same.
DOWNGRADED = "downgraded"


def bounced(*codes):
    """A DSN with one of these enhanced status codes must reach the sender."""
    return "bounced " + "|".join(codes)


@dataclass
class Message:
    id: str
    what: str
    client: str  # "swaks", "smtplib", "chunks" (smtplib and BDAT) or "postfix" (Millrace is its smart host)
    data: bytes
    recipients: list
    sender: str = SENDER
    expected: dict = field(default_factory=dict)  # recipient -> STORED, bounced(...), or a list of what may be
    eightbit: bool = False
    utf8: bool = False
    notify: str = ""
    headers_added: tuple = ()  # header fields that Millrace must add
    ipv6: bool = False  # sent to the listener's IPv6 address
    entry: str = "relay"  # which listener: a key of world.ENTRIES
    auth: str = ""  # "PLAIN" or "LOGIN"

    def outcomes(self, recipient):
        wanted = self.expected.get(recipient, STORED)
        return [wanted] if isinstance(wanted, str) else list(wanted)


def _crlf(text):
    data = text.encode() if isinstance(text, str) else text
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _head(identity, subject, to, extra="", sender=SENDER):
    return (f"Date: Sun, 01 Mar 2026 08:00:00 +0100\nFrom: Practice News <{sender}>\nTo: {to}\n"
            f"Message-ID: <{identity}@{world.SENDER_DOMAIN}>\nX-Practice-Id: {identity}\nSubject: {subject}\n"
            f"MIME-Version: 1.0\n{extra}")


def _text(identity, subject, to, body, charset="us-ascii", encoding="7bit", sender=SENDER):
    extra = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n"
    return _crlf(_head(identity, subject, to, extra, sender) + "\n" + body)


def _newsletter(identity, to, rng, attachments):
    message = email.message.EmailMessage(policy=email.policy.SMTP.clone(max_line_length=78))
    message["Date"] = "Sun, 01 Mar 2026 08:00:00 +0100"
    message["From"] = f"Grüße vom Verein <{SENDER}>"
    message["To"] = to
    message["Message-ID"] = f"<{identity}@{world.SENDER_DOMAIN}>"
    message["X-Practice-Id"] = identity
    message["Subject"] = "Ein Rundbrief mit Anhängen – und Bildern"
    message["List-Unsubscribe"] = f"<https://{world.SENDER_DOMAIN}/u/{identity}>"
    message.set_content("Guten Tag,\n\nIhr Rundbrief.\n" * 5)
    message.add_alternative("<html><body><h1>Guten Tag</h1><p>Ihr Rundbrief – mit Bild.</p></body></html>",
                            subtype="html")
    for number, size in enumerate(attachments):
        message.add_attachment(rng.randbytes(size), maintype="application", subtype="octet-stream",
                               filename=f"anhang-{number}.bin")
    return message.as_bytes()


def _large(identity, to, size, rng):
    """About `size` bytes on the wire, as one base64 attachment of 76-octet lines."""
    block = base64.encodebytes(rng.randbytes(57 * 4096))
    body = block * (size // len(block) + 1)
    lines = body[:size - size % 77]
    extra = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
    return _crlf(_head(identity, "Twenty-five megabytes", to, extra).encode() + b"\n" + lines)


def _many_recipients():
    reachable = ["normal", "dual", "six", "deadmx", "grey", "plain", "exim", "oldtls", "nomx"]
    return [f"reader{number}@{name}.example" for number in range(14) for name in reachable]


def generate(seed=1):
    """The set, in the order in which it is sent."""
    rng = random.Random(seed)
    made = []

    def add(identity, what, client, data, recipients, **options):
        made.append(Message(identity, what, client, data, recipients, **options))

    to = "anna@normal.example"
    add("plain", "plain text", "swaks", _text("plain", "Plain", to, "Hello,\n\na plain message.\n"), [to])
    to = "ben@dual.example"
    add("mime", "MIME, two attachments", "smtplib", _newsletter("mime", to, rng, [70_000, 1_300]), [to])
    to = "carla@exim.example"
    add("mime-exim", "MIME to Exim, over IPv6", "smtplib", _newsletter("mime-exim", to, rng, [20_000]), [to], ipv6=True)
    to = "dora@normal.example"
    add("8-bit", "8-bit UTF-8 body", "smtplib",
        _text("8-bit", "Eight bits", to, "Grüße aus Köln: ñ, ø, 漢字, €.\n" * 40, "utf-8", "8bit"),
        [to, "dora@exim.example"], eightbit=True)
    to = "emil@no8bit.example"
    add("8-bit-to-7", "8-bit body to a 7-bit receiver", "smtplib",
        _text("8-bit-to-7", "Eight bits", to, "Grüße aus Köln.\n", "utf-8", "8bit"), [to], eightbit=True,
        expected={to: [DOWNGRADED, bounced("5.6.3", "5.6.1")]})
    to = "δοκιμή@dual.example"
    add("utf8", "UTF-8 addresses", "smtplib",
        _text("utf8", "Ein Gruß", to, "Grüße.\n", "utf-8", "8bit", sender=f"jörg@{world.SENDER_DOMAIN}"), [to],
        sender=f"jörg@{world.SENDER_DOMAIN}", eightbit=True, utf8=True)
    to = "用户@noutf8.example"
    add("utf8-refused", "UTF-8 address, receiver without SMTPUTF8", "smtplib",
        _text("utf8-refused", "Ein Gruß", to, "Grüße.\n", "utf-8", "8bit"), [to], eightbit=True, utf8=True,
        expected={to: bounced("5.6.7")})
    to = "fritz@normal.example"
    line = "Fold me. " + "x" * 989
    add("lines-998", "lines of 998 octets, folded header", "swaks",
        _text("lines-998", "A subject that is folded\n over two lines", to, f"{line}\n" * 30), [to])
    to = "gerda@dual.example"
    add("lines-long", "body line of 20,000 octets", "smtplib",
        _text("lines-long", "Long", to, "short\n" + "y" * 20_000 + "\nshort again\n"), [to, "gerda@normal.example"])
    to = "heinz@normal.example"
    add("dots", "lines that begin with dots", "smtplib",
        _text("dots", "Dots", to, ".\n..\n...\n.hidden\n\n.\n \n.\nend\n.\n"), [to, "heinz@exim.example"])
    to = "ida@normal.example"
    add("chunks", "CHUNKING: three BDAT", "chunks",
        _text("chunks", "Chunks", to, ".\n..\nchunks hold dots as they are\n" * 900), [to])
    to = "jan@normal.example"
    add("25-mb", "25 MB", "smtplib", _large("25-mb", to, 25_000_000, rng), [to])
    many = _many_recipients()
    add("many", f"{len(many)} recipients, 9 domains", "smtplib",
        _text("many", "To many", "undisclosed-recipients:;", "One body, many readers.\n" * 50), many)
    to = "kai@six.example"
    add("six", "to an IPv6-only exchanger", "swaks", _text("six", "Six", to, "Over IPv6.\n"), [to])
    to = "lea@deadmx.example"
    add("dead-mx", "first two exchangers are dead", "swaks", _text("dead-mx", "Dead", to, "Around the dead.\n"), [to])
    to = "max@grey.example"
    add("grey", "greylisted", "swaks", _text("grey", "Grey", to, "Come back later.\n"), [to])
    to = "nina@plain.example"
    add("clear", "to a receiver without STARTTLS", "swaks", _text("clear", "Clear", to, "In clear.\n"), [to])
    to = "olga@oldtls.example"
    add("old-tls", "handshake fails: again in clear", "swaks", _text("old-tls", "Old", to, "In clear.\n"), [to])
    to = "paul@nomx.example"
    add("no-mx", "domain with an address and no MX", "swaks", _text("no-mx", "No MX", to, "By address.\n"), [to])
    to = "quirin@normal.example"
    add("null-sender", "null reverse-path", "smtplib", _text("null-sender", "Receipt", to, "From nobody.\n"), [to],
        sender="")
    to = "rosa@normal.example"
    add("bare", "without Date and Message-ID", "smtplib",
        _crlf(f"From: {SENDER}\nTo: {to}\nX-Practice-Id: bare\nSubject: Bare\n\nAlmost no headers.\n"), [to],
        headers_added=("date", "message-id"))
    to = '"odd address"@normal.example'
    add("quoted", "quoted local part, empty body", "smtplib", _crlf(_head("quoted", "Quoted", to) + "\n"), [to])
    to = "nobody@normal.example"
    add("unknown", "unknown user: 5.1.1", "swaks", _text("unknown", "Unknown", to, "Not here.\n"), [to],
        expected={to: bounced("5.1.1")})
    to = "nobody@exim.example"
    add("mixed", "one known, one unknown", "smtplib", _text("mixed", "Mixed", to, "One of two.\n"),
        [to, "sara@exim.example"], expected={to: bounced("5.1.1")})
    to = "full@dual.example"
    add("full", "mailbox full: 5.2.2", "smtplib", _text("full", "Full", to, "No room.\n"), [to],
        expected={to: bounced("5.2.2")})
    to = f"tom@{world.MISSING_DOMAIN}"
    add("missing", "domain does not exist: 5.1.2", "swaks", _text("missing", "Missing", to, "Nowhere.\n"), [to],
        expected={to: bounced("5.1.2")})
    to = "ulla@nullmx.example"
    add("null-mx", "null MX: 5.1.10", "swaks", _text("null-mx", "Null", to, "No mail here.\n"), [to],
        expected={to: bounced("5.1.10")})
    to = "nobody@dual.example"
    add("never", "unknown user, NOTIFY=NEVER", "smtplib", _text("never", "Never", to, "Do not tell.\n"), [to],
        notify="NEVER", expected={to: "silent"})
    to = "yara@normal.example"
    add("auth-plain", "AUTH PLAIN after STARTTLS", "swaks", _text("auth-plain", "Plain", to, "I am who I am.\n"), [to],
        entry="submission", auth="PLAIN")
    to = "zoe@exim.example"
    add("auth-login", "AUTH LOGIN, implicit TLS", "smtplib", _text("auth-login", "Login", to, "I am who I am.\n"), [to],
        entry="submissions", auth="LOGIN")
    to = "vera@normal.example"
    add("smart-plain", "Postfix: plain", "postfix", _text("smart-plain", "Plain", to, "By way of Postfix.\n"),
        [to, "vera@six.example", "vera@plain.example"])
    to = "willi@exim.example"
    add("smart-mime", "Postfix: MIME, 1 MB", "postfix", _newsletter("smart-mime", to, rng, [700_000]), [to])
    to = "xaver@dual.example"
    add("smart-8-bit", "Postfix: 8-bit, dots, long line", "postfix",
        _text("smart-8-bit", "Mixed", to, "Grüße\n.\n..dots\n" + "z" * 5_000 + "\n", "utf-8", "8bit"), [to],
        eightbit=True)
    return made
