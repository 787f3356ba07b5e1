/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The shared vocabulary of workers and queue shards: message, recipient, submission, delivery,
 * outcome, and the few records that cross cores by ring (DESIGN.md, "A message's way").
 *
 * Ownership, in words. A worker fills a submission (its own chunks) and gives it away with
 * RECORD_COMMIT; from then on the shard owns it, and answers exactly once with RECORD_COMMITTED.
 * The shard lends a delivery to a worker with RECORD_DELIVER; the worker fills in the results and
 * gives it back exactly once with RECORD_OUTCOME, after the last byte of the body was acknowledged
 * or the connection is gone. Chunks that belong to a worker go home with RECORD_CHUNKS. Rings are
 * sized so that all that can be outstanding fits; a full ring is back-pressure.
 */
#ifndef MILLRACE_DATAPLANE_MESSAGE_H
#define MILLRACE_DATAPLANE_MESSAGE_H

#include "dataplane/buf/chunk.h"
#include "dataplane/net/address.h"
#include "dataplane/tcp/tcp.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * 128 bits, never reused. Given by the worker at MAIL, so that the trace header can carry it; the
 * shard can be read from it.
 */
struct message_id {
	uint64_t origin;  /**< node (32) | shard (8) | start number of the shard's spool (24) */
	uint64_t counter; /**< worker (8; 255: the shard itself) | serial (56) */
};
/** Crockford base32, 26 characters, and the end. */
#define MESSAGE_ID_TEXT 27
char *message_id_format(const struct message_id *id, char *text);
/** @return 0 or -EINVAL */
int message_id_parse(const char *text, struct message_id *id);

/* RFC 5321, 4.5.3.1, with the angle brackets' octets left out. */
#define SMTP_LOCAL_PART_MAX 64
#define SMTP_DOMAIN_MAX	    255
#define SMTP_PATH_MAX	    254
/** An address as it is kept: with SMTPUTF8 the limits are octets of UTF-8. Ends with NUL. */
#define SMTP_ADDRESS_TEXT (SMTP_PATH_MAX + 2)

/** What a message asks of the next hop. Stored in the spool: never renumber. */
enum message_flag {
	MESSAGE_8BITMIME = 1 << 0,    /**< BODY=8BITMIME was declared (RFC 6152) */
	MESSAGE_SMTPUTF8 = 1 << 1,    /**< SMTPUTF8 was declared (RFC 6531) */
	MESSAGE_BODY_8BIT = 1 << 2,   /**< an octet above 127 was seen in the body */
	MESSAGE_HEADER_8BIT = 1 << 3, /**< an octet above 127 was seen in the header */
	MESSAGE_LONG_LINES =
		1 << 4,		   /**< a line over 998 octets (accepted by `long-lines accept`) */
	MESSAGE_RET_HDRS = 1 << 5, /**< RET=HDRS (RFC 3461, 4.3) */
	MESSAGE_RET_FULL = 1 << 6,
	MESSAGE_GENERATED = 1 << 7, /**< ours: a DSN */
};

/** NOTIFY of RFC 3461, 4.1. Zero means not given. Stored in the spool: never renumber. */
enum dsn_notify {
	DSN_NOTIFY_NEVER = 1 << 0,
	DSN_NOTIFY_SUCCESS = 1 << 1,
	DSN_NOTIFY_FAILURE = 1 << 2,
	DSN_NOTIFY_DELAY = 1 << 3,
};

/** RFC 3463. All zero: none. */
struct enhanced_code {
	uint8_t class;
	uint16_t subject;
	uint16_t detail;
};

/** What a worker hands to its shard to be made durable. Lives in a chunk of the worker's (its
 * `self`). */
struct submission {
	struct chunk *self;
	struct message_id id;
	uint32_t session; /**< the worker's name for the session; echoed in the answer */
	uint32_t session_generation;
	uint32_t recipients;	    /**< number in the envelope */
	uint32_t flags;		    /**< enum message_flag */
	struct chunk_list envelope; /**< fields as dataplane/envelope.h encodes them */
	struct chunk_list body; /**< as it goes out: our trace header, header, body; CRLF lines, no
				   dot-stuffing */
};

