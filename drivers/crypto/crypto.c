/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/crypto/crypto.h"

#include <cpuid.h>
#include <stdint.h>

/** Feature leaves of CPUID, and which register sets the operating system saves. */
struct cpu {
	uint32_t leaf1_ecx;
	uint32_t leaf7_ebx;
	uint32_t leaf7_ecx;
	bool saves_avx;	   /* XMM and YMM */
	bool saves_avx512; /* and the mask and ZMM registers */
};

enum { REGISTERS_XMM, REGISTERS_YMM, REGISTERS_ZMM };

/*
 * X(name, leaf and register, bit, registers that it needs, used, what for or why not)
 * "used" speaks of the libraries as they are built here: wolfSSL chooses at run time among what it
 * was compiled with.
 */
#define CPU_FEATURES(X)                                                                            \
	X("AES-NI", leaf1_ecx, 25, REGISTERS_XMM, true, "AES-GCM of TLS records")                  \
	X("PCLMULQDQ", leaf1_ecx, 1, REGISTERS_XMM, true, "GHASH of AES-GCM")                      \
	X("SSE4.2", leaf1_ecx, 20, REGISTERS_XMM, true, "CRC32C of the spool")                     \
	X("AVX2", leaf7_ebx, 5, REGISTERS_YMM, true, "SHA-2, ChaCha20-Poly1305, P-256 and X25519") \
	X("BMI2", leaf7_ebx, 8, REGISTERS_XMM, true,                                               \
	  "big-number arithmetic of RSA and elliptic curves")                                      \
	X("ADX", leaf7_ebx, 19, REGISTERS_XMM, true,                                               \
	  "big-number arithmetic of RSA and elliptic curves")                                      \
	X("SHA-NI", leaf7_ebx, 29, REGISTERS_XMM, false, "the TLS library hashes with AVX2")       \
	X("VAES", leaf7_ecx, 9, REGISTERS_YMM, false, "the TLS library encrypts with AES-NI")      \
	X("VPCLMULQDQ", leaf7_ecx, 10, REGISTERS_YMM, false,                                       \
	  "the TLS library computes GHASH with PCLMULQDQ")                                         \
	X("AVX-512 F", leaf7_ebx, 16, REGISTERS_ZMM, false, "no kernel of ours needs it yet")      \
	X("AVX-512 IFMA", leaf7_ebx, 21, REGISTERS_ZMM, false,                                     \
	  "private-key operations run one at a time, in the library")

static uint64_t read_xcr0(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

static struct cpu detect(void)
{
	struct cpu cpu = {0};
	uint32_t a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d))
		cpu.leaf1_ecx = c;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		cpu.leaf7_ebx = b;
		cpu.leaf7_ecx = c;
	}
	if (cpu.leaf1_ecx & 1u << 27) { /* OSXSAVE: XGETBV may be used */
		uint64_t xcr0 = read_xcr0();

		cpu.saves_avx = (xcr0 & 0x06) == 0x06;
		cpu.saves_avx512 = (xcr0 & 0xe6) == 0xe6;
	}
	return cpu;
}

static bool saves(const struct cpu *cpu, int registers)
{
	return registers == REGISTERS_XMM || (registers == REGISTERS_YMM && cpu->saves_avx) ||
	       (registers == REGISTERS_ZMM && cpu->saves_avx512);
}

static struct crypto_feature judge(const char *name, bool available, bool used, const char *why)
{
	struct crypto_feature feature = {
		.name = name, .available = available, .used = available && used};

	feature.why = available || !used ? why : "this CPU does not have it";
	return feature;
}

unsigned crypto_features(struct crypto_feature *out, unsigned max)
{
	struct cpu cpu = detect();
	unsigned n = 0;

#define ENTRY(name, word, bit, registers, used, why)                                             \
	if (n < max)                                                                             \
		out[n++] = judge(name, (cpu.word & 1u << (bit)) && saves(&cpu, registers), used, \
				 why);
	CPU_FEATURES(ENTRY)
#undef ENTRY
	if (n < max)
		out[n++] = judge("crypto cards", false, false,
				 "not looked for: everything runs on the CPU");
	return n;
}

#define COUNT(name, word, bit, registers, used, why) +1
_Static_assert(CPU_FEATURES(COUNT) + 1 <= CRYPTO_FEATURES_MAX, "the callers' arrays hold them");
