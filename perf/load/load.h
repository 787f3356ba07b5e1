/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The load: what is sent, how, and what came of it. The generator gives each message a number,
 * which travels in a header; the sink reports each number that it stored; the books say what is
 * lost and what came twice.
 */
#ifndef MILLRACE_PERF_LOAD_LOAD_H
#define MILLRACE_PERF_LOAD_LOAD_H

#include "drivers/random.h"
#include "perf/load/histogram.h"
#include "perf/load/transport.h"

#define LOAD_ID_HEADER "X-Load-Id: "
/** Digits of a number in the header: hexadecimal, fixed. */
#define LOAD_ID_DIGITS 12

struct size_choice {
	uint32_t min, max; /**< uniform in between; equal: fixed */
	unsigned steps;	   /**< of a histogram; 0: none */
	struct {
		uint32_t bytes;
		double up_to; /**< cumulative, 0..1 */
	} step[64];
};

struct load_settings {
	/* generator */
	unsigned sessions;
	uint64_t messages; /**< in all; 0: until seconds are over */
	double seconds;
	struct size_choice size;
	unsigned recipients;
	const char *domain; /**< several: "a.example,b.example" take turns */
	bool starttls;
	bool pipelining;
	bool bdat;
	unsigned messages_per_session; /**< 0: no limit */
	double rate;		       /**< messages a second, open loop; 0: closed loop */
	/* sink */
	bool sink_starttls;
	uint64_t reply_delay_us;    /**< before each answer to data */
	double refuse_rcpt_percent; /**< 451 */
	double reject_rcpt_percent; /**< 550 */
	double refuse_data_percent; /**< 451 after the dot */
};

/** What is known of one message. */
struct book_entry {
	uint8_t acknowledged;
	uint8_t refused; /**< 5xx, or given up by the generator */
	uint16_t stored; /**< times */
	uint64_t due_us; /**< when it was to be sent (open loop), or was sent */
};

struct load {
	struct load_settings settings;
	struct mr_now now;
	struct mr_random random;
	struct transport *generator, *sink; /**< NULL: not here */
	struct tls_context *client_context, *server_context;
	/* books */
	struct book_entry *book;
	uint64_t book_size;
	uint64_t begun, acknowledged, stored, duplicates, unknown, failed_sessions, refused,
		retried;
	uint64_t bytes_acknowledged;
	struct histogram accept_latency; /**< due to 250 */
	struct histogram relay_latency;	 /**< due to stored at the sink; recipients in one
					    transaction count once */
	/* sink state: answers that wait, in order of their time (the delay is the same for all) */
	struct sink_session *delayed, **delayed_end;
	/* generator state */
	struct generator_session *idle; /**< sessions that wait for something to send (open loop) */
	unsigned open_sessions;
	uint64_t started_us;
	bool stopping;	/**< begin no more messages */
	char *template; /**< body text, lines that begin with no dot */
	size_t template_size;
	uint64_t first_ack_us, last_ack_us, last_stored_us;
};

/** Open sessions, send what is due. Call each turn. */
void generator_turn(struct load *load);
int generator_init(struct load *load);
/** @return 0 or negative errno of listen */
int sink_init(struct load *load, uint16_t port);
/** Answers that are due. Call each turn. */
void sink_turn(struct load *load);
/** A message arrived at the sink. */
void load_on_stored(struct load *load, uint64_t number);

#endif
