/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One client of the management server: its received line, its answer on the way out, its deadlines.
 * Owner: the management thread. Memory: a line's room grows to LINE_MAX_BYTES, an answer is whole
 * in memory.
 */
#ifndef MILLRACE_CONTROL_CLI_MANAGEMENT_CLIENT_H
#define MILLRACE_CONTROL_CLI_MANAGEMENT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** A request's line at most. */
#define MANAGEMENT_LINE_MAX (64u << 10)
/** An answer must be taken within this much of the last progress; a begun line must be finished
 * within it. */
#define MANAGEMENT_STALL_US UINT64_C(30000000)

struct management_client {
	int fd;
	uid_t uid; /**< who is at the other end (SO_PEERCRED) */
	pid_t pid;
	bool closing; /**< once its output is out */
	bool failed;  /**< gone, now */
	char *input;
	size_t input_size, input_room, line_size;
	char *output;
	size_t output_at, output_size;
	uint64_t progress_us; /**< monotonic */
};

/** Takes the descriptor. */
struct management_client *management_client_create(int fd, uint64_t now_us);
void management_client_destroy(struct management_client *client);
void management_client_receive(struct management_client *client, uint64_t now_us);
/** The first whole line, without its newline, until management_client_line_done; or NULL. */
const char *management_client_line(struct management_client *client, size_t *size);
void management_client_line_done(struct management_client *client);
/** A line longer than MANAGEMENT_LINE_MAX has begun. */
bool management_client_is_overlong(const struct management_client *client);
void management_client_answer(struct management_client *client, const json_t *answer);
bool management_client_has_output(const struct management_client *client);
void management_client_send(struct management_client *client, uint64_t now_us);
/** To be destroyed: closed by the peer, failed, finished, or stalled. */
bool management_client_is_over(const struct management_client *client, uint64_t now_us);

#endif
