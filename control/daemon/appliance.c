/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/appliance.h"

#include "control/certs/certs.h"
#include "control/daemon/captures.h"
#include "control/daemon/thread.h"
#include "control/daemon/views.h"
#include "control/directory_lock.h"
#include "control/telemetry/log.h"
#include "drivers/disk/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ERROR_TEXT	 256
#define PATHS_PER_WORKER 65536
/* The shard's own chunks: bodies read back and notices. */
#define SHARD_CHUNK_DIVISOR 2
#define SEGMENTS_INITIAL    3
#define ADOPTION_TIME_MS    5000

/* ---- Shards and workers ---- */

static int create_links(struct appliance *appliance, const struct config_system *system)
{
	uint32_t slots = worker_ring_slots(system->sessions_in, system->sessions_out);

	for (unsigned i = 0; i < appliance->worker_count; i++) {
		struct worker_link *link = &appliance->workers[i].link;

		link->to_shard = ring_create(slots, sizeof(struct record));
		link->to_worker = ring_create(slots, sizeof(struct record));
		if (!link->to_shard || !link->to_worker)
			return -ENOMEM;
	}
	return 0;
}

static uint32_t chunks_per_worker(const struct config_system *system)
{
	return (uint32_t)(system->chunk_memory_bytes / CHUNK_SIZE);
}

/* Every message that a listener takes must fit, when it is read back; and several besides. */
static uint32_t chunks_per_shard(const struct configuration *configuration)
{
	uint32_t chunks = chunks_per_worker(config_system(configuration)) / SHARD_CHUNK_DIVISOR;
	struct view *view = config_make_view(configuration, 0);

	for (unsigned i = 0; view && i < view->listener_count; i++) {
		uint64_t needed =
			view->listeners[i].limits.message_size / CHUNK_DATA * 5 / 4 + 4096;

		if (needed > chunks)
			chunks = (uint32_t)needed;
	}
	if (view)
		view_free(view);
	return chunks;
}

static struct disk *open_disk(const struct config_system *system, unsigned shard, char *error)
{
	char directory[512];

	snprintf(directory, sizeof(directory), "%s/shard%02u", system->spool_directory, shard);
	struct disk_settings settings = {.directory = directory};

	return disk_open(&settings, error);
}

/* A configuration that was just loaded learns its number: events carry it. */
static const struct queue_settings_view *queue_view(const struct configuration *configuration,
						    uint64_t revision)
{
	struct queue_settings_view *view =
		(struct queue_settings_view *)config_queue(configuration);

	view->revision = revision;
	return view;
}

static int create_shard(struct appliance *appliance, unsigned index, const struct mr_now *now,
			char *error)
{
	const struct config_system *system = config_system(appliance->configuration);
	struct shard_thread *thread = &appliance->shards[index];
	struct resolver_settings resolver = *config_resolver(appliance->configuration);
	int code = random_init(&thread->random);

	if (code < 0) {
		snprintf(error, ERROR_TEXT, "no randomness: %s", strerror(-code));
		return code;
	}
	resolver.random = &thread->random;
	thread->core = system->control_core;
	thread->sleep_max_us = system->idle_sleep_max_us;
	thread->executor = executor_create();
	thread->resolver = resolver_unbound_create(&resolver, error);
	if (!thread->resolver)
		return -EIO;
	if (!thread->executor) {
		snprintf(error, ERROR_TEXT, "no memory for shard %u", index);
		return -ENOMEM;
	}
	thread->disk = open_disk(system, index, error);
	if (!thread->disk)
		return -EIO;
	struct queue_shard_settings settings = {
		.shard = (uint16_t)index,
		.node = system->node_id,
		.messages_max = system->messages_max / appliance->shard_count,
		.recipients_max = system->recipients_max / appliance->shard_count,
		.chunks = chunks_per_shard(appliance->configuration),
		.chunk_home = (uint16_t)(WORKERS_MAX + index),
		.random = &thread->random,
		.resolver = thread->resolver,
		.events = appliance->events,
		.spool =
			{
				.disk = thread->disk,
				.random = &thread->random,
				.node = system->node_id,
				.shard = (uint16_t)index,
				.segment_size = system->spool_segment_bytes,
				.segments = (uint32_t)(system->spool_size_bytes /
						       appliance->shard_count /
						       system->spool_segment_bytes),
				.segments_initial = SEGMENTS_INITIAL,
				.batch_bytes = SPOOL_BATCH_BYTES,
				.batch_wait_us = 0,
			},
		.authenticate = users_authenticate,
		.authenticate_context = appliance->users,
	};
	for (unsigned w = index; w < appliance->worker_count; w += appliance->shard_count) {
		settings.workers[settings.worker_count].from_worker =
			appliance->workers[w].link.to_shard;
		settings.workers[settings.worker_count].to_worker =
			appliance->workers[w].link.to_worker;
		settings.workers[settings.worker_count].home = (uint16_t)w;
		settings.worker_count++;
	}
	thread->shard = queue_shard_create(
		&settings, queue_view(appliance->configuration, appliance->revision), now, error);
	return thread->shard ? 0 : -EIO;
}

