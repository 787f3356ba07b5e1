/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the server says, once for each (RFC 5321, 4.2; RFC 3463; RFC 2034). */
#ifndef MILLRACE_DATAPLANE_SMTP_SERVER_REPLY_H
#define MILLRACE_DATAPLANE_SMTP_SERVER_REPLY_H

/** How a reply changes the session. */
enum server_reply_effect {
	REPLY_GOES_ON,
	REPLY_IS_ERROR, /**< counts against view_limits.errors */
	REPLY_CLOSES,	/**< and nothing that came after it is looked at */
};

/* name, effect, text */
#define SERVER_REPLIES(X)                                                                       \
	X(OK, GOES_ON, "250 2.0.0 OK")                                                          \
	X(RESET, GOES_ON, "250 2.0.0 Reset")                                                    \
	X(SENDER_OK, GOES_ON, "250 2.1.0 Sender OK")                                            \
	X(RECIPIENT_OK, GOES_ON, "250 2.1.5 Recipient OK")                                      \
	X(START_DATA, GOES_ON, "354 End data with <CR><LF>.<CR><LF>")                           \
	X(READY_FOR_TLS, GOES_ON, "220 2.0.0 Ready to start TLS")                               \
	X(AUTHENTICATED, GOES_ON, "235 2.7.0 Authentication succeeded")                         \
	X(ASK_RESPONSE, GOES_ON, "334 ")                                                        \
	X(ASK_USER, GOES_ON, "334 VXNlcm5hbWU6")                                                \
	X(ASK_PASSWORD, GOES_ON, "334 UGFzc3dvcmQ6")                                            \
	X(HELP, GOES_ON, "214 2.0.0 See RFC 5321")                                              \
	X(CANNOT_VERIFY, GOES_ON,                                                               \
	  "252 2.5.0 Cannot verify, but will take a message and try to deliver it")             \
	X(BYE, CLOSES, "221 2.0.0 Bye")                                                         \
	X(TIMEOUT, CLOSES, "421 4.4.2 Timeout")                                                 \
	X(TOO_MANY_ERRORS, CLOSES, "421 4.7.0 Too many errors")                                 \
	X(TOO_MANY_SESSIONS, CLOSES, "421 4.7.0 Too many connections")                          \
	X(TOO_MANY_MESSAGES, CLOSES, "421 4.7.0 Too many messages on this connection")          \
	X(TOO_MANY_TINY_CHUNKS, CLOSES, "421 4.7.0 Too many tiny chunks")                       \
	X(LINE_FLOOD, CLOSES, "421 4.7.0 Line without end")                                     \
	X(DRAINING, CLOSES, "421 4.3.2 Service shutting down")                                  \
	X(OVERLOAD, CLOSES, "421 4.3.2 Overloaded, try again later")                            \
	X(UNAUTHORIZED_PIPELINING, CLOSES, "554 5.5.0 SMTP protocol synchronization error")     \
	X(HTTP, CLOSES, "554 5.5.0 This is not a web server")                                   \
	X(MESSAGE_FLOOD, CLOSES, "552 5.3.4 The message is far too big")                        \
	X(CHUNK_UNFOLLOWABLE, CLOSES, "501 5.5.4 Syntax: BDAT size [LAST]")                     \
	X(NO_SPACE, GOES_ON, "452 4.3.1 Insufficient storage, try again later")                 \
	X(IO_ERROR, GOES_ON, "451 4.3.0 Cannot store the message, try again later")             \
	X(TLS_UNAVAILABLE, GOES_ON, "454 4.7.0 TLS not available due to temporary reason")      \
	X(AUTH_UNAVAILABLE, GOES_ON, "454 4.7.0 Temporary authentication failure")              \
	X(RECIPIENTS_FULL, GOES_ON, "452 4.5.3 Too many recipients")                            \
	X(RECIPIENTS_FLOOD, IS_ERROR, "452 4.5.3 Too many recipients")                          \
	X(UNKNOWN_COMMAND, IS_ERROR, "500 5.5.2 Command not recognized")                        \
	X(LINE_TOO_LONG, IS_ERROR, "500 5.5.2 Line too long")                                   \
	X(AUTH_LINE_TOO_LONG, IS_ERROR, "500 5.5.6 Authentication exchange line is too long")   \
	X(BARE_LF, IS_ERROR, "500 5.5.2 Lines end with CRLF")                                   \
	X(BAD_CHARACTERS, IS_ERROR, "501 5.5.2 A character that is not allowed")                \
	X(NOT_IMPLEMENTED, IS_ERROR, "502 5.5.1 Command not implemented")                       \
	X(NO_ARGUMENT_ALLOWED, IS_ERROR, "501 5.5.4 No argument is allowed")                    \
	X(SYNTAX_HELO, IS_ERROR, "501 5.5.4 Syntax: EHLO hostname")                             \
	X(SYNTAX_MAIL, IS_ERROR, "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]")          \
	X(SYNTAX_RCPT, IS_ERROR, "501 5.5.4 Syntax: RCPT TO:<address> [parameters]")            \
	X(SYNTAX_AUTH, IS_ERROR, "501 5.5.4 Syntax: AUTH mechanism [initial-response]")         \
	X(BAD_SENDER, IS_ERROR, "501 5.1.7 Bad sender address syntax")                          \
	X(BAD_RECIPIENT, IS_ERROR, "501 5.1.3 Bad recipient address syntax")                    \
	X(BAD_PARAMETER, IS_ERROR, "501 5.5.4 Malformed or repeated parameter")                 \
	X(UNKNOWN_PARAMETER, IS_ERROR, "555 5.5.4 Parameter not recognized or not implemented") \
	X(NEEDS_SMTPUTF8, IS_ERROR, "553 5.6.7 A non-ASCII address needs SMTPUTF8")             \
	X(TOO_BIG, IS_ERROR, "552 5.3.4 The message is too big")                                \
	X(BAD_SEQUENCE, IS_ERROR, "503 5.5.1 Bad sequence of commands")                         \
	X(NO_HELO, IS_ERROR, "503 5.5.1 Send EHLO first")                                       \
	X(NO_MAIL, IS_ERROR, "503 5.5.1 Need MAIL first")                                       \
	X(NESTED_MAIL, IS_ERROR, "503 5.5.1 Nested MAIL")                                       \
	X(NO_RECIPIENTS, IS_ERROR, "554 5.5.1 No valid recipients")                             \
	X(CHUNK_OUT_OF_PLACE, IS_ERROR, "503 5.5.1 BDAT without MAIL and RCPT")                 \
	X(TLS_ACTIVE, IS_ERROR, "503 5.5.1 TLS is already active")                              \
	X(NEEDS_TLS, IS_ERROR, "530 5.7.0 Must issue a STARTTLS command first")                 \
	X(NEEDS_AUTH, IS_ERROR, "530 5.7.0 Authentication required")                            \
	X(AUTH_NEEDS_TLS, IS_ERROR, "538 5.7.11 Encryption required for authentication")        \
	X(AUTH_TWICE, IS_ERROR, "503 5.5.1 Already authenticated")                              \
	X(AUTH_MECHANISM, IS_ERROR, "504 5.5.4 Authentication mechanism not supported")         \
	X(AUTH_CANCELLED, IS_ERROR, "501 5.7.0 Authentication cancelled")                       \
	X(AUTH_MALFORMED, IS_ERROR, "501 5.5.2 Malformed authentication response")              \
	X(AUTH_FAILED, IS_ERROR, "535 5.7.8 Authentication credentials invalid")                \
	X(RELAY_DENIED, IS_ERROR, "550 5.7.1 Relaying denied")

enum server_reply {
#define X(name, effect, text) REPLY_##name,
	SERVER_REPLIES(X)
#undef X
		REPLY_COUNT
};

#endif
