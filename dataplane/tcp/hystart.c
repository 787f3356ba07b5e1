/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HyStart++ (RFC 9406): the first slow start ends when round trips grow, before the queue runs
 * over. A suspicion leads to conservative slow start, at a quarter of the growth; when the round
 * trip falls again it was jitter, after five rounds it was the queue.
 */
#include "dataplane/tcp/congestion.h"

/* RFC 9406, 4.3 */
#define MIN_RTT_THRESH_US  4000u
#define MAX_RTT_THRESH_US  16000u
#define MIN_RTT_DIVISOR	   8u
#define RTT_SAMPLES	   8u
#define CSS_GROWTH_DIVISOR 4u
#define CSS_ROUNDS	   5u

void hystart_init(struct hystart *h, uint32_t snd_nxt)
{
	*h = (struct hystart){.window_end = snd_nxt};
}

static uint32_t threshold(uint32_t last_rtt_us)
{
	uint32_t us = last_rtt_us / MIN_RTT_DIVISOR;

	return us < MIN_RTT_THRESH_US	? MIN_RTT_THRESH_US
	       : us > MAX_RTT_THRESH_US ? MAX_RTT_THRESH_US
					: us;
}

static void take_sample(struct hystart *h, uint32_t rtt_us)
{
	if (rtt_us == 0)
		return;
	if (h->rtt_us == 0 || rtt_us < h->rtt_us)
		h->rtt_us = rtt_us;
	if (h->samples < UINT8_MAX)
		h->samples++;
	if (h->samples < RTT_SAMPLES)
		return;
	if (h->baseline_us == 0) {
		if (h->last_rtt_us != 0 &&
		    h->rtt_us >= h->last_rtt_us + threshold(h->last_rtt_us)) {
			h->baseline_us = h->rtt_us;
			h->css_rounds = 0;
		}
	} else if (h->rtt_us < h->baseline_us) {
		h->baseline_us = 0; /* it was jitter */
	}
}

uint32_t hystart_on_ack(struct hystart *h, uint32_t snd_una, uint32_t snd_nxt, uint32_t rtt_us,
			uint32_t acked, bool *done)
{
	uint32_t growth = acked;

	*done = false;
	take_sample(h, rtt_us);
	if (h->baseline_us != 0) {
		growth = (acked + h->remainder) / CSS_GROWTH_DIVISOR;
		h->remainder = (uint8_t)((acked + h->remainder) % CSS_GROWTH_DIVISOR);
	}
	if (seq_lt(snd_una, h->window_end))
		return growth;
	/* The next round. */
	if (h->baseline_us != 0 && ++h->css_rounds >= CSS_ROUNDS)
		*done = true;
	h->last_rtt_us = h->rtt_us;
	h->rtt_us = 0;
	h->samples = 0;
	h->window_end = snd_nxt;
	return growth;
}