static int create_worker(struct appliance *appliance, unsigned index, const struct mr_now *now,
			 char *error)
{
	const struct config_system *system = config_system(appliance->configuration);
	struct worker_thread *thread = &appliance->workers[index];

	assert(appliance->shard_count > 0);
	struct worker_settings settings = {
		.index = (uint16_t)index,
		.count = (uint16_t)appliance->worker_count,
		.connections = system->sessions_in + system->sessions_out + 1024,
		.server_sessions = system->sessions_in,
		.client_sessions = system->sessions_out,
		.paths = PATHS_PER_WORKER,
		.chunks = chunks_per_worker(system),
		.id_origin = queue_shard_id_origin(
			appliance->shards[index % appliance->shard_count].shard),
		.link = thread->link,
		.frames = &thread->frames.pool,
		.tcp_ecn = system->tcp_ecn,
		.tcp_keepalive_s = system->tcp_keepalive_s,
	};

	for (unsigned p = 0; p < appliance->port_count; p++) {
		struct nic_port_information info;

		nic_port_information(appliance->ports[p], &info);
		settings.offloads[p].tx_ip_checksum = info.tx_ip_checksum;
		settings.offloads[p].tx_tcp_checksum = info.tx_tcp_checksum;
		settings.offloads[p].tx_segmentation = info.tx_segmentation;
		settings.offloads[p].tx_segmentation6 = info.tx_segmentation6;
		thread->loop.ports[p] = appliance->ports[p];
	}
	thread->worker = worker_create(&settings, now);
	if (!thread->worker) {
		snprintf(error, ERROR_TEXT,
			 "no memory for worker %u (%u sessions in, %u out, %u chunks)", index,
			 system->sessions_in, system->sessions_out, settings.chunks);
		return -ENOMEM;
	}
	thread->core = system->worker_cores[index];
	thread->loop.worker = thread->worker;
	thread->loop.queue = (uint16_t)index;
	thread->loop.port_count = appliance->port_count;
	thread->loop.idle = (enum worker_idle)system->idle;
	thread->loop.sleep_max_us = system->idle_sleep_max_us;
	thread->loop.stop = &appliance->stop_workers;
	return 0;
}

static void *run_worker(void *argument)
{
	struct worker_thread *thread = argument;

	struct mr_random entropy;

	if (nic_thread_register() < 0)
		log_warning("workers",
			    "DPDK does not take another thread: packet buffers are not cached");
	/* Without randomness there is no TLS, and no worker. */
	if (random_init(&entropy) < 0) {
		log_error("workers", "no randomness from the operating system");
		abort();
	}
	tls_thread_init(&entropy);
	worker_loop_run(&thread->loop);
	nic_thread_unregister();
	return NULL;
}

