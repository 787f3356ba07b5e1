/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration: one YANG model (millrace.yang), an operator's file in brace syntax, and what
 * the rest of the program gets from it: immutable compiled views (DESIGN.md, decision 9).
 *
 * Every error names file, line, path and reason. A configuration that does not load changes
 * nothing.
 */
#ifndef MILLRACE_CONTROL_CONFIG_CONFIG_H
#define MILLRACE_CONTROL_CONFIG_CONFIG_H

#include "control/dns/resolver.h"
#include "control/queue/queue.h"
#include "dataplane/view.h"

#include <jansson.h>

struct configuration;

enum idle_strategy {
	IDLE_SPIN,
	IDLE_PAUSE,
	IDLE_SLEEP,	/**< spin, pause, then sleep up to idle_sleep_max_us */
	IDLE_INTERRUPT, /**< sleep until the port's Rx interrupt where the PMD has them, else as
			   IDLE_SLEEP */
};

#define CONFIG_CORES_MAX 64

struct config_port {
	char name[VIEW_NAME_MAX];
	char device[256]; /**< a PCI address, or DPDK's virtual device string */
	uint16_t mtu;
	uint32_t rx_descriptors, tx_descriptors;
	bool segmentation; /**< use the device's TSO */
};

struct config_certificate {
	char name[VIEW_NAME_MAX];
	char certificate_file[256]; /**< "": self-signed, kept in the state directory */
	char key_file[256];
};

/** Which certificate a listener serves; by index into view->listeners. */
struct config_listener_extra {
	char certificate[VIEW_NAME_MAX];
	char users_file[256]; /**< "" : no AUTH. Lines user:crypt(3) hash[:tenant[:campaign[:pool]]]
			       */
};

/** What only the daemon needs. */
struct config_system {
	char hostname[256];
	uint32_t node_id;
	unsigned worker_count;
	int worker_cores[CONFIG_CORES_MAX]; /**< -1: not pinned */
	int control_core;		    /**< -1: not pinned */
	unsigned shard_count;		    /**< workers are dealt to shards round robin */
	enum idle_strategy idle;
	uint64_t idle_sleep_max_us;
	bool tcp_ecn;			    /**< offer it, not only take it up */
	uint32_t tcp_keepalive_s;	    /**< 0: never */
	bool hugepages;			    /**< false: --no-huge */
	uint64_t memory_bytes;		    /**< DPDK memory in all */
	uint64_t chunk_memory_bytes;	    /**< a worker's chunks */
	uint32_t sessions_in, sessions_out; /**< per worker */
	char user[64];			    /**< run as, once ports are open; "" stays */
	char state_directory[256];
	char capture_directory[256 + sizeof("/captures")];
	char log_file[256]; /**< "" : standard error */
	char log_level[16];
	uint64_t log_rotate_bytes;
	unsigned log_keep;
	char management_socket[108];
	char metrics_address[64]; /**< "127.0.0.1:9464"; "" : none */
	char event_directory[256];
	uint64_t event_rotate_bytes;
	unsigned event_keep;
	char spool_directory[256];
	uint64_t spool_size_bytes;
	uint64_t spool_segment_bytes;
	uint64_t messages_max, recipients_max;
	uint64_t drain_timeout_us;
};

struct config_error {
	char file[256];
	unsigned line;
	char path[512];
	char reason[512];
};
#define CONFIG_ERRORS_MAX 32
struct config_errors {
	unsigned count;
	struct config_error errors[CONFIG_ERRORS_MAX];
};

/** "FILE:LINE: PATH: REASON". @return out */
char *config_error_format(const struct config_error *error, char *out, size_t size);

/**
 * Read, validate and compile a file. @param yang_directory where millrace.yang is, or NULL: the one
 * built in
 * @return NULL with errors->count > 0
 */
struct configuration *config_load(const char *file, const char *yang_directory,
				  struct config_errors *errors);
/** Compile from text (tests, `request config check`). @param name for the messages */
struct configuration *config_load_text(const char *text, const char *name,
				       struct config_errors *errors);
void config_free(struct configuration *configuration);

const struct config_system *config_system(const struct configuration *configuration);
unsigned config_ports(const struct configuration *configuration, const struct config_port **ports);
unsigned config_certificates(const struct configuration *configuration,
			     const struct config_certificate **certificates);
const struct config_listener_extra *config_listener_extra(const struct configuration *configuration,
							  unsigned listener);
const struct resolver_settings *config_resolver(const struct configuration *configuration);
const struct queue_settings_view *config_queue(const struct configuration *configuration);
/** A new view for workers (malloc'ed, owned by the caller, view_free); TLS contexts and MACs are
 * filled by the daemon. */
struct view *config_make_view(const struct configuration *configuration, uint64_t revision);
void view_free(struct view *view);
/** What cannot change without a restart (ports, workers, memory, spool, resolver): lines for the
 * operator; 0 when none differ. */
unsigned config_needs_restart(const struct configuration *old, const struct configuration *new_,
			      char lines[][256], unsigned max);
/** The whole with defaults, as JSON (`show config | display json`), or as brace text in canonical
 * order (malloc'ed). */
json_t *config_to_json(const struct configuration *configuration);
char *config_to_text(const struct configuration *configuration);
/** Both, as {"text": …, "json": …}: what `show config` answers, so that the CLI shows the one and |
 * display json the other. */
json_t *config_to_document(const struct configuration *configuration);

#endif
