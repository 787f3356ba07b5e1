/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A simulated disk in virtual time, from a seed: completions come late and in any order, a power
 * cut keeps any subset of the sectors that were not durable, reads and writes fail, bits flip,
 * space runs out (notes: reliability 1.3, 1.6 T1).
 *
 * Owner: one thread. Memory: each file twice (what is durable, what reads see). A write is durable
 * when its completion is reaped, not before; with `lossy` it is durable at the next flush only,
 * which is the lie that tests must notice.
 */
#ifndef MILLRACE_DRIVERS_DISK_DISK_SIM_H
#define MILLRACE_DRIVERS_DISK_DISK_SIM_H

#include "drivers/disk/disk.h"

struct disk_sim_settings {
	uint64_t seed;
	uint64_t latency_min_us; /**< of reads and writes; creation takes ten times as long */
	uint64_t latency_max_us;
	uint64_t capacity; /**< bytes over all files; 0: no limit */
	uint32_t sector;   /**< what a cut cannot tear: 512 or 4096; 0 is 512 */
	bool lossy;	   /**< acknowledge before it is durable */
};

/** Chances in a million, each time. */
struct disk_sim_faults {
	uint32_t write_error;  /**< -EIO; some sectors may have been written */
	uint32_t read_error;   /**< -EIO, this time */
	uint32_t read_flip;    /**< one bit of what was read is wrong, this time */
	uint32_t create_error; /**< -ENOSPC */
};

struct disk *disk_sim_create(const struct disk_sim_settings *settings);
/** Virtual time goes forward only. disk->wait moves it as well, to the next completion. */
void disk_sim_set_time(struct disk *disk, uint64_t now_us);
uint64_t disk_sim_time(const struct disk *disk);
/** When the next completion is due; UINT64_MAX: nothing is in flight. */
uint64_t disk_sim_next(const struct disk *disk);
void disk_sim_set_faults(struct disk *disk, const struct disk_sim_faults *faults);
/** The next `count` writes fail. */
void disk_sim_fail_writes(struct disk *disk, unsigned count);

/**
 * The power goes: of what is not durable any subset of sectors survives, drawn from the seed.
 * Requests in flight complete with -ECANCELED, so that their owner can let go; then the disk is as
 * after the next start.
 */
void disk_sim_cut(struct disk *disk);
/** Sectors that a cut now would draw for. */
unsigned disk_sim_unsafe_sectors(const struct disk *disk);
/**
 * A copy of the disk as it would be after a cut now, with sector i surviving when bit i of
 * `survivors` is set. What comes later can be tried on the copy.
 */
struct disk *disk_sim_fork(const struct disk *disk, uint64_t survivors, uint64_t seed);

/** The bytes of a file as reads see them, to be changed by tests (on the platter too). @return
 * NULL: no such file */
uint8_t *disk_sim_bytes(struct disk *disk, const char *name, uint64_t *size);
/** Bring a change made through disk_sim_bytes to what is durable. */
void disk_sim_settle(struct disk *disk);

struct disk_sim_counts {
	uint64_t writes;
	uint64_t bytes_written;
	uint64_t reads;
	uint64_t bytes_read;
	uint64_t write_errors;
	uint64_t creates;
	uint64_t sectors_lost; /**< at cuts */
	uint64_t sectors_kept;
};
void disk_sim_counts(const struct disk *disk, struct disk_sim_counts *counts);

#endif
