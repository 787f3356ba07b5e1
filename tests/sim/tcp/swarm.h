/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The swarm: two stacks, a router between them and many connections in virtual time, everything
 * drawn from one seed. Applications write, read slowly, pause, close half, abort and come back;
 * the path delays, loses, duplicates, reorders, damages, is too narrow, goes down, lies; hosts are
 * configured anew, move, forget everything, run out of memory. After each step everything that must
 * always be true is looked at (swarm_watch.c), and when all is well again every connection must
 * come to its end in time.
 *
 * swarm_options.c says what a seed means, swarm_flow.c are the applications, swarm_event.c what
 * happens to path and hosts, swarm_host.c the hosts, swarm_watch.c the invariants, swarm.c the
 * clock. A seed is all that is needed to run one again: MILLRACE_SIM_SEED=n test_swarm.
 */
#ifndef MILLRACE_TESTS_SIM_TCP_SWARM_H
#define MILLRACE_TESTS_SIM_TCP_SWARM_H

#include "dataplane/net/net.h"
#include "dataplane/tcp/tcp.h"
#include "tests/sim/link/link.h"
#include "tests/sim/link/nat.h"
#include "tests/sim/link/pcap.h"
#include "tests/sim/link/router.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWARM_ADDRESSES 4u
#define SWARM_FLOWS	64u
#define SWARM_PORT	25u

/* What a seed is about; seed % SWARM_PROFILES. */
#define SWARM_PROFILE_LIST(X)                                                       \
	X(PLAIN, "a_good_path_carries_every_stream")                                \
	X(LOSSY, "loss_reordering_and_duplication_lose_nothing")                    \
	X(DAMAGED, "damaged_packets_are_never_delivered")                           \
	X(NARROW, "small_mtus_black_holes_and_stripped_options_are_survived")       \
	X(ATTACKED, "blind_forgery_changes_nothing")                                \
	X(SCARCE, "scarce_memory_delays_but_neither_corrupts_nor_leaks")            \
	X(BROKEN, "outages_bursts_and_resets_end_every_connection_in_bounded_time") \
	X(CHURN, "churn_through_time_wait_and_reloads_leaves_nothing_behind")       \
	X(MEETING, "simultaneous_opens_meet_in_one_connection")                     \
	X(MOVING, "peers_that_move_restart_or_stay_away_leave_nothing_behind")      \
	X(RECONFIGURED, "reloads_in_mid_flow_end_only_what_they_take_away")         \
	X(STARVED, "a_spell_without_memory_delays_and_ends_no_connection")

enum swarm_profile {
#define X(name, text) SWARM_##name,
	SWARM_PROFILE_LIST(X)
#undef X
		SWARM_PROFILES
};

/* What may happen, some time before the path is well (swarm_event.c). */
#define SWARM_EVENT_LIST(X)          \
	X(OUTAGE, "outages")         \
	X(RELOAD, "reloads")         \
	X(MTU, "changes of the MTU") \
	X(PORT_GONE, "ports gone")   \
	X(REBINDING, "rebindings")   \
	X(RESTART, "restarts")       \
	X(FAMINE, "famines")

enum swarm_event {
#define X(name, text) SWARM_##name,
	SWARM_EVENT_LIST(X)
#undef X
		SWARM_EVENTS
};

struct swarm_plan {
	unsigned times;
	uint64_t least_us; /* so long each lasts, if it does */
	uint64_t most_us;
};

struct swarm_host_options {
	uint16_t mtu;
	bool strict_mtu;    /* the port drops what is larger */
	uint16_t addresses; /* at most SWARM_ADDRESSES; odd ones are IPv6 */
	uint32_t connections;
	uint32_t time_wait;
	uint32_t chunks;
	uint32_t frames;
	uint32_t flights; /* 0: enough */
	uint32_t receive_window;
	bool offload;
	uint32_t large_frames; /* for a port that cuts them; 0: it does not */
	bool ecn;
	bool unpaced;
	uint32_t keepalive_s; /* 0: off */
	uint32_t turn_frames; /* frames sent in one turn; 0: all */
	uint64_t turn_us;     /* then the next turn comes after this long */
	uint32_t timers;      /* timers run in one turn */
};