static void thread_error(const char *name, int core, int code, char *error)
{
	if (core >= 0)
		snprintf(error, ERROR_TEXT, "thread %s on core %d: %s", name, core,
			 code == -EINVAL ? "this process may not run there" : strerror(-code));
	else
		snprintf(error, ERROR_TEXT, "thread %s: %s", name, strerror(-code));
}

static int start_threads(struct appliance *appliance, char *error)
{
	int code = 0;

	for (unsigned i = 0; code == 0 && i < appliance->shard_count; i++) {
		code = shard_thread_start(&appliance->shards[i]);
		if (code < 0)
			thread_error("queue", appliance->shards[i].core, code, error);
	}
	for (unsigned i = 0; code == 0 && i < appliance->worker_count; i++) {
		struct worker_thread *w = &appliance->workers[i];
		char name[16];

		snprintf(name, sizeof(name), "worker%u", i % 100);
		code = thread_start(&w->thread, name, w->core, run_worker, w);
		w->running = code == 0;
		if (code < 0)
			thread_error(name, w->core, code, error);
	}
	return code;
}

static int open_events(struct appliance *appliance, const struct config_system *system, char *error)
{
	char node[16];

	snprintf(node, sizeof(node), "%u", system->node_id);
	struct event_log_settings settings = {
		.directory = system->event_directory,
		.rotate_bytes = system->event_rotate_bytes,
		.keep = system->event_keep,
		.node = node,
	};
	appliance->events = event_log_open(&settings, error);
	return appliance->events ? 0 : -EIO;
}

int appliance_open_log(const struct config_system *system, char *error)
{
	struct log_settings settings = {
		.file = system->log_file,
		.rotate_bytes = system->log_rotate_bytes,
		.keep = system->log_keep,
	};

	if (log_level_parse(system->log_level, &settings.level) < 0)
		settings.level = LOG_LEVEL_INFO;
	return log_open(&settings, error);
}

