/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Process set-up, and where wolfSSL's randomness comes from. Every WOLFSSL object owns a Hash-DRBG
 * that the stock library seeds from /dev/urandom: three system calls a connection. A crypto
 * callback device answers the seed request from the calling thread's generator instead, so a worker
 * makes none, and a simulation is a function of its seed.
 *
 * Owner: the device is registered once, before any thread starts; the pointer to the generator is
 * each thread's own.
 */
#include "tls/internal.h"

#include <wolfssl/wolfcrypt/cryptocb.h>

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

static _Thread_local struct mr_random *thread_random;

int tls_entropy(void *to, size_t size)
{
	uint8_t *p = to;

	if (thread_random) {
		random_bytes(thread_random, to, size);
		return 0;
	}
	while (size > 0) {
		ssize_t n = getrandom(p, size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Nothing but seeds is ours: keys and hashes are computed by the library in place. */
static int on_crypto(int device_id, wc_CryptoInfo *info, void *context)
{
	if (info->algo_type != WC_ALGO_TYPE_SEED)
		return CRYPTOCB_UNAVAILABLE;
	return tls_entropy(info->seed.seed, info->seed.sz) == 0 ? 0 : RNG_FAILURE_E;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result;

static void initialise(void)
{
	if (wolfSSL_Init() != WOLFSSL_SUCCESS)
		once_result = -EIO;
	else if (wc_CryptoCb_RegisterDevice(TLS_DEVICE_ID, on_crypto, NULL) != 0)
		once_result = -ENOMEM;
}

int tls_global_init(void)
{
	pthread_once(&once, initialise);
	return once_result;
}

void tls_thread_init(struct mr_random *random)
{
	thread_random = random;
}