struct swarm_options {
	uint64_t seed;
	enum swarm_profile profile;
	bool gentle; /* nothing may fail that no application has aborted */
	uint16_t vlan;
	struct swarm_host_options host[2];
	struct sim_link_settings link[2];
	struct sim_router_settings router;
	unsigned flows;
	uint32_t size_max;  /* bytes of a stream */
	uint64_t start_us;  /* flows begin within this time */
	uint64_t faults_us; /* the path is bad so long; then it is well */
	uint64_t events_us; /* events begin within this time */
	struct swarm_plan plan[SWARM_EVENTS];
	bool wall_steps;       /* the wall clock is set now and then: nobody may notice */
	uint32_t meetings;     /* flows that both ends open at once, of 100 */
	bool reuse_ports;      /* local ports come round at once */
	uint32_t slow_readers; /* of 100 */
	uint32_t pauses;       /* writers that pause, of 100 */
	uint32_t aborts;       /* sides that abort at some time, of 100 */
	double renege;	       /* for each frame: somebody drops what came out of order */
	uint32_t refusals;     /* accepts that are refused, of 100 */
};

struct swarm;
struct swarm_host;
struct swarm_flow;

/* One end of a connection, and the application that uses it. */
struct swarm_side {
	struct swarm *swarm;
	struct swarm_flow *flow;
	struct swarm_host *host;
	tcp_handle handle;
	bool open; /* the stack knows it */
	bool done; /* on_closed was called, or it never was opened */
	bool established;
	bool delivering;
	bool close_called;
	bool ended;
	enum tcp_close_reason reason;

	/* Writing. */
	uint64_t key; /* of the stream that this side writes */
	uint32_t size;
	uint32_t sent; /* taken by tcp_send */
	uint32_t write_max;
	uint32_t pause_every; /* bytes; 0: it does not pause */
	uint32_t pause_next;
	unsigned pauses_left;
	uint64_t pause_us;
	bool pushy; /* writes a TLS record more than there is room for */

	/* Reading. */
	uint32_t received;
	uint32_t take; /* bytes it takes before it rests; 0: all */
	uint32_t credit;
	unsigned rests_left;
	uint64_t rest_us;

	enum tcp_congestion_choice congestion;
	bool changes_congestion; /* to another, in the middle */
	bool close_first;	 /* closes when all is written; else when the peer has closed too */
	uint32_t abort_after; /* bytes received or sent, then it aborts from a callback; 0: never */
	uint64_t write_us;    /* when the application next writes; MR_NEVER */
	uint64_t read_us;
	uint64_t abort_us;
	uint64_t give_up_us; /* the peer has vanished: the application's own timeout */
};

struct swarm_flow {
	unsigned id;
	uint64_t start_us;
	bool begun;
	bool disturbed;	     /* it may fail: somebody aborted, or its address went */
	bool meeting;	     /* both ends connect */
	bool moved;	     /* the client was given another address and port */
	unsigned client;     /* host */
	unsigned address[2]; /* index, of each host */
	struct ip_address client_address;
	uint16_t client_port;
	struct sim_nat_end moved_to;
	struct swarm_side side[2]; /* 0: client, 1: server */
};

/* Capacities of the pools that are TCP's own. */
struct swarm_limits {
	uint32_t flights;
	uint32_t board;
	uint32_t rates;
	uint32_t bbr;
};

/* What a famine holds back. */
struct swarm_hoard {
	struct frame **frames;
	uint32_t frame_count;
	uint32_t frames_wanted; /* the port lends some of them out */
	struct chunk_list chunks;
	uint32_t chunk_count;
	struct swarm_limits limits; /* the pools' own */
};

struct swarm_host {
	struct swarm *swarm;
	unsigned id;
	struct swarm_host_options options;
	struct mr_random random;
	struct sim_frame_pool *frames;
	struct chunk_pool *chunks;
	struct net_stack *stack;
	struct view_port port;
	struct view_address addresses[SWARM_ADDRESSES]; /* all that it ever has */
	bool present[SWARM_ADDRESSES];
	struct view_address viewed[2][SWARM_ADDRESSES];
	struct view views[2]; /* in turn: the last one must stay */
	unsigned revision;
	uint64_t turn_us; /* not before this is the next turn */
	uint64_t poll_us; /* somebody waits for a turn, and for nothing else */
	uint32_t poll_gap_us;
	struct swarm_shadow *shadows; /* swarm_watch.c: one for each TCB */
	struct sim_nat nat;
	unsigned incarnation; /* it has restarted so often */
	bool port_gone;
	bool addresses_gone; /* with it */
	uint16_t mtu_before; /* of frames that waited when it changed; 0: they are gone */
	struct swarm_hoard hoard;
	uint64_t mute_us; /* it had no frames until then */
};

struct swarm_happening {
	uint64_t next_us; /* its next beginning or end; MR_NEVER */
	unsigned left;
	bool on;
	unsigned host; /* to whom */
};