/** Why a commit did not happen; the session turns it into the reply. */
enum commit_result {
	COMMIT_DONE,	 /**< 250 2.0.0 */
	COMMIT_NO_SPACE, /**< 452 4.3.1 */
	COMMIT_IO_ERROR, /**< 451 4.3.0 */
	COMMIT_OVERLOAD, /**< 421 4.3.2 */
};

/** How sure the next hop's identity and encryption must be (Postfix's words; RFC 7672, RFC 8461
 * later). */
enum tls_level {
	TLS_LEVEL_NONE,	   /**< never STARTTLS */
	TLS_LEVEL_MAY,	   /**< if offered; clear on a new connection when the handshake fails */
	TLS_LEVEL_ENCRYPT, /**< must; peer not authenticated */
};

/** How a path's sessions behave; part of every route. Times in microseconds. */
struct path_settings {
	enum tls_level tls;
	uint32_t connections_max;	  /**< per path, over all workers (the shard counts) */
	uint32_t messages_per_connection; /**< then QUIT */
	uint32_t recipients_per_message;
	uint64_t idle_timeout_us;   /**< an unused connection is kept so long */
	uint64_t reuse_time_max_us; /**< no new transaction on a connection older than this */
	uint64_t connect_timeout_us;
	uint64_t greeting_timeout_us;	/**< RFC 5321, 4.5.3.2.1: 5 min */
	uint64_t command_timeout_us;	/**< MAIL, RCPT, EHLO, STARTTLS: 5 min */
	uint64_t data_init_timeout_us;	/**< 2 min */
	uint64_t data_block_timeout_us; /**< 3 min */
	uint64_t data_done_timeout_us;	/**< 10 min */
	uint64_t tls_handshake_timeout_us;
	bool use_pipelining;
	bool use_chunking;
	bool use_bbr; /**< congestion control is BBR, not CUBIC */
};

/** One address of one mail exchanger, in the order to be tried. */
struct route_host {
	const char *name; /**< the exchanger's name, for EHLO checks, SNI and logs */
	struct ip_address address;
	uint16_t port;
	uint16_t preference;
};

#define ROUTE_HOSTS_MAX 5

/**
 * Where the recipients of a site go and from where. Immutable while any delivery refers to it; made
 * and freed by the shard. The strings live as long as the route.
 */
struct route {
	uint32_t path;	     /**< the shard's number of (source, site) */
	uint32_t generation; /**< changes when the path's hosts or settings change */
	const char *site;    /**< name of the group of exchangers */
	const char *source;  /**< name in the configuration */
	const char *ehlo_name;
	uint16_t source_port_index; /**< the NIC port that the source names */
	bool has_v4;
	bool has_v6;
	struct ip_address source_v4;
	struct ip_address source_v6;
	struct path_settings settings;
	unsigned host_count;
	struct route_host hosts[ROUTE_HOSTS_MAX];
};

/** What became of one recipient in one attempt. Stored in the spool: never renumber. */
enum outcome {
	OUTCOME_NONE = 0, /**< not decided yet */
	OUTCOME_DELIVERED = 1,
	OUTCOME_DEFERRED = 2,
	OUTCOME_BOUNCED = 3,
};

/** In which step of the dialogue an outcome was decided. */
enum smtp_phase {
	PHASE_ROUTE, /**< before any connection (DNS, policy, expiry) */
	PHASE_CONNECT,
	PHASE_GREETING,
	PHASE_EHLO,
	PHASE_STARTTLS,
	PHASE_TLS,
	PHASE_MAIL,
	PHASE_RCPT,
	PHASE_DATA, /**< DATA's own reply, or BDAT's */
	PHASE_BODY, /**< while the body was sent */
	PHASE_DOT,  /**< after the final dot: an answer lost here is ambiguous */
	PHASE_COUNT,
};
const char *smtp_phase_name(enum smtp_phase phase);

#define REPLY_TEXT 240

