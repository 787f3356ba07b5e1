/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What this machine offers for cryptography, what of it is used, and why the rest is not: `show
 * crypto`. Detection reads CPUID and XCR0 only; it can be asked from any thread at any time and has
 * no state.
 */
#ifndef MILLRACE_DRIVERS_CRYPTO_CRYPTO_H
#define MILLRACE_DRIVERS_CRYPTO_CRYPTO_H

#include <stdbool.h>

struct crypto_feature {
	const char *name;
	bool available; /**< the CPU has it and the operating system saves its registers */
	bool used;
	const char *why; /**< what it is used for, or why it is not used; one line */
};

/** All of them fit. */
#define CRYPTO_FEATURES_MAX 16

/** @param max room in out @return entries written */
unsigned crypto_features(struct crypto_feature *out, unsigned max);

#endif
