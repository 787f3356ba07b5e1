"""Compares what the clients were told, what the receivers stored, and what the appliance's ledger and events say.

A stored message is taken apart from the top: the fields that the receiver added, then our Received field, then what a
relay on the way to us (the sender's Postfix) had added, then the message, which must be byte for byte what was sent.
"""
import base64
import email
import email.policy
import quopri
import re
from dataclasses import dataclass, field

import world
from messages import DOWNGRADED, STORED


@dataclass
class Stored:
    """One message in a receiver's Maildir, for one recipient."""
    path: object
    recipient: str
    sender: str
    host: str  # the exchanger that took it
    received: bytes  # our Received field, empty if there is none
    below: bytes  # everything below our Received field
    identity: str  # X-Practice-Id, or ""


@dataclass
class Notification:
    """One recipient's part of a delivery status notification."""
    identity: str
    recipient: str
    action: str
    status: str
    sent_to: str


@dataclass
class Findings:
    problems: list = field(default_factory=list)
    stored: int = 0
    bounced: int = 0
    notifications: int = 0
    silent: int = 0


def address(text):
    """An address as one would compare it: no angle brackets, no needless quotes, the domain in lower case."""
    text = text.strip().strip("<>")
    local, _, domain = text.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return f"{local}@{domain.lower()}" if domain else text


def header_fields(data):
    """Yields (start, end, name, value) of each header field of LF text, until the empty line."""
    at = 0
    while at < len(data) and data[at:at + 1] not in (b"\n", b""):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end + 1
        while data[end:end + 1] in (b" ", b"\t"):
            next_line = data.find(b"\n", end)
            end = len(data) if next_line < 0 else next_line + 1
        name, colon, value = data[at:end].partition(b":")
        if not colon:
            return
        yield at, end, name.strip().lower().decode("ascii", "replace"), value.strip()
        at = end


def parse_stored(path):
    data = path.read_bytes().replace(b"\r\n", b"\n")
    recipient = sender = host = identity = ""
    received, below = b"", data
    for start, end, name, value in header_fields(data):
        if not received:
            if name in ("delivered-to", "envelope-to"):
                recipient = recipient or address(value.decode("utf-8", "replace"))
            elif name == "return-path":
                sender = address(value.decode("utf-8", "replace"))
            elif name == "received":
                by = re.search(rb"\bby\s+(\S+)", value)
                by = by.group(1).decode("ascii", "replace") if by else ""
                if by == world.HOSTNAME:
                    received, below = data[start:end], data[end:]
                elif not host:
                    host = by
        if name == "x-practice-id":
            identity = value.decode("ascii", "replace")
    return Stored(path, recipient, sender, host, received, below, identity)


def read_store(maildirs, known):
    """Adds what is new in the Maildirs to `known` ({path: Stored}) and returns all of it."""
    for maildir in maildirs:
        for folder in ("new", "cur"):
            for path in sorted((maildir / folder).glob("*")) if (maildir / folder).exists() else []:
                if path not in known:
                    known[path] = parse_stored(path)
    return list(known.values())


def _parts(data):
    """Yields (content type, decoded bytes) of a multipart message. Python's own parser reads message/global-* as if it
    were a message, so the parts are cut out by hand."""
    top = dict((name, value) for _, _, name, value in header_fields(data))
    boundary = re.search(rb'boundary="?([^";\n]+)"?', top.get("content-type", b""))
    if not boundary:
        return
    for piece in data.split(b"\n--" + boundary.group(1))[1:]:
        piece = piece.partition(b"\n")[2]
        fields, end = {}, 0
        for _, end, name, value in header_fields(piece):
            fields[name] = value
        content = piece[end:].lstrip(b"\n") if not fields else piece[end:].partition(b"\n")[2]
        encoding = fields.get("content-transfer-encoding", b"").lower()
        if encoding == b"base64":
            content = base64.b64decode(content)
        elif encoding == b"quoted-printable":
            content = quopri.decodestring(content)
        kind = fields.get("content-type", b"text/plain").split(b";")[0].strip().lower().decode("ascii", "replace")
        yield kind, content.replace(b"\r\n", b"\n")


