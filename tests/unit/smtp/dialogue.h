/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client's side of a dialogue with the server engine, for tests: say something, see the replies
 * and what was submitted. A scenario is run many times: its input whole, octet by octet, and cut
 * once at every place (of a long one: at many), which must make no difference.
 */
#ifndef MILLRACE_TESTS_UNIT_SMTP_DIALOGUE_H
#define MILLRACE_TESTS_UNIT_SMTP_DIALOGUE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/smtp/server_engine.h"

#define DIALOGUE_CHUNKS	  256
#define DIALOGUE_OUTPUT	  (1 << 18)
#define DIALOGUE_MESSAGES 8

/** A submission, copied. */
struct dialogue_message {
	uint8_t *envelope;
	size_t envelope_size;
	uint8_t *body; /**< ends with NUL */
	size_t body_size;
	uint32_t recipients;
	uint32_t flags;
	struct message_id id;
};

struct dialogue {
	/* To be set before dialogue_begin (by the scenario's set-up). */
	struct view view;
	struct view_listener listener;
	struct ip_prefix relay_networks[1];
	struct ip_address peer;
	uint32_t commit_result; /**< what the shard answers */
	bool hold;		/**< commits and password checks wait for dialogue_answer */
	bool start_tls_fails;

	struct mr_now now;
	struct chunk_pool *pool;
	struct server_environment environment;
	struct server_engine engine;
	char *output;
	size_t output_size;
	size_t expected; /**< output that was looked at */
	size_t acknowledged;
	bool deaf; /**< the client acknowledges nothing */
	bool closed;
	bool tls_started;
	bool commit_pending;
	bool auth_pending;
	char auth_user[256];
	char auth_password[256];
	struct message_id committed_id;
	unsigned message_count;
	struct dialogue_message messages[DIALOGUE_MESSAGES];

	long cut; /**< 0: whole; -1: octet by octet; n: cut once, after so many octets of all that
		     is said */
	size_t said;   /**< octets so far */
	char *waiting; /**< what the engine did not take yet */
	size_t waiting_size;
};

/** Greet; the engine's first reply waits to be expected. */
void dialogue_begin(struct dialogue *d);
void dialogue_say_octets(struct dialogue *d, const void *data, size_t size);
void dialogue_say(struct dialogue *d, const char *text);
void dialogue_say_repeated(struct dialogue *d, char octet, size_t count);
/** Answer what waits. @param accepted for a password */
void dialogue_answer(struct dialogue *d, bool accepted);
void dialogue_wait(struct dialogue *d, uint64_t us);
void dialogue_secure(struct dialogue *d);
/** Each reply since the last call begins as told, in order, and there is no other. Ends with NULL.
 */
void dialogue_expect_replies(struct dialogue *d, const char *const *prefixes);
#define dialogue_expect(d, ...) dialogue_expect_replies(d, (const char *const[]){__VA_ARGS__, NULL})
/** No reply came since the last call. */
void dialogue_expect_nothing(struct dialogue *d);
/** The last reply's lines, from the last call of dialogue_expect on. */
const char *dialogue_output(const struct dialogue *d);

/** A field of a message's envelope as text, the `index`-th of its kind; NULL: not there. Static
 * memory. */
const char *message_field(const struct dialogue_message *message, unsigned field, unsigned index);
/** The body behind our trace header. */
const char *message_content(const struct dialogue_message *message);

/**
 * Run a scenario for every way to cut its input. Each run ends with the engine's release, after
 * which every chunk must be home.
 * @param set_up changes the listener, or NULL
 */
void dialogue_run(void (*set_up)(struct dialogue *), void (*scenario)(struct dialogue *));
/** Once, whole: for what is large. */
void dialogue_run_once(void (*set_up)(struct dialogue *), void (*scenario)(struct dialogue *));

/* Text that many scenarios say. */
#define EHLO	 "EHLO client.example\r\n"
#define MAIL	 "MAIL FROM:<sender@example.com>\r\n"
#define RCPT	 "RCPT TO:<rcpt@example.net>\r\n"
#define ENVELOPE MAIL RCPT
#define HEADER \
	"Date: Sun, 22 Nov 2026 16:09:34 +0000\r\nMessage-ID: <1@example.com>\r\nSubject: x\r\n\r\n"

/** Greeting and EHLO, expected. */
void dialogue_ehlo(struct dialogue *d);
/** As dialogue_ehlo, then MAIL, RCPT and DATA up to 354. */
void dialogue_data(struct dialogue *d);

#endif
