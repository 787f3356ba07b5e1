/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Samples for Prometheus. Names after KumoMTA's where the meaning is equal are left to dashboards;
 * ours start millrace_. */
#include "control/daemon/commands.h"

#include <stdio.h>

static void worker_samples(struct appliance *appliance, struct metric_writer *w, const char *name,
			   const char *help, const char *type,
			   uint64_t (*value)(struct worker *worker))
{
	metric_family(w, name, type, help);
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		char labels[32];

		snprintf(labels, sizeof(labels), "worker=\"%u\"", i);
		metric_sample(w, name, labels, (double)value(appliance->workers[i].worker));
	}
}

#define X(name, text)                                                  \
	static uint64_t net_##name(struct worker *worker)              \
	{                                                              \
		return net_stack_counters(worker_stack(worker))->name; \
	}
NET_COUNTERS(X)
#undef X
#define X(name, text)                                                     \
	static uint64_t server_##name(struct worker *worker)              \
	{                                                                 \
		return smtp_server_counters(worker_server(worker))->name; \
	}
SMTP_SERVER_COUNTERS(X)
#undef X
#define X(name, text)                                                   \
	static uint64_t path_##name(struct worker *worker)              \
	{                                                               \
		return path_table_counters(worker_paths(worker))->name; \
	}
PATH_COUNTERS(X)
#undef X

static uint64_t load_busy(struct worker *worker)
{
	return worker_load(worker)->busy_cycles;
}

static uint64_t load_idle(struct worker *worker)
{
	return worker_load(worker)->idle_cycles;
}

static uint64_t load_handed_off(struct worker *worker)
{
	return worker_load(worker)->handed_off;
}

static uint64_t load_hand_off_full(struct worker *worker)
{
	return worker_load(worker)->hand_off_full;
}

static uint64_t load_drop_segmented(struct worker *worker)
{
	return worker_load(worker)->drop_segmented;
}

static uint64_t sessions_in(struct worker *worker)
{
	return smtp_server_sessions(worker_server(worker));
}

static uint64_t sessions_out(struct worker *worker)
{
	return path_table_sessions(worker_paths(worker));
}

static uint64_t chunks_free(struct worker *worker)
{
	return chunk_pool_available(worker_chunks(worker));
}

static void collect_workers(struct appliance *a, struct metric_writer *w)
{
	worker_samples(a, w, "millrace_worker_busy_cycles_total", "TSC cycles with work", "counter",
		       load_busy);
	worker_samples(a, w, "millrace_worker_idle_cycles_total", "TSC cycles without work",
		       "counter", load_idle);
	worker_samples(a, w, "millrace_worker_handed_off_total", "frames handed to another worker",
		       "counter", load_handed_off);
	worker_samples(a, w, "millrace_worker_hand_off_full_total",
		       "frames dropped because the ring to their owner was full", "counter",
		       load_hand_off_full);
	worker_samples(a, w, "millrace_worker_drop_segmented_total",
		       "frames dropped because they came in several buffers", "counter",
		       load_drop_segmented);
	worker_samples(a, w, "millrace_sessions_in", "SMTP sessions of senders", "gauge",
		       sessions_in);
	worker_samples(a, w, "millrace_sessions_out", "SMTP sessions to receivers", "gauge",
		       sessions_out);
	worker_samples(a, w, "millrace_chunks_free", "chunks free", "gauge", chunks_free);
#define X(name, text) \
	worker_samples(a, w, "millrace_net_" #name "_total", text, "counter", net_##name);
	NET_COUNTERS(X)
#undef X
#define X(name, text) \
	worker_samples(a, w, "millrace_smtp_in_" #name "_total", text, "counter", server_##name);
	SMTP_SERVER_COUNTERS(X)
#undef X
#define X(name, text) \
	worker_samples(a, w, "millrace_smtp_out_" #name "_total", text, "counter", path_##name);
	PATH_COUNTERS(X)
#undef X
}

static void one(struct metric_writer *w, const char *name, const char *type, const char *help,
		double value)
{
	metric_family(w, name, type, help);
	metric_sample(w, name, NULL, value);
}

static void collect_ledger(struct appliance *appliance, struct metric_writer *w)
{
	struct queue_ledger l;

	if (!appliance_ledger(appliance, &l))
		return;
	one(w, "millrace_recipients_accepted_total", "counter", "recipients accepted",
	    (double)l.accepted);
	one(w, "millrace_recipients_generated_total", "counter", "recipients of notices made here",
	    (double)l.generated);
	one(w, "millrace_recipients_queued", "gauge", "recipients queued", (double)l.queued);
	one(w, "millrace_recipients_delivered_total", "counter", "recipients delivered",
	    (double)l.delivered);
	one(w, "millrace_recipients_bounced_total", "counter", "recipients bounced",
	    (double)l.bounced);
	one(w, "millrace_recipients_expired_total", "counter", "recipients expired",
	    (double)l.expired);
	one(w, "millrace_recipients_removed_total", "counter", "recipients removed by request",
	    (double)l.removed);
	one(w, "millrace_recipients_discarded_total", "counter",
	    "notices that could not be delivered", (double)l.discarded);
	one(w, "millrace_recipients_quarantined", "gauge", "recipients whose message is damaged",
	    (double)l.quarantined);
	one(w, "millrace_ledger_drift", "gauge", "recipients that the ledger cannot account for",
	    (double)l.drift);
}

static void collect_queue(struct appliance *appliance, struct metric_writer *w)
{
#define X(name, text)                                                                          \
	{                                                                                      \
		double sum = 0;                                                                \
		for (unsigned i = 0; i < appliance->shard_count; i++)                          \
			sum += (double)queue_shard_counters(appliance->shards[i].shard)->name; \
		one(w, "millrace_queue_" #name "_total", "counter", text, sum);                \
	}
	QUEUE_COUNTERS(X)
#undef X
}

void metrics_collect(void *context, struct metric_writer *writer)
{
	struct appliance *appliance = context;
	struct event_log_statistics events;

	collect_ledger(appliance, writer);
	collect_queue(appliance, writer);
	collect_workers(appliance, writer);
	event_log_statistics(appliance->events, &events);
	one(writer, "millrace_events_written_total", "counter", "events written",
	    (double)events.written);
	one(writer, "millrace_events_waiting", "gauge", "events not written yet",
	    (double)events.waiting);
	one(writer, "millrace_events_errors_total", "counter", "failed writes of the event log",
	    (double)events.errors);
}
