/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every command's words and what they do, once: the daemon's tables and the help that the CLI gives
 * without a daemon are made of it. Words that only lead on to others have their help here, too.
 */
#ifndef MILLRACE_CONTROL_CLI_CATALOGUE_H
#define MILLRACE_CONTROL_CLI_CATALOGUE_H

#define CATALOGUE(X)                                                                          \
	X(SHOW_VERSION, "show version", "what runs, and since when")                          \
	X(SHOW_HEALTH, "show health", "is all well; the ledger of recipients")                \
	X(SHOW_QUEUE, "show queue", "recipient domains with mail in the queue")               \
	X(SHOW_MESSAGE, "show message",                                                       \
	  "one message: its recipients, attempts, and what each waits for")                   \
	X(SHOW_SESSIONS, "show sessions", "SMTP sessions now")                                \
	X(SHOW_PATHS, "show paths", "source x site: connections, limits, results, back-off")  \
	X(SHOW_SOURCES, "show sources", "egress addresses and what they carry")               \
	X(SHOW_LISTENERS, "show listeners", "where mail is accepted, and how")                \
	X(SHOW_PORTS, "show ports", "network ports: driver, link, steering, traffic")         \
	X(SHOW_WORKERS, "show workers", "load, sessions and memory of each worker core")      \
	X(SHOW_COUNTERS, "show counters",                                                     \
	  "every counter that is not zero: traffic, drops, refusals")                         \
	X(SHOW_CAPTURES, "show captures",                                                     \
	  "packet captures: those that run and the last that ended")                          \
	X(SHOW_SPOOL, "show spool", "the durable log: space, commits, latency")               \
	X(SHOW_MEMORY, "show memory", "budgets and their use")                                \
	X(SHOW_CERTIFICATES, "show certificates", "certificates of the listeners")            \
	X(SHOW_CRYPTO, "show crypto", "what the processor and cards offer, and what is used") \
	X(SHOW_CONFIG, "show config", "the configuration in force, with defaults")            \
	X(REQUEST_QUEUE_RETRY, "request queue retry", "attempt now")                          \
	X(REQUEST_QUEUE_DELETE, "request queue delete",                                       \
	  "remove from the queue, without a notice to the sender")                            \
	X(REQUEST_CAPTURE_START, "request capture start",                                     \
	  "copy packets of a port or a session to a pcapng file")                             \
	X(REQUEST_CAPTURE_STOP, "request capture stop", "end a capture")                      \
	X(REQUEST_CONFIG_CHECK, "request config check",                                       \
	  "read the file and say all that is wrong with it")                                  \
	X(REQUEST_CONFIG_RELOAD, "request config reload",                                     \
	  "adopt the file; on errors the old configuration goes on")                          \
	X(REQUEST_SYSTEM_DRAIN, "request system drain", "refuse new mail and finish what runs")

enum catalogue_command {
#define X(name, words, help) CATALOGUE_##name,
	CATALOGUE(X)
#undef X
		CATALOGUE_COMMANDS
};

struct catalogue_entry {
	const char *words, *help;
};

extern const struct catalogue_entry catalogue[CATALOGUE_COMMANDS];

/** What a word is for that leads on to others: "request queue". @return "..." when unknown */
const char *catalogue_group_help(const char *words);

#endif
