/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The address translator; see nat.h. */
#include "tests/sim/link/nat.h"

#include "dataplane/net/wire.h"
#include "dataplane/tcp/segment.h"

#include <string.h>

/* Where the fields are; ip NULL: no TCP. */
struct place {
	uint8_t *ip;
	uint8_t *tcp;
	bool v4;
};

static struct place find(uint8_t *frame, size_t size)
{
	static const struct place none;
	size_t l2 = ETHERNET_HEADER;
	struct place p;
	uint16_t type;

	if (size < ETHERNET_HEADER + VLAN_TAG)
		return none;
	type = load16(frame + 12);
	if (type == ETHERTYPE_VLAN) {
		l2 += VLAN_TAG;
		type = load16(frame + 16);
	}
	p = (struct place){.ip = frame + l2, .v4 = type == ETHERTYPE_IPV4};
	p.tcp = p.ip + (p.v4 ? IPV4_HEADER : IPV6_HEADER);
	if ((!p.v4 && type != ETHERTYPE_IPV6) || p.tcp + TCP_HEADER > frame + size)
		return none;
	return p.ip[p.v4 ? 9 : 6] == PROTOCOL_TCP ? p : none;
}

static struct sim_nat_end end_at(const struct place *p, bool destination)
{
	struct sim_nat_end end = {.port = load16(p->tcp + (destination ? 2 : 0))};

	if (p->v4)
		end.address = ip_from_v4(load32(p->ip + (destination ? 16 : 12)));
	else
		memcpy(end.address.bytes, p->ip + (destination ? 24 : 8), 16);
	return end;
}

static bool same(const struct sim_nat_end *a, const struct sim_nat_end *b)
{
	return a->port == b->port && ip_equal(&a->address, &b->address);
}

/* RFC 1624, 3: HC' = ~(~HC + ~m + m'). */
static void adjust(uint8_t *checksum, uint16_t before, uint16_t after)
{
	uint32_t sum = (uint16_t)~load16(checksum) + (uint32_t)(uint16_t)~before + after;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	store16(checksum, (uint16_t)~sum);
}

static void put(const struct place *p, bool destination, const struct sim_nat_end *end)
{
	unsigned bytes = p->v4 ? 4 : 16;
	uint8_t *field = p->ip + (p->v4 ? 12 : 8) + (destination ? bytes : 0);
	const uint8_t *from = end->address.bytes + 16 - bytes;
	uint8_t *port = p->tcp + (destination ? 2 : 0);

	for (unsigned i = 0; i < bytes; i += 2) {
		adjust(p->tcp + 16, load16(field + i), load16(from + i));
		if (p->v4)
			adjust(p->ip + 10, load16(field + i), load16(from + i));
	}
	memcpy(field, from, bytes);
	adjust(p->tcp + 16, load16(port), end->port);
	store16(port, end->port);
}

bool sim_nat_rebind(struct sim_nat *nat, const struct sim_nat_binding *binding)
{
	if (nat->count == SIM_NAT_BINDINGS)
		return false;
	nat->bindings[nat->count++] = *binding;
	return true;
}

void sim_nat_leave(const struct sim_nat *nat, uint8_t *frame, size_t size)
{
	struct place p = find(frame, size);
	struct sim_nat_end from, to;

	if (nat->count == 0 || p.ip == NULL)
		return;
	from = end_at(&p, false);
	to = end_at(&p, true);
	for (unsigned i = 0; i < nat->count; i++) {
		const struct sim_nat_binding *b = &nat->bindings[i];

		if (same(&b->inside, &from) && same(&b->peer, &to)) {
			put(&p, false, &b->outside);
			return;
		}
	}
}

bool sim_nat_arrive(const struct sim_nat *nat, uint8_t *frame, size_t size)
{
	struct place p = find(frame, size);
	struct sim_nat_end from, to;

	if (nat->count == 0 || p.ip == NULL)
		return true;
	from = end_at(&p, false);
	to = end_at(&p, true);
	for (unsigned i = 0; i < nat->count; i++) {
		const struct sim_nat_binding *b = &nat->bindings[i];

		if (!same(&b->peer, &from))
			continue;
		if (same(&b->outside, &to)) {
			put(&p, true, &b->inside);
			return true;
		}
		if (same(&b->inside, &to))
			return false;
	}
	return true;
}
