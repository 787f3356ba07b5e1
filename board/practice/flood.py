#!/usr/bin/env python3
"""Sends small messages on several connections until told to stop, and writes down each that was acknowledged. Runs in the
sender's namespace. It outlives a relay that dies: it connects again until it is answered.

  flood.py HOST PORT CONNECTIONS RECIPIENT LOG [--tls]

A line of LOG is an acknowledged message's X-Practice-Id; it is written after the final 250 was read. SIGTERM ends it.
"""
import signal
import smtplib
import ssl
import sys
import threading
import time

STOP = threading.Event()


def session(host, port, recipient, tls, name, log):
    context = ssl._create_unverified_context()
    serial = 0
    while not STOP.is_set():
        try:
            with smtplib.SMTP(host, port, local_hostname="flood.crm.example", timeout=5) as smtp:
                smtp.ehlo()
                if tls:
                    smtp.starttls(context=context)
                    smtp.ehlo()
                while not STOP.is_set():
                    serial += 1
                    identity = f"flood-{name}-{serial}"
                    body = (f"From: news@crm.example\r\nTo: {recipient}\r\nDate: Sun, 01 Mar 2026 08:00:00 +0100\r\n"
                            f"Message-ID: <{identity}@crm.example>\r\nX-Practice-Id: {identity}\r\n"
                            f"Subject: flood\r\n\r\n" + "One of many.\r\n" * 20)
                    smtp.sendmail("news@crm.example", [recipient], body)
                    log.write(identity + "\n")
                    log.flush()
        except (OSError, smtplib.SMTPException):
            # Dead, restarting, or full: the message of this serial was not acknowledged.
            STOP.wait(0.05)


def main():
    host, port, connections, recipient, path = sys.argv[1:6]
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    with open(path, "a", encoding="ascii") as log:
        threads = [threading.Thread(target=session, daemon=True, args=(
            host, int(port), recipient, "--tls" in sys.argv, f"{int(time.time())}.{number}", log))
            for number in range(int(connections))]
        for thread in threads:
            thread.start()
        while not STOP.is_set():
            STOP.wait(1)
        for thread in threads:
            thread.join(8)


if __name__ == "__main__":
    main()
