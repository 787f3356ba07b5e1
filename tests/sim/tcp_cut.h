/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a port does to frames that the stack leaves to it: checksums, and segments of
 * frame->tso_size, each with headers of its own. */
#ifndef MILLRACE_TESTS_SIM_TCP_CUT_H
#define MILLRACE_TESTS_SIM_TCP_CUT_H

#include "dataplane/buf/frame.h"

/** Also asserts that the stack left the frame as a port wants it. @param piece gets each frame,
 * whole */
void tcp_cut(const struct frame *frame,
	     void (*piece)(void *context, const uint8_t *data, size_t size), void *context);

/** Fill in the checksums that the frame's flags ask for. */
void tcp_fill_checksums(struct frame *frame);

#endif