def notifications(stored):
    """The per-recipient parts of a stored DSN, or [] if it is none."""
    if stored.sender or b"multipart/report" not in stored.below[:8192].lower():
        return []
    identity, groups = "", []
    for kind, content in _parts(stored.below):
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            for text in re.split(rb"\n\s*\n", content):
                groups.append({name: value.decode("utf-8", "replace")
                               for _, _, name, value in header_fields(text.strip(b"\n") + b"\n")})
        else:
            match = re.search(rb"(?im)^X-Practice-Id:\s*(\S+)", content)
            identity = match.group(1).decode() if match else identity
    made = []
    for group in groups:
        if "final-recipient" not in group:
            continue
        # RFC 6533's utf-8-addr-xtext stands for what ASCII cannot say.
        recipient = re.sub(r"\\x\{([0-9A-Fa-f]+)\}", lambda hexa: chr(int(hexa.group(1), 16)),
                           group["final-recipient"].partition(";")[2])
        status = (group.get("status", "").split() or [""])[0]
        made.append(Notification(identity, address(recipient), group.get("action", "").strip().lower(), status,
                                 stored.recipient))
    return made


def difference(message, stored):
    """None if the stored message is what was sent, or a text that says where it differs."""
    if not stored.received:
        return f"no Received field by {world.HOSTNAME}"
    sent = message.data.replace(b"\r\n", b"\n")
    below = stored.below
    added = []
    if not below.endswith(sent):
        # A field that we must add may stand anywhere in the header: take those out, and only those.
        if message.headers_added:
            kept, rest_at = b"", 0
            for start, end, name, _ in header_fields(below):
                rest_at = end
                if name in message.headers_added and name not in added:
                    added.append(name)
                else:
                    kept += below[start:end]
            below = kept + below[rest_at:]
    if not below.endswith(sent):
        at = next((i for i, (a, b) in enumerate(zip(sent, below)) if a != b), min(len(sent), len(below)))
        return (f"{len(below)} octets instead of {len(sent)}, first difference at {at}: sent "
                f"{sent[at:at + 40]!r}, stored {below[at:at + 40]!r}")
    between = below[:len(below) - len(sent)]
    others = []
    for _, _, name, _ in header_fields(between):
        if name in message.headers_added and name not in added:
            added.append(name)
        elif not (name == "received" and message.client == "postfix"):
            others.append(name)
    if others or (between and not list(header_fields(between))):
        return f"something stands between our Received field and the message: {between[:80]!r}"
    missing = set(message.headers_added) - set(added)
    return f"no {', '.join(sorted(missing))} was added" if missing else None


def same_when_decoded(message, stored):
    """For a downgraded message: the decoded text is the same."""
    before = email.message_from_bytes(message.data, policy=email.policy.compat32)
    after = email.message_from_bytes(stored.below, policy=email.policy.compat32)
    if any(byte > 126 for byte in stored.below):
        return False
    plain = [part.get_payload(decode=True).replace(b"\r\n", b"\n").rstrip(b"\n") for part in (before, after)]
    return plain[0] == plain[1]


