"""The way of each message as an aligned table, from what its client was told and the appliance's event log."""
import sys
import unicodedata

import world

_COLOUR = {"ok": "32", "wait": "33", "bad": "31", "dim": "2", "bold": "1"}


def paint(text, kind):
    return f"\033[{_COLOUR[kind]}m{text}\033[0m" if sys.stdout.isatty() else text


def width(text):
    """Columns on a terminal: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1
               for char in text)


def fit(text, columns, right=False):
    if width(text) > columns:
        while width(text) > columns - 1:
            text = text[:-1]
        text += "…"
    space = " " * (columns - width(text))
    return space + text if right else text + space


def names(text, columns):
    """A name that does not fit, by its first labels and how many more there are: a+b+c -> a+2 more."""
    parts = text.split("+")
    if width(text) <= columns or len(parts) == 1:
        return text
    return f"{parts[0]} +{len(parts) - 1}"


def seconds(value):
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def size(octets):
    for unit in ("B", "KB", "MB"):
        if octets < 1000 or unit == "MB":
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1000
    return ""


def as_list(value):
    return value if isinstance(value, list) else [value] if value else []


def event_time(event, key):
    """Seconds since the epoch of an event's time, which is a number or RFC 3339 text."""
    value = event.get(key, 0)
    if isinstance(value, (int, float)):
        return value / 1e6 if value > 1e12 else float(value)
    import datetime
    return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()


def ids_of(sent, receptions):
    """The appliance's ids of a sent message, from the answers that its client got."""
    texts = " ".join(text for _, text in sent.answers.values())
    return {identity for identity in receptions if identity in texts}


class Way:
    """One line of the table: the recipients of a message that went the same way to the same end."""

    def __init__(self, event):
        peer = event.get("peer_address") or {}
        response = event.get("response") or {}
        self.site = event.get("site") or event.get("queue") or ""
        self.exchanger = (peer.get("name") or peer.get("addr") or "").rstrip(".")
        self.family = "6" if ":" in (peer.get("addr") or "") else "4" if peer.get("addr") else ""
        cipher = (event.get("tls_cipher") or "").removeprefix("TLS_")
        self.tls = " ".join(filter(None, (event.get("tls_protocol_version"), cipher)))
        self.kind = event["type"]
        code = response.get("enhanced_code") or {}
        if isinstance(code, dict):
            code = ".".join(str(code.get(part, "")) for part in ("class", "subject", "detail")).strip(".")
        self.result = {"Delivery": "delivered", "Bounce": f"bounced {code or response.get('code', '')}",
                       "Expiration": "expired", "AdminBounce": "removed"}.get(self.kind, self.kind).strip()
        self.recipients, self.attempts, self.duration_s = 0, 0, 0.0

    def key(self):
        return self.site, self.exchanger, self.family, self.tls, self.result

    def add(self, event):
        self.recipients += len(as_list(event.get("recipient")))
        self.attempts = max(self.attempts, event.get("num_attempts") or 0)
        begun, ended = event_time(event, "created"), event_time(event, "event_time" if "event_time" in event
                                                                  else "timestamp")
        self.duration_s = max(self.duration_s, ended - begun)


def ways(events):
    """{message id: [Way]} of all terminal events."""
    made = {}
    for event in events:
        if event["type"] in ("Delivery", "Bounce", "Expiration", "AdminBounce"):
            way = Way(event)
            made.setdefault(event["id"], {}).setdefault(way.key(), way).add(event)
    return {identity: list(group.values()) for identity, group in made.items()}


COLUMNS = (("message", 12, False), ("accepted", 15, False), ("rcpt", 4, True), ("site", 22, False),
           ("exchanger", 19, False), ("ip", 2, False), ("TLS", 26, False), ("tries", 5, True), ("time", 7, True),
           ("result", 14, False))


SITE_COLUMNS = next(columns for title, columns, _ in COLUMNS if title == "site")


def _line(cells, kind=None):
    text = "  ".join(fit(str(cell), columns, right) for cell, (_, columns, right) in zip(cells, COLUMNS)).rstrip()
    return paint(text, kind) if kind else text


def head():
    return _line([title for title, _, _ in COLUMNS], "bold")


def rows(sent, message_ways):
    """The lines of one message: the first says how it came in, each says how its recipients went out."""
    refused = [answer for answer in sent.answers.values() if not 200 <= answer[0] < 300]
    if refused and not sent.acknowledged():
        return [_line([sent.message.id, f"no: {refused[0][0]} {refused[0][1]}"], "bad")]
    came = f"{sent.message.client} {sent.tls.split()[0] if sent.tls else 'clear'}"
    lines = []
    for number, way in enumerate(message_ways):
        first = number == 0
        cells = [sent.message.id if first else "", came if first else "", way.recipients,
                 names(way.site, SITE_COLUMNS), way.exchanger, way.family, way.tls or ("clear" if way.family else ""), way.attempts,
                 seconds(way.duration_s), way.result]
        lines.append(_line(cells, None if way.kind == "Delivery" else "wait"))
        past = passed_over(sent, way)
        if past:
            lines.append(paint(f"{'':14}went past {', '.join(past)}", "dim"))
    if not message_ways:
        lines.append(_line([sent.message.id, came, len(sent.acknowledged()), "", "", "", "",
                            "", "", "waiting"], "wait"))
    return lines


def passed_over(sent, way):
    """The exchangers of better preference than the one that took the mail, by the MX records."""
    if way.kind != "Delivery":
        return []
    for name in {recipient.rpartition("@")[2] for recipient in sent.message.recipients}:
        domain = world.domain(name)
        hosts = [host for _, host in sorted(domain.mx)] if domain else []
        if way.site == "+".join(sorted(hosts)) and way.exchanger in hosts:
            return [f"{host} ({'dead' if world.exchanger(host) is None else 'alive'})"
                    for host in hosts[:hosts.index(way.exchanger)]]
    return []


def delays(events, identities):
    """Why recipients of these messages had to wait, each reason once."""
    reasons = {}
    for event in events:
        if event["type"] == "TransientFailure" and event["id"] in identities:
            response = event.get("response") or {}
            text = f"{event.get('site') or event.get('queue')}: {response.get('code', '')} {response.get('content', '')}"
            reasons[text] = reasons.get(text, 0) + len(as_list(event.get("recipient")))
    return [paint(f"{'':14}waited, {text.strip()} ({count} recipient{'s' * (count > 1)})", "dim")
            for text, count in reasons.items()]


def notification_rows(receptions, all_ways, known, sents):
    """The lines of what the appliance made itself: DSNs, each with the message that it is about."""
    about = {identity: sent.message.id for sent in sents for identity in ids_of(sent, receptions)}
    lines = []
    for identity, event in receptions.items():
        if identity in known:
            continue
        for way in all_ways.get(identity, []):
            lines.append(_line([about.get(event.get("dsn_for"), "?"), "DSN for it", way.recipients, names(way.site, SITE_COLUMNS), way.exchanger, way.family,
                                way.tls or ("clear" if way.family else ""), way.attempts, seconds(way.duration_s),
                                way.result], "dim"))
    return lines
