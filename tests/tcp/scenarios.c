/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our side of each scenario, and the table of them all. */
#include "tests/tcp/peer.h"

#include <string.h>

#define POKE_US (300 * US_PER_MS)

static void send_everything(struct world *w)
{
	w->ours->close_when_sent = true;
	harness_send(w->ours, w->data, w->size);
}

static void close_at_once(struct world *w)
{
	harness_close(w->ours);
}

static void close_at_the_end(struct world *w)
{
	w->ours->close_on_end = true;
	if (w->ours->ended) /* it came with the same turn */
		harness_close(w->ours);
}

static void do_nothing(struct world *w)
{
}

static void abort_on_data(struct world *w)
{
	w->ours->abort_on_receive = true;
}

/* Something that the peer will not have read when it closes. */
static void leave_something_unread(struct world *w)
{
	harness_send(w->ours, w->data, BEFORE_RESET);
}

static bool ours_closed(struct world *w)
{
	return w->ours->closed;
}

/* Answer only when the peer's end has come. */
static bool answer_after_end(struct world *w)
{
	if (w->ours->ended && w->ours->to_send == NULL)
		send_everything(w);
	return w->ours->closed;
}

/* The peer's reset may be lost: what is sent then is answered by another. */
static bool poke_until_closed(struct world *w)
{
	struct harness_connection *c = w->ours;

	if (c->closed)
		return true;
	if (w->linux_done && w->h->now.mono_us >= w->poked_us && c->sent == c->to_send_size) {
		w->poked_us = w->h->now.mono_us + POKE_US;
		harness_send(c, w->data, 1);
	}
	return false;
}

static const char *received_all(struct world *w)
{
	if (w->ours->reason != TCP_CLOSED)
		return "our connection did not close in order";
	if (w->ours->received_size != w->size || memcmp(w->ours->received, w->data, w->size) != 0)
		return "we received other bytes";
	return NULL;
}

/* And both sides found what was offered. */
static const char *received_all_with_options(struct world *w)
{
	const struct surroundings *a = w->around;

	if (w->information.sack == a->no_sack || w->information.timestamps == a->no_timestamps ||
	    (w->information.send_scale != 0) == a->no_scale)
		return "we negotiated other options";
	return received_all(w);
}

static const char *received_question(struct world *w)
{
	return w->ours->received_size == QUESTION && w->ours->reason == TCP_CLOSED
		       ? NULL
		       : "the question is not whole";
}

static const char *was_reset(struct world *w)
{
	return w->ours->reason == TCP_RESET && w->ours->received_size == BEFORE_RESET ? NULL
										      : "not reset";
}

static const char *was_aborted(struct world *w)
{
	return w->ours->reason == TCP_ABORTED ? NULL : "not aborted";
}

static const char *closed_well(struct world *w)
{
	return w->ours->reason == TCP_CLOSED ? NULL : "our connection did not close in order";
}

const struct scenario scenarios[] = {
	{"Linux connects, both send at once", false, linux_exchanges, send_everything, ours_closed,
	 received_all_with_options, 0, false, false},
	{"we connect, both send at once", true, linux_exchanges, send_everything, ours_closed,
	 received_all_with_options, 0, false, false},
	{"Linux half-closes and is answered", false, linux_half_closes, do_nothing,
	 answer_after_end, received_question, 0, false, false},
	{"Linux, connected to, half-closes and is answered", true, linux_half_closes, do_nothing,
	 answer_after_end, received_question, 0, false, false},
	{"we half-close and are answered", true, linux_is_asked, send_everything, ours_closed,
	 received_all, 0, false, false},
	{"we, connected to, half-close and are answered", false, linux_is_asked, send_everything,
	 ours_closed, received_all, 0, false, false},
	{"Linux closes first, without data", false, linux_only_closes, close_at_the_end,
	 ours_closed, closed_well, 0, false, true},
	{"both close at once, without data", true, linux_only_closes, close_at_once, ours_closed,
	 closed_well, 0, false, true},
	{"Linux resets", false, linux_resets, do_nothing, poke_until_closed, was_reset, 0, false,
	 false},
	{"Linux closes with bytes unread", true, linux_closes_unread, leave_something_unread,
	 poke_until_closed, was_reset, 0, false, false},
	{"we reset", true, linux_is_reset, abort_on_data, ours_closed, was_aborted, 0, false,
	 false},
	{"Linux shuts its window and opens it late", true, linux_reads_late, send_everything,
	 ours_closed, closed_well, 8192, false, false},
	{"16 MB each way", true, linux_exchanges, send_everything, ours_closed, received_all, 0,
	 true, true},
};
const unsigned scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
