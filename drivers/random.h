/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Randomness of one thread: ChaCha20 in counter mode, keyed from getrandom(2) in the product and
 * from a seed in the simulator. Good enough for ISNs, ports, message ids and jitter; TLS keys come
 * from wolfSSL's own DRBG, which is seeded from here through tls/.
 */
#ifndef MILLRACE_DRIVERS_RANDOM_H
#define MILLRACE_DRIVERS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct mr_random {
	uint32_t state[16]; /**< ChaCha20 input block */
	uint8_t block[64];  /**< key stream not handed out yet */
	unsigned used;	    /**< bytes of block already handed out */
};

/** Key from the operating system. @return 0, or negative errno of getrandom(2). */
int random_init(struct mr_random *r);
/** Key from a seed, for simulations and tests: same seed, same stream. */
void random_init_seed(struct mr_random *r, uint64_t seed);
void random_bytes(struct mr_random *r, void *to, size_t size);
uint32_t random_u32(struct mr_random *r);
uint64_t random_u64(struct mr_random *r);
/** @return uniform in [0, below); below > 0 */
uint32_t random_below(struct mr_random *r, uint32_t below);

#endif