static int publish_first_view(struct appliance *appliance, char *error)
{
	char why[CERTIFICATE_ERROR];
	struct view *view;

	appliance->certificates = certificate_set_load(appliance->configuration, why);
	if (!appliance->certificates) {
		snprintf(error, ERROR_TEXT, "%.*s", ERROR_TEXT - 1, why);
		return -EINVAL;
	}
	view = views_build(appliance, appliance->configuration, appliance->certificates,
			   appliance->revision, why);
	if (!view) {
		snprintf(error, ERROR_TEXT, "%.*s", ERROR_TEXT - 1, why);
		return -EINVAL;
	}
	if (views_publish(appliance, view) < 0) {
		views_free(view);
		snprintf(error, ERROR_TEXT, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

/* Two daemons on one spool or one event log would destroy both. */
static int lock_directories(struct appliance *appliance, const struct config_system *system,
			    char *error)
{
	appliance->locks[0] = directory_lock(system->event_directory, "events", error);
	if (appliance->locks[0] < 0)
		return appliance->locks[0];
	appliance->locks[1] = directory_lock(system->spool_directory, "spool", error);
	return appliance->locks[1] < 0 ? appliance->locks[1] : 0;
}

int appliance_start(struct appliance *appliance, char *error)
{
	const struct config_system *system = config_system(appliance->configuration);
	struct mr_random random;
	struct mr_now now;
	int code;

	clock_read(&now);
	appliance->started_us = appliance->configured_us = now.wall_us;
	appliance->revision = 1;
	appliance->shard_count = system->shard_count;
	pthread_mutex_init(&appliance->lock, NULL);
	code = random_init(&random);
	if (code == 0)
		tls_ticket_keys_init(&appliance->ticket_keys, &random, now.mono_us);
	if (code == 0)
		code = tls_global_init();
	if (code < 0) {
		snprintf(error, ERROR_TEXT, "TLS library: %s", strerror(-code));
		return code;
	}
	appliance->captures = captures_create(appliance);
	if (!appliance->captures) {
		snprintf(error, ERROR_TEXT, "out of memory");
		return -ENOMEM;
	}
	code = lock_directories(appliance, system, error);
	if (code == 0)
		code = open_events(appliance, system, error);
	if (code < 0)
		return code;
	appliance->users = users_create(appliance->configuration, error);
	if (!appliance->users)
		return -EINVAL;
	code = create_links(appliance, system);
	if (code < 0) {
		snprintf(error, ERROR_TEXT, "no memory for the rings between workers and queue");
		return code;
	}
	for (unsigned i = 0; code == 0 && i < appliance->shard_count; i++)
		code = create_shard(appliance, i, &now, error);
	for (unsigned i = 0; code == 0 && i < appliance->worker_count; i++)
		code = create_worker(appliance, i, &now, error);
	for (unsigned i = 0; code == 0 && i < appliance->worker_count; i++)
		for (unsigned k = i + 1; code == 0 && k < appliance->worker_count; k++)
			code = worker_join(appliance->workers[i].worker,
					   appliance->workers[k].worker);
	if (code < 0 && !error[0])
		snprintf(error, ERROR_TEXT, "no memory for the rings between workers");
	if (code == 0)
		code = publish_first_view(appliance, error);
	if (code == 0)
		code = start_threads(appliance, error);
	return code;
}

const struct view *appliance_view(const struct appliance *appliance)
{
	return appliance->views->view;
}

/* ---- While it runs ---- */

static uint32_t refusal_of(struct appliance *appliance, unsigned worker)
{
	if (atomic_load_explicit(&appliance->draining, memory_order_relaxed))
		return COMMIT_OVERLOAD;
	return atomic_load_explicit(&appliance->shards[worker % appliance->shard_count].refusal,
				    memory_order_relaxed);
}

void appliance_arrivals(const struct appliance *appliance, unsigned port, struct net_arrivals *sum)
{
	*sum = (struct net_arrivals){0};
	for (unsigned i = 0; i < appliance->worker_count; i++)
		steering_add(sum, net_stack_arrivals(worker_stack(appliance->workers[i].worker),
						     (uint16_t)port));
}

/* All ways of steering again, when a reload or the link's return gives reason to. */
static void retry_steering(struct appliance *appliance, unsigned port,
			   struct nic_port_information *info, const struct net_arrivals *arrivals)
{
	unsigned adopted = atomic_load_explicit(&appliance->adoptions, memory_order_relaxed);
	bool up = nic_port_link_is_up(appliance->ports[port]);
	enum nic_steering before = info->steering;
	struct mr_now now;

	clock_read(&now);
	if (!steering_retry_due(&appliance->steering[port], before, up, adopted, arrivals,
				now.mono_us) ||
	    !nic_port_steering_retry(appliance->ports[port]))
		return;
	nic_port_information(appliance->ports[port], info);
	if (info->steering != before)
		log_info("ports", "port %s: steering tried again: %s instead of %s (%s)",
			 info->name, nic_steering_name(info->steering), nic_steering_name(before),
			 info->steering_reason);
}

static void check_steering(struct appliance *appliance)
{
	for (unsigned p = 0; p < appliance->port_count; p++) {
		struct nic_port_information info;
		struct net_arrivals arrivals;
		char reason[128];

		nic_port_information(appliance->ports[p], &info);
		appliance_arrivals(appliance, p, &arrivals);
		retry_steering(appliance, p, &info, &arrivals);
		if (steering_check(&appliance->steering[p], info.steering, &arrivals, reason))
			continue;
		nic_port_steering_failed(appliance->ports[p], reason);
		nic_port_information(appliance->ports[p], &info);
		log_warning("ports", "port %s: %s; now %s", info.name, reason,
			    nic_steering_name(info.steering));
	}
}

void appliance_tick(struct appliance *appliance)
{
	check_steering(appliance);
	for (unsigned i = 0; i < appliance->worker_count; i++)
		worker_set_refusal(appliance->workers[i].worker, refusal_of(appliance, i));
	if (pthread_mutex_trylock(&appliance->lock) == 0) {
		views_retire(appliance);
		views_renew_ticket_keys(appliance);
		pthread_mutex_unlock(&appliance->lock);
	}
}

struct adoption {
	struct queue_shard *shard;
	struct resolver *resolver;
	const struct resolver_settings *resolver_settings;
	const struct queue_settings_view *view;
};

static void adopt_in_shard(void *argument)
{
	struct adoption *adoption = argument;
	struct mr_now now;

	clock_read(&now);
	/* Before new work: an exchanger that is us by now must be known as such. */
	if (adoption->resolver->set_own_addresses(
		    adoption->resolver, adoption->resolver_settings->own_addresses,
		    adoption->resolver_settings->own_address_count) < 0)
		log_error("config",
			  "no memory: the resolver knows this box by its former addresses");
	queue_shard_configure(adoption->shard, adoption->view, &now);
}

static void report_line(json_t *report, const char *line)
{
	if (report)
		json_array_append_new(report, json_string(line));
}

static void log_errors(const struct config_errors *errors)
{
	for (unsigned i = 0; i < errors->count; i++) {
		char line[sizeof(errors->errors[i]) + 32];

		config_error_format(&errors->errors[i], line, sizeof(line));
		log_error("config", "%s", line);
	}
}

static void report_restarts(struct appliance *appliance, const struct configuration *next,
			    json_t *report)
{
	char lines[32][256];
	unsigned count = config_needs_restart(appliance->started_with, next, lines, 32);

	for (unsigned i = 0; i < count; i++) {
		log_warning("config", "needs a restart: %s", lines[i]);
		if (report)
			json_array_append_new(report,
					      json_sprintf("needs a restart: %s", lines[i]));
	}
}

static bool same_ports(const struct configuration *now, const struct configuration *next)
{
	const struct config_port *a, *b;
	unsigned count = config_ports(now, &a);

	if (config_ports(next, &b) != count)
		return false;
	for (unsigned i = 0; i < count; i++)
		if (strcmp(a[i].name, b[i].name) != 0 || strcmp(a[i].device, b[i].device) != 0)
			return false;
	return true;
}

/* Addresses, routes and sources name ports by their place: ports must be as they are open. */
static bool can_be_adopted(const struct appliance *appliance, const struct configuration *next,
			   json_t *report)
{
	static const char why[] =
		"the ports, their order or their devices change: that needs a restart; nothing was adopted";

	if (same_ports(appliance->configuration, next))
		return true;
	log_error("config", "%s", why);
	report_line(report, why);
	return false;
}

static int wait_for_adoption(struct appliance *appliance)
{
	for (unsigned ms = 0; ms < ADOPTION_TIME_MS; ms++) {
		struct timespec ts = {.tv_nsec = 1000000};

		if (views_adopted(appliance))
			return 0;
		nanosleep(&ts, NULL);
	}
	return -EBUSY;
}

static int adopt(struct appliance *appliance, struct configuration *next, json_t *report)
{
	char error[CERTIFICATE_ERROR];
	struct certificate_set *certificates = certificate_set_load(next, error);
	struct view *view = certificates ? views_build(appliance, next, certificates,
						       appliance->revision + 1, error)
					 : NULL;
	int code = -EINVAL;

	if (!view)
		goto failed;
	if (users_reload(appliance->users, next, error) < 0) {
		views_free(view);
		goto failed;
	}
	code = views_publish(appliance, view);
	if (code < 0) {
		views_free(view);
		snprintf(error, sizeof(error), "out of memory");
		goto failed;
	}
	for (unsigned i = 0; i < appliance->shard_count; i++) {
		struct adoption adoption = {.shard = appliance->shards[i].shard,
					    .resolver = appliance->shards[i].resolver,
					    .resolver_settings = config_resolver(next),
					    .view = queue_view(next, appliance->revision + 1)};

		executor_call(appliance->shards[i].executor, adopt_in_shard, &adoption);
	}
	report_restarts(appliance, next, report);
	if (appliance_open_log(config_system(next), error) < 0)
		report_line(report, error);
	if (appliance->configuration != appliance->started_with)
		config_free(appliance->configuration);
	appliance->configuration = next;
	certificate_set_free(appliance->certificates);
	appliance->certificates = certificates;
	appliance->revision++;
	atomic_fetch_add_explicit(&appliance->adoptions, 1, memory_order_relaxed);
	code = wait_for_adoption(appliance);
	if (code < 0) {
		log_error("config", "revision %llu is adopted, but not by every worker in time",
			  (unsigned long long)appliance->revision);
		report_line(report, "adopted, but not by every worker in time: see show workers");
	}
	return code;

failed:
	log_error("config", "not adopted: %s", error);
	report_line(report, error);
	certificate_set_free(certificates);
	config_free(next);
	return code;
}

int appliance_reload(struct appliance *appliance, struct config_errors *errors, json_t *report)
{
	struct config_errors own = {0};
	struct configuration *next;
	int code = -EINVAL;

	if (!errors)
		errors = &own;
	pthread_mutex_lock(&appliance->lock);
	next = config_load(appliance->config_file, NULL, errors);
	if (!next) {
		log_errors(errors);
		log_error("config", "%s has errors; the configuration in force goes on",
			  appliance->config_file);
	} else if (!can_be_adopted(appliance, next, report)) {
		config_free(next);
	} else {
		code = adopt(appliance, next, report);
	}
	if (code == 0) {
		struct mr_now now;

		clock_read(&now);
		appliance->configured_us = now.wall_us;
		log_info("config", "revision %llu is in force",
			 (unsigned long long)appliance->revision);
	}
	pthread_mutex_unlock(&appliance->lock);
	return code;
}

/* ---- The end ---- */

void appliance_drain(struct appliance *appliance)
{
	if (atomic_exchange(&appliance->draining, true))
		return;
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		worker_set_refusal(appliance->workers[i].worker, COMMIT_OVERLOAD);
		worker_request_drain(appliance->workers[i].worker);
	}
	for (unsigned i = 0; i < appliance->shard_count; i++)
		atomic_store_explicit(&appliance->shards[i].drain, true, memory_order_relaxed);
}

bool appliance_is_drained(const struct appliance *appliance)
{
	for (unsigned i = 0; i < appliance->worker_count; i++)
		if (!worker_is_drained(appliance->workers[i].worker))
			return false;
	for (unsigned i = 0; i < appliance->shard_count; i++)
		if (!atomic_load_explicit(&((struct appliance *)appliance)->shards[i].drained,
					  memory_order_acquire))
			return false;
	return true;
}

static void stop_shard(struct shard_thread *thread)
{
	shard_thread_stop(thread);
	queue_shard_destroy(thread->shard);
	if (thread->resolver)
		thread->resolver->destroy(thread->resolver);
	if (thread->disk)
		thread->disk->operations->destroy(thread->disk);
	executor_destroy(thread->executor);
}

void appliance_stop(struct appliance *appliance)
{
	captures_destroy(appliance->captures); /* while the workers still run */
	atomic_store(&appliance->stop_workers, true);
	for (unsigned i = 0; i < appliance->worker_count; i++)
		if (appliance->workers[i].running)
			pthread_join(appliance->workers[i].thread, NULL);
	/* Shards go on a little: what workers said last is still in the rings. */
	for (unsigned i = 0; i < appliance->shard_count; i++)
		stop_shard(&appliance->shards[i]);
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		worker_destroy(appliance->workers[i].worker);
		ring_destroy(appliance->workers[i].link.to_shard);
		ring_destroy(appliance->workers[i].link.to_worker);
	}
	views_free_all(appliance);
	certificate_set_free(appliance->certificates);
	tls_ticket_keys_wipe(&appliance->ticket_keys);
	users_destroy(appliance->users);
	event_log_close(appliance->events);
	for (unsigned i = 0; i < 2; i++)
		if (appliance->locks[i] > 0)
			close(appliance->locks[i]);
	for (unsigned i = 0; i < appliance->port_count; i++)
		nic_port_close(appliance->ports[i]);
	nic_environment_stop();
}
