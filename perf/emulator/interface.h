/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the emulator stands between: an interface of a network namespace (an end of a veth pair), a
 * TAP device that it makes, or a socket that it was given. One frame a call.
 */
#ifndef MILLRACE_PERF_EMULATOR_INTERFACE_H
#define MILLRACE_PERF_EMULATOR_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRAME_MAX      2048u
#define INTERFACE_ROOM 70000u /* what interface_receive may write */

struct interface {
	char *name;
	int fd;
	bool packet_socket;
	uint64_t oversized; /* segments that are no frames */
	uint64_t refused;   /* the interface did not take them */
};

/**
 * @param text NAME, tap:NAME or fd:NUMBER, and behind @ the file of another network namespace;
 * exits when it cannot be had
 */
void interface_open(struct interface *it, const char *text);
void interface_close(struct interface *it);
/** @return size of the frame, 0: nothing, -1: not for us */
ssize_t interface_receive(struct interface *it, uint8_t *frame);
void interface_transmit(struct interface *it, uint8_t *frame, size_t size);
/** Say what failed, and why, and exit. */
_Noreturn void interface_die(const char *what, const char *name);

#endif