def judge(sents, stored, final=True):
    """Compares what was acknowledged with what was stored. `final`: what is missing is a problem, too."""
    out = Findings()
    by_key, reports = {}, {}
    known = {sent.message.id: sent.message for sent in sents}
    for one in stored:
        parts = notifications(one)
        if parts:
            out.notifications += 1
            for part in parts:
                reports.setdefault((part.identity, part.recipient), []).append(part)
        elif one.identity in known:
            by_key.setdefault((one.identity, one.recipient), []).append(one)
        else:
            out.problems.append(f"{one.path.name}: a message that nobody sent (for {one.recipient or '?'})")

    expected_reports = set()
    for sent in sents:
        message = sent.message
        acknowledged = set(sent.acknowledged())
        for recipient in message.recipients:
            key = (message.id, address(recipient))
            copies, told = by_key.pop(key, []), reports.get(key, [])
            failed = [one for one in told if one.action == "failed"]
            where = f"{message.id} to {recipient}"
            if recipient not in acknowledged:
                out.problems.append(f"{where}: not accepted: {sent.answers.get(recipient)}")
                continue
            if len(copies) > 1:
                out.problems.append(f"{where}: stored {len(copies)} times")
            if len(failed) > 1:
                out.problems.append(f"{where}: {len(failed)} DSNs")
            wanted = message.outcomes(recipient)
            if copies:
                out.stored += len(copies)
                wrong = difference(message, copies[0])
                if STORED in wanted and wrong:
                    out.problems.append(f"{where}: {wrong}")
                elif STORED not in wanted and DOWNGRADED in wanted and not same_when_decoded(message, copies[0]):
                    out.problems.append(f"{where}: the downgraded message says something else")
                elif STORED not in wanted and DOWNGRADED not in wanted:
                    out.problems.append(f"{where}: stored, but {' or '.join(wanted)} was due")
                if failed:
                    out.problems.append(f"{where}: stored and bounced")
            elif failed:
                out.bounced += 1
                expected_reports.add(key)
                codes = [code for text in wanted if text.startswith("bounced ") for code in text[8:].split("|")]
                if not codes:
                    out.problems.append(f"{where}: bounced ({failed[0].status}), but {' or '.join(wanted)} was due")
                elif failed[0].status not in codes:
                    out.problems.append(f"{where}: DSN says {failed[0].status}, {' or '.join(codes)} was due")
                if failed[0].sent_to != address(message.sender):
                    out.problems.append(f"{where}: the DSN went to {failed[0].sent_to}")
            elif "silent" in wanted:
                out.silent += 1
            elif final:
                out.problems.append(f"{where}: neither stored nor bounced")
    for (identity, recipient), copies in by_key.items():
        out.problems.append(f"{identity}: stored for {recipient}, to whom it was not sent")
    for key in set(reports) - expected_reports:
        if any(one.action == "failed" for one in reports[key]) and key[0] not in known:
            out.problems.append(f"a DSN about something that nobody sent: {key}")
    return out


def complete(sents, stored):
    """True when every acknowledged recipient has come to an end that shows at the receivers."""
    found = judge(sents, stored, final=False)
    due = sum(len(sent.acknowledged()) for sent in sents)
    return found.stored + found.bounced + found.silent >= due


def ledger_problems(ledger, sents, findings, stored_total):
    """The appliance's own figures against what was seen from outside, in recipients."""
    problems = []
    acknowledged = sum(len(sent.acknowledged()) for sent in sents)
    bounced = findings.bounced + findings.silent
    for name, own, seen in (("accepted", ledger["accepted"], acknowledged),
                            ("generated", ledger["generated"], findings.notifications),
                            ("delivered", ledger["delivered"], stored_total),
                            ("bounced", ledger["bounced"], bounced),
                            ("queued", ledger["queued"], 0), ("drift", ledger.get("drift", 0), 0)):
        if own != seen:
            problems.append(f"ledger: {name} is {own}, seen from outside {seen}")
    balance = sum(ledger[key] for key in ("queued", "delivered", "bounced", "expired", "removed", "discarded",
                                          "quarantined"))
    if ledger["accepted"] + ledger["generated"] != balance:
        problems.append(f"ledger: accepted + generated is {ledger['accepted'] + ledger['generated']}, the rest {balance}")
    return problems


def terminal_event_problems(events, findings, sents):
    """Each acknowledged recipient ends in exactly one event."""
    ends = {}
    for event in events:
        if event["type"] in ("Delivery", "Bounce", "Expiration", "AdminBounce"):
            recipients = event["recipient"] if isinstance(event["recipient"], list) else [event["recipient"]]
            for recipient in recipients:
                ends.setdefault((event["id"], recipient), []).append(event["type"])
    problems = [f"events: {identity} for {recipient} ended {len(kinds)} times: {', '.join(kinds)}"
                for (identity, recipient), kinds in ends.items() if len(kinds) != 1]
    due = sum(len(sent.acknowledged()) for sent in sents) + findings.notifications
    if len(ends) != due:
        problems.append(f"events: {len(ends)} recipients ended, {due} were due")
    return problems
