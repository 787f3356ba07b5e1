/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/nic/steering.h"

#include <assert.h>
#include <string.h>

#define BITS 7u

const char *nic_steering_name(enum nic_steering mode)
{
	static const char *const names[] = {
		[NIC_STEERING_ONE_QUEUE] = "one-queue",
		[NIC_STEERING_RSS_KEY] = "rss-key",
		[NIC_STEERING_FLOW_RULES] = "flow-rules",
		[NIC_STEERING_HAND_OFF] = "hand-off-ring",
	};

	return names[mode];
}

void nic_steering_key(uint8_t *key, size_t size)
{
	static const unsigned bits[] = {104, 120, 296, 312};

	assert(size >= NIC_STEERING_KEY_MIN);
	memset(key, 0, size);
	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		key[bits[i] / 8] = (uint8_t)(key[bits[i] / 8] | 0x80 >> (bits[i] % 8));
}

uint16_t nic_steering_ports_of_slot(unsigned slot)
{
	uint16_t ports = 0;

	for (unsigned b = 0; b < BITS; b++)
		ports = (uint16_t)(ports | (slot >> b & 1) << (BITS - 1 - b));
	return ports;
}

/* The owner of all ports that agree with `value` under `mask`, or -1 when they have several. */
static int only_owner(const uint16_t *owner_of_slot, unsigned value, unsigned mask)
{
	int owner = -1;

	for (unsigned s = 0; s < NIC_STEERING_SLOTS; s++) {
		if ((nic_steering_ports_of_slot(s) & mask) != value)
			continue;
		if (owner >= 0 && owner != owner_of_slot[s])
			return -1;
		owner = owner_of_slot[s];
	}
	return owner;
}

unsigned nic_steering_rules(const uint16_t *owner_of_slot, uint16_t remote_port,
			    struct nic_steering_rule *rules)
{
	/* Bit 0 decides last (net_owner), so halving by the others first needs the fewest rules. */
	static const uint8_t order[BITS] = {1, 2, 3, 4, 5, 6, 0};
	struct {
		uint8_t value, mask, depth;
	} todo[BITS + 2];
	unsigned left = 1, count = 0;

	todo[0].value = todo[0].mask = todo[0].depth = 0;
	while (left > 0) {
		unsigned value = todo[left - 1].value, mask = todo[left - 1].mask;
		uint8_t depth = todo[--left].depth;
		int owner = only_owner(owner_of_slot, value, mask);

		if (owner >= 0) {
			rules[count++] = (struct nic_steering_rule){
				.value = (uint16_t)((value ^ remote_port) & mask),
				.mask = (uint16_t)mask,
				.queue = (uint16_t)owner,
			};
			continue;
		}
		for (unsigned bit = 0; bit < 2; bit++, left++) {
			todo[left].value = (uint8_t)(value | bit << order[depth]);
			todo[left].mask = (uint8_t)(mask | 1u << order[depth]);
			todo[left].depth = (uint8_t)(depth + 1);
		}
	}
	return count;
}