struct delivery_recipient {
	/* Set by the shard. Pointers stay valid until the outcome. */
	uint32_t index;	     /**< the shard's name for it */
	uint8_t notify;	     /**< enum dsn_notify */
	const char *address; /**< as it goes into RCPT TO:<…> */
	const char *orcpt;   /**< xtext as received, with its type; or NULL */
	/* Set by the worker. */
	uint8_t outcome; /**< enum outcome */
	uint8_t phase;	 /**< enum smtp_phase */
	bool remote;	 /**< the text is the peer's reply (RFC 3464 Diagnostic-Code), not ours */
	uint16_t code; /**< 0 when there was no reply; 452 with 4.5.3: too many at once, send again
			  now */
	struct enhanced_code enhanced;
	char reply[REPLY_TEXT]; /**< without the codes; one line, printable, UTF-8 valid; ends with
				   NUL */
};

/** One transaction's worth of one message for one path. Allocated and freed by the shard, lent to a
 * worker. */
struct delivery {
	/* Set by the shard. */
	uint64_t cookie; /**< the shard's */
	struct message_id id;
	const struct route *route;
	bool may_open;	/**< a slot for a new connection comes with it (DESIGN.md, decision 4) */
	uint32_t flags; /**< enum message_flag */
	const char *mail_from; /**< "" is the null reverse-path */
	const char *envid;     /**< xtext as received, or NULL */
	uint64_t body_size;
	const struct chunk *body; /**< borrowed; body_size bytes over the chain */
	/* Set by the worker, and valid when any step got that far. */
	bool slot_closed; /**< the connection is gone: its slot comes back with this outcome */
	bool possible_duplicate; /**< lost after the final dot */
	bool tls;
	bool reused;	  /**< not the first message of its connection */
	bool peer_dsn;	  /**< the peer offers DSN: NOTIFY went on to it (RFC 3461, 5.2.2) */
	uint64_t session; /**< worker << 48 | serial, for logs */
	const struct route_host *host; /**< the last one spoken to, in route->hosts; NULL: none */
	struct ip_address source_address;
	char tls_version[12];
	char tls_cipher[48];
	uint64_t started_us; /**< monotonic */
	uint64_t connect_us; /**< durations; 0 when reused */
	uint64_t tls_us;
	uint64_t transaction_us;
	/** What TCP saw up to the end of the transaction; segments are those since the one before.
	 */
	struct tcp_measure measure;
	unsigned hosts_tried;
	struct delivery *next; /**< for the worker's lists */
	/* */
	uint32_t recipient_count;
	struct delivery_recipient recipients[];
};

/** Password check: too long for a worker. Lives in a chunk of the worker's. */
struct auth_request {
	struct chunk *self;
	uint32_t session;
	uint32_t session_generation;
	bool accepted;	   /**< the answer */
	char listener[64]; /**< its name: places change with the configuration, sessions go on */
	char user[256];
	char password[256]; /**< wiped by whoever answers */
	char tenant[64];    /**< the answer: the user's tenant, campaign and pool, or "" */
	char campaign[64];
	char pool[64];
};

enum record_kind {
	/* worker -> shard */
	RECORD_COMMIT,
	RECORD_OUTCOME,
	RECORD_SLOT_CLOSED, /**< an idle connection of a path went away: its slot comes back */
	RECORD_AUTH,
	/* shard -> worker */
	RECORD_COMMITTED,
	RECORD_DELIVER,
	RECORD_CHUNKS, /**< the worker's chunks come home */
	RECORD_AUTH_ANSWER,
	RECORD_PATH_CLOSE, /**< close idle connections of a path; QUIT the busy ones after their
			      transaction */
};

/** One ring slot. */
struct record {
	uint32_t kind; /**< enum record_kind */
	union {
		struct submission *submission;
		struct delivery *delivery;
		struct auth_request *auth;
		struct {
			uint32_t session;
			uint32_t session_generation;
			uint32_t result; /**< enum commit_result */
			struct message_id id;
		} committed;
		struct {
			struct chunk *head;
			struct chunk *tail;
			uint32_t count;
		} chunks;
		struct {
			uint32_t path;
			uint32_t count;
		} slot;
	};
};
_Static_assert(sizeof(struct record) == 40, "a ring slot");

#endif
