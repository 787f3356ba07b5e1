#!/usr/bin/env python3
"""Sends messages as a mail program would: Python's smtplib, and BDAT by hand over it. Runs in the sender's namespace.

  client.py JOB.json     {"host", "port", "tls": "", "starttls" or "implicit", "auth": "" or [mechanism, user, password],
                          "messages": [{id, sender, recipients, file, eightbit, utf8, notify, chunks}]}

Prints one JSON line for each message: {"id", "answers": {recipient: [code, text]}, "tls", "seconds"}; an answer is the
final one for this recipient: to RCPT if that refused it, to the end of the data otherwise.
"""
import json
import smtplib
import ssl
import sys
import time


def _text(reply):
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def _chunks(smtp, data, count=3):
    size = len(data) // count + 1
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    code, reply = 0, b""
    for number, piece in enumerate(pieces):
        last = " LAST" if number == len(pieces) - 1 else ""
        smtp.send(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
        code, reply = smtp.getreply()
        if code != 250:
            break
    return code, reply


def transaction(smtp, job):
    """One message; returns {recipient: [code, text]}."""
    with open(job["file"], "rb") as file:
        data = file.read()
    options = [f"SIZE={len(data)}"] if smtp.has_extn("size") else []
    if job["eightbit"] and smtp.has_extn("8bitmime"):
        options.append("BODY=8BITMIME")
    if job["utf8"]:
        options.append("SMTPUTF8")
        smtp.command_encoding = "utf-8"
    else:
        smtp.command_encoding = "ascii"
    code, reply = smtp.docmd("MAIL", " ".join([f"FROM:<{job['sender']}>"] + options))
    if code != 250:
        smtp.rset()
        return {recipient: [code, _text(reply)] for recipient in job["recipients"]}
    answers = {}
    for recipient in job["recipients"]:
        notify = f" NOTIFY={job['notify']}" if job["notify"] else ""
        code, reply = smtp.docmd("RCPT", f"TO:<{recipient}>{notify}")
        answers[recipient] = [code, _text(reply)]
    taken = [recipient for recipient, (code, _) in answers.items() if code in (250, 251)]
    if not taken:
        smtp.rset()
        return answers
    if job["chunks"]:
        final = _chunks(smtp, data)
    else:
        code, reply = smtp.docmd("DATA")
        if code == 354:
            smtp.send(smtplib._quote_periods(data) + b".\r\n")
            final = smtp.getreply()
        else:
            final = (code, reply)
    for recipient in taken:
        answers[recipient] = [final[0], _text(final[1])]
    return answers


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for job in plan["messages"]:
        began = time.monotonic()
        options = {"local_hostname": "client.crm.example", "timeout": 120}
        implicit = plan["tls"] == "implicit"
        with (smtplib.SMTP_SSL(plan["host"], plan["port"], context=context, **options) if implicit else
              smtplib.SMTP(plan["host"], plan["port"], **options)) as smtp:
            smtp.ehlo()
            tls = ""
            if plan["tls"] == "starttls" and smtp.has_extn("starttls"):
                smtp.starttls(context=context)
                smtp.ehlo()
            if isinstance(smtp.sock, ssl.SSLSocket):
                tls = f"{smtp.sock.version()} {smtp.sock.cipher()[0]}"
            if plan["auth"]:
                mechanism, smtp.user, smtp.password = plan["auth"]
                smtp.auth(mechanism, {"PLAIN": smtp.auth_plain, "LOGIN": smtp.auth_login}[mechanism])
            answers = transaction(smtp, job)
        print(json.dumps({"id": job["id"], "answers": answers, "tls": tls, "seconds": time.monotonic() - began}),
              flush=True)


if __name__ == "__main__":
    main()