struct swarm {
	struct swarm_options options;
	struct mr_now now;
	uint64_t begin_us;
	struct mr_random random; /* of the applications and events */
	struct sim_link *links[2];
	struct sim_router *router;
	struct sim_pcap *pcap;
	bool trace;
	struct swarm_host hosts[2];
	struct swarm_flow flows[SWARM_FLOWS];
	unsigned finished; /* sides that are done */
	uint64_t steps;
	uint64_t segments;
	uint64_t digest; /* of all frames and their times */
	struct mr_random wall_random;
	bool healed;
	struct swarm_happening happenings[SWARM_EVENTS];
};

struct swarm_result {
	uint64_t steps;
	uint64_t segments;
	uint64_t bytes;
	uint64_t virtual_us;
	uint64_t digest;
	unsigned failed; /* flows that did not end in order */
};

/** What a side writes: every byte depends on its place and the stream's key alone. */
static inline uint8_t swarm_stream_byte(uint64_t key, uint32_t offset)
{
	return (uint8_t)((((uint32_t)key + offset) * 2654435761u ^ (uint32_t)(key >> 32)) >> 24);
}

/* --- swarm_options.c --- */
void swarm_draw(uint64_t seed, struct swarm_options *out);
void swarm_print_options(const struct swarm_options *o);
const char *swarm_profile_text(enum swarm_profile profile);

/* --- swarm.c --- */
/** Run to the end; whatever is wrong aborts the process, after a line that says what. */
void swarm_run(const struct swarm_options *options, bool trace, const char *pcap,
	       struct swarm_result *result);
void swarm_fail(const struct swarm *swarm, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void swarm_trace(const struct swarm *swarm, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** Uniform in [low, high]. */
uint32_t swarm_between(struct mr_random *random, uint32_t low, uint32_t high);
/** True `percent` times of 100. */
bool swarm_percent(struct mr_random *random, uint32_t percent);

/* --- swarm_host.c --- */
void swarm_host_create(struct swarm *swarm, unsigned id);
void swarm_host_destroy(struct swarm_host *host);
/** Hand the stack the addresses that are present, and the port as it is. */
void swarm_host_configure(struct swarm_host *host);
void swarm_host_turn(struct swarm_host *host);
/** What has arrived by now. */
void swarm_host_input(struct swarm_host *host);
/** For the router: a frame that the stranger made. */
void swarm_host_forged(void *context, unsigned to, const uint8_t *frame, size_t size);

/* --- swarm_event.c --- */
void swarm_events_create(struct swarm *swarm);
void swarm_events_run(struct swarm *swarm);
uint64_t swarm_events_next(const struct swarm *swarm);
/** From now on the path is good, all memory there, all addresses back. */
void swarm_heal(struct swarm *swarm);

/* --- swarm_flow.c --- */
void swarm_flow_draw(struct swarm *swarm, struct swarm_flow *flow, unsigned id);
void swarm_listen(struct swarm_host *host);
/** What applications have to do by now. */
void swarm_flow_run(struct swarm *swarm, struct swarm_flow *flow);
uint64_t swarm_flow_next(const struct swarm_flow *flow);
/** The host has forgotten everything: its applications are gone too. */
void swarm_flow_host_died(struct swarm *swarm, const struct swarm_host *host);
/** All is over: what came of it? */
void swarm_flow_judge(const struct swarm *swarm, const struct swarm_flow *flow);

/* --- swarm_watch.c --- */
void watch_create(struct swarm_host *host);
void watch_destroy(struct swarm_host *host);
/** Before and after a call of net_stack_output. */
void watch_before_output(struct swarm_host *host);
void watch_after_output(struct swarm_host *host);
/** Everything that must be true between two steps. */
void watch_step(struct swarm *swarm);
/** A frame that a host sends, checksums filled in. */
void watch_frame(struct swarm_host *host, const uint8_t *frame, size_t size);
/** True when the stranger has guessed what nobody can be defended against. */
bool watch_lucky(struct swarm_host *host, const uint8_t *frame, size_t size);
/** A receiver forgets what it reported by SACK. */
void watch_renege(struct swarm_host *host, struct mr_random *random);
/** Nothing may be left. */
void watch_end(struct swarm_host *host);
/** Connections on the output list. */
uint32_t watch_listed(const struct swarm_host *host);
/** The next connection to there is to have this local port. */
void watch_steer_port(struct swarm_host *host, const struct ip_address *local,
		      const struct ip_address *remote, uint16_t remote_port, uint16_t port);
struct swarm_limits watch_limits(const struct swarm_host *host);
/** What is out already stays out. */
void watch_set_limits(struct swarm_host *host, const struct swarm_limits *limits);
/** Frames that wait in the stack. */
uint32_t watch_frames(const struct swarm_host *host);
/** Make the local ports come round. */
void watch_rewind_ports(struct swarm_host *host);

/* --- swarm_trace.c --- */
void trace_frame(const struct swarm *swarm, const char *what, const uint8_t *frame, size_t size);

#endif
