/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A queue that only remembers what it was promised: it appends, and after each cut or restart
 * compares what the spool recovered with what it had been told (notes: reliability 1.5, I1, I2, I5,
 * I7).
 *
 *   I1  what `done` reported is there, with identical bytes
 *   I2  what it did not report is wholly there or wholly absent; a group is there or not as one
 *   I7  free + live + quarantined = all segments
 *   and: no message twice, none back after its end, no older state after a newer one, no end
 * forgotten by the notes
 */
#ifndef MILLRACE_TESTS_UNIT_SPOOL_MODEL_H
#define MILLRACE_TESTS_UNIT_SPOOL_MODEL_H

#include "control/queue/spool.h"
#include "drivers/disk/disk_sim.h"

#define MODEL_MESSAGES 20000u

enum model_status {
	MODEL_NONE,
	MODEL_APPENDING, /**< not reported yet */
	MODEL_DURABLE,
	MODEL_FINISHING, /**< its end is not reported yet */
	MODEL_GONE,
};

struct model_message {
	enum model_status status;
	uint32_t flags;
	uint32_t envelope_size;
	uint32_t body_size;
	uint32_t state_appended; /**< states count up from 1 */
	uint32_t state_durable;
	uint32_t partner; /**< the message whose state went into the same group; 0: none */
	uint32_t partner_state;
	uint32_t finish; /**< number of its end; 0: none yet */
	bool reading;
	struct spool_location location;
	struct chunk_list envelope;
	struct chunk_list body;
	/* What the last recovery said. */
	bool seen;
	bool ended;
	uint32_t state;
	struct spool_location found;
};

struct model {
	struct disk *disk;
	bool simulated;
	struct spool *spool;
	struct spool_settings settings;
	struct spool_recovered recovered;
	struct mr_random random; /**< of the test */
	struct mr_random spool_random;
	struct mr_now now;
	struct chunk_pool *chunks;
	struct model_message *messages; /**< by counter, from 1 */
	uint32_t message_count;
	uint32_t finish_appended;
	uint32_t finish_durable;
	uint32_t note_found;
	uint32_t finish_found;
	uint8_t *finish_seen;
	struct promise *promises;
	unsigned pending; /**< appends not reported */
	unsigned failed;  /**< reported as failed */
	unsigned read_failed;
	unsigned duplicates;
	unsigned violations;
	bool strict;	/**< fail the test at the first violation */
	bool damaged;	/**< bits were flipped: losses are allowed when they are noticed */
	bool snapshots; /**< give the spool what its cleaner needs */
	uint64_t seed;
	char error[256];
};

/** @param disk NULL: a simulated one from the seed */
void model_init(struct model *model, struct disk *disk, uint64_t seed);
void model_finish(struct model *model);
/** Open the spool and compare. @return false when it would not open */
bool model_open(struct model *model);
void model_close(struct model *model);
/** Power cut (simulated disks), or a crash: then open again and compare. */
void model_cut(struct model *model);
/** Compare what another disk would recover with what was promised, and forget it. */
void model_try(struct model *model, struct disk *disk);

/** @return the message's number, or 0 when it was refused (errno in *result, may be NULL) */
uint32_t model_append(struct model *model, uint32_t envelope_size, uint32_t body_size,
		      uint32_t flags, int *result);
int model_state(struct model *model, uint32_t message, uint32_t size);
/** State, end and now and then a note, in one group. */
int model_end(struct model *model, uint32_t message);
/** A message and a state of another, in one group. */
uint32_t model_group(struct model *model, uint32_t body_size, uint32_t about);
void model_note(struct model *model);
/** Read it back and compare. */
bool model_read(struct model *model, uint32_t message);
/** A random durable message, or 0. */
uint32_t model_pick(struct model *model);
uint32_t model_count(const struct model *model, enum model_status status);

void model_turn(struct model *model, uint64_t step_us);
/** Turn until nothing is pending. */
void model_settle(struct model *model);
/** Read all durable messages and compare. */
void model_read_all(struct model *model);
/** I7, and that nothing leaked. */
void model_check_segments(struct model *model);

/** A random life of `steps` steps. */
struct model_plan {
	unsigned steps;
	uint32_t body_max;
	unsigned cut_in;      /**< a cut one time in so many; 0: none */
	unsigned restart_in;  /**< an orderly restart */
	unsigned end_percent; /**< of steps that end a message */
	bool big;	      /**< now and then a message of many batches */
};
void model_live(struct model *model, const struct model_plan *plan);

#endif
