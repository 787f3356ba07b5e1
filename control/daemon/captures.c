/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/captures.h"

#include "control/daemon/appliance.h"
#include "control/daemon/thread.h"
#include "control/telemetry/log.h"
#include "dataplane/session_list.h"
#include "drivers/nic/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CAPTURES_KEPT	 16
#define ERROR_TEXT	 256
#define FILTER_TEXT	 2048
#define SESSIONS_MAX	 10000
#define WRITER_PAUSE_NS	 2000000 /* between looks at empty rings */
#define FILE_NAME_LENGTH 128

struct capture {
	struct captures *owner;
	unsigned id; /* 0: never used */
	bool has_thread;
	pthread_t thread;
	atomic_bool stop;
	struct nic_capture *nic; /* NULL: ended */
	struct nic_capture_statistics last;
	uint64_t begin_us, end_us; /* wall clock */
	uint64_t deadline_us;	   /* monotonic */
	char what[80];
	char filter[FILTER_TEXT]; /* as asked for */
	char file[512];
	char state[ERROR_TEXT];
};

struct captures {
	struct appliance *appliance;
	pthread_mutex_t lock;
	unsigned serial;
	struct capture list[CAPTURES_KEPT]; /* id modulo CAPTURES_KEPT */
};

struct captures *captures_create(struct appliance *appliance)
{
	struct captures *captures = calloc(1, sizeof(*captures));

	if (!captures)
		return NULL;
	captures->appliance = appliance;
	pthread_mutex_init(&captures->lock, NULL);
	return captures;
}

/* ---- A capture's thread ---- */

static void nothing(void *argument)
{
	(void)argument;
}

/* Every worker has begun another turn: none is inside of a capture that was detached before. */
static void wait_for_workers(struct appliance *appliance)
{
	for (unsigned i = 0; i < appliance->worker_count; i++)
		worker_call(appliance->workers[i].worker, nothing, NULL);
}

static void ended(struct capture *capture, int code)
{
	struct captures *captures = capture->owner;
	struct mr_now now;

	nic_capture_detach(capture->nic);
	wait_for_workers(captures->appliance);
	while (code >= 0 && (code = nic_capture_write(capture->nic)) > 0)
		;
	clock_read(&now);
	pthread_mutex_lock(&captures->lock);
	nic_capture_statistics(capture->nic, &capture->last);
	nic_capture_close(capture->nic);
	capture->nic = NULL;
	capture->end_us = now.wall_us;
	if (code == -EFBIG)
		snprintf(capture->state, sizeof(capture->state), "ended: size reached");
	else if (code < 0)
		snprintf(capture->state, sizeof(capture->state), "ended: %s", strerror(-code));
	else
		snprintf(capture->state, sizeof(capture->state), "%s",
			 atomic_load(&capture->stop) ? "stopped" : "ended: time is over");
	log_info("capture", "%u (%s): %s, %llu packets in %s", capture->id, capture->what,
		 capture->state, (unsigned long long)capture->last.packets, capture->file);
	pthread_mutex_unlock(&captures->lock);
}

static void *run(void *argument)
{
	struct capture *capture = argument;
	const struct timespec pause = {.tv_nsec = WRITER_PAUSE_NS};
	struct mr_now now;
	int code = 0;

	do {
		code = nic_capture_write(capture->nic);
		if (code == 0)
			nanosleep(&pause, NULL);
		clock_read(&now);
	} while (code >= 0 && !atomic_load(&capture->stop) && now.mono_us < capture->deadline_us);
	ended(capture, code);
	return NULL;
}

static void join(struct capture *capture)
{
	if (!capture->has_thread)
		return;
	pthread_join(capture->thread, NULL);
	capture->has_thread = false;
}

/* ---- What to capture ---- */

struct session_search {
	struct worker *worker;
	uint64_t session;
	struct session_entry *entries;
	struct tcp_endpoints found;
	bool is_found;
};

static void search(void *argument)
{
	struct session_search *s = argument;
	unsigned count = smtp_server_list(worker_server(s->worker), s->entries, SESSIONS_MAX);

	count += path_table_list(worker_paths(s->worker), s->entries + count, SESSIONS_MAX - count);
	for (unsigned i = 0; i < count && !s->is_found; i++) {
		if (s->entries[i].session != s->session)
			continue;
		s->found = s->entries[i].endpoints;
		s->is_found = true;
	}
}

static int find_session(struct appliance *appliance, const char *text, struct tcp_endpoints *out,
			char *error)
{
	char *rest;
	struct session_search s = {.session = strtoull(text, &rest, 16)};

	if (text[0] == '\0' || *rest != '\0') {
		snprintf(error, ERROR_TEXT, "'%.40s' is no session (see show sessions)", text);
		return -EINVAL;
	}
	s.entries = calloc(SESSIONS_MAX, sizeof(*s.entries));
	if (!s.entries) {
		snprintf(error, ERROR_TEXT, "out of memory");
		return -ENOMEM;
	}
	/* Workers fill it between two turns: page faults are to happen here. */
	memset(s.entries, 0, SESSIONS_MAX * sizeof(*s.entries));
	for (unsigned i = 0; i < appliance->worker_count && !s.is_found; i++) {
		s.worker = appliance->workers[i].worker;
		worker_call(s.worker, search, &s);
	}
	free(s.entries);
	if (!s.is_found) {
		snprintf(error, ERROR_TEXT, "there is no session %.40s now", text);
		return -ENOENT;
	}
	*out = s.found;
	return 0;
}

/* The filter of one connection, tagged or not, and of what was asked for besides. */
static int session_filter(struct appliance *appliance, const struct capture_request *request,
			  char *filter, char *error)
{
	char local[IP_ADDRESS_TEXT], remote[IP_ADDRESS_TEXT], one[FILTER_TEXT / 2 - 32];
	struct tcp_endpoints e;
	int code = find_session(appliance, request->session, &e, error);

	if (code != 0)
		return code;
	ip_format(&e.local, local);
	ip_format(&e.remote, remote);
	int length = snprintf(one, sizeof(one),
			      "tcp and host %s and host %s and port %u and port %u%s%s%s", local,
			      remote, e.local_port, e.remote_port, request->filter ? " and (" : "",
			      request->filter ? request->filter : "", request->filter ? ")" : "");

	if (length < 0 || (size_t)length >= sizeof(one)) {
		snprintf(error, ERROR_TEXT, "the filter is too long");
		return -EINVAL;
	}
	snprintf(filter, FILTER_TEXT, "(%s) or (vlan and (%s))", one, one);
	return 0;
}

/* @return how many ports, 0: none of that name (said so) */
static unsigned choose_ports(const struct appliance *appliance,
			     const struct capture_request *request, struct nic_port **ports,
			     char *error)
{
	bool all = !request->port || strcmp(request->port, "all") == 0;
	unsigned count = 0;

	for (unsigned i = 0; i < appliance->port_count; i++) {
		struct nic_port_information info;

		nic_port_information(appliance->ports[i], &info);
		if (all || strcmp(info.name, request->port) == 0)
			ports[count++] = appliance->ports[i];
	}
	if (count == 0)
		snprintf(error, ERROR_TEXT, "there is no port '%.60s' (see show ports)",
			 request->port ? request->port : "");
	return count;
}

/* ---- The file ---- */

static bool name_good(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && !strchr(name, '/') &&
	       strlen(name) < FILE_NAME_LENGTH;
}

/* A reload by signal frees the configuration that was in force, in another thread. */
static void copy_directory(struct appliance *appliance, char *directory, size_t size)
{
	pthread_mutex_lock(&appliance->lock);
	snprintf(directory, size, "%s", config_system(appliance->configuration)->capture_directory);
	pthread_mutex_unlock(&appliance->lock);
}

/* @return the descriptor, or negative errno (said so) */
static int make_file(struct capture *capture, const char *name, char *error)
{
	char directory[sizeof(((struct config_system *)0)->capture_directory)];
	time_t now = (time_t)(capture->begin_us / US_PER_S);
	char made[FILE_NAME_LENGTH];
	struct tm tm;
	int fd;

	if (!name) {
		char date[32];

		strftime(date, sizeof(date), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
		snprintf(made, sizeof(made), "capture-%s-%u.pcapng", date, capture->id);
		name = made;
	}
	if (!name_good(name)) {
		snprintf(error, ERROR_TEXT,
			 "a capture's file is a name without '/', not a hidden one");
		return -EINVAL;
	}
	copy_directory(capture->owner->appliance, directory, sizeof(directory));
	if (mkdir(directory, 0750) < 0 && errno != EEXIST) {
		int code = -errno;

		snprintf(error, ERROR_TEXT, "directory %.180s: %s", directory, strerror(-code));
		return code;
	}
	snprintf(capture->file, sizeof(capture->file), "%s/%s", directory, name);
	fd = open(capture->file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		fd = -errno;
		snprintf(error, ERROR_TEXT, "%.200s: %s", capture->file, strerror(-fd));
	}
	return fd;
}

/* ---- Start, stop, list ---- */

static int open_capture(struct capture *capture, const struct capture_request *request, char *error)
{
	struct appliance *appliance = capture->owner->appliance;
	char filter[FILTER_TEXT] = "";
	struct nic_port *ports[NET_PORTS_MAX];
	unsigned port_count = choose_ports(appliance, request, ports, error);
	int fd, code = port_count > 0 ? 0 : -ENOENT;

	if (code == 0 && request->session)
		code = session_filter(appliance, request, filter, error);
	else if (code == 0 && request->filter &&
		 snprintf(filter, sizeof(filter), "%s", request->filter) >= FILTER_TEXT) {
		snprintf(error, ERROR_TEXT, "the filter is too long");
		code = -EINVAL;
	}
	if (code == 0 && filter[0] && !nic_capture_filter_good(filter, error))
		code = -EINVAL;
	if (code < 0)
		return code;
	fd = make_file(capture, request->file, error);
	if (fd < 0)
		return fd;
	struct nic_capture_settings settings = {
		.ports = ports,
		.port_count = port_count,
		.queues = (uint16_t)appliance->worker_count,
		.filter = filter,
		.fd = fd,
		.size_max = request->size_max,
		.comment = filter[0] ? filter : NULL,
	};
	capture->nic = nic_capture_open(&settings, error);
	if (!capture->nic) {
		close(fd);
	} else if (nic_capture_attach(capture->nic) < 0) {
		snprintf(error, ERROR_TEXT, "there are %u captures on these ports: stop one",
			 NIC_CAPTURES_MAX);
		nic_capture_close(capture->nic);
		capture->nic = NULL;
	}
	if (!capture->nic)
		unlink(capture->file);
	return capture->nic ? 0 : -EBUSY;
}

static json_t *describe(const struct capture *capture)
{
	struct nic_capture_statistics now = capture->last;

	if (capture->nic)
		nic_capture_statistics(capture->nic, &now);
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "capture",
			 (int)capture->id, "of", capture->what, "filter", capture->filter, "state",
			 capture->state, "file", capture->file, "packets", (json_int_t)now.packets,
			 "bytes", (json_int_t)now.bytes, "missed", (json_int_t)now.missed,
			 "begin_us", (json_int_t)capture->begin_us, "end_us",
			 capture->end_us ? json_integer((json_int_t)capture->end_us) : json_null());
}

static struct capture *free_slot(struct captures *captures)
{
	for (unsigned i = 0; i < CAPTURES_KEPT; i++) {
		struct capture *capture = &captures->list[++captures->serial % CAPTURES_KEPT];

		if (capture->nic)
			continue;
		join(capture);
		memset(capture, 0, sizeof(*capture));
		capture->owner = captures;
		capture->id = captures->serial;
		return capture;
	}
	return NULL;
}

json_t *captures_start(struct captures *captures, const struct capture_request *request,
		       char *error)
{
	json_t *answer = NULL;
	struct capture *capture;
	unsigned serial;
	struct mr_now now;

	clock_read(&now);
	pthread_mutex_lock(&captures->lock);
	serial = captures->serial;
	capture = free_slot(captures);
	if (!capture) {
		snprintf(error, ERROR_TEXT, "there are %u captures: stop one", CAPTURES_KEPT);
		goto out;
	}
	capture->begin_us = now.wall_us;
	capture->deadline_us = now.mono_us + request->time_us;
	snprintf(capture->what, sizeof(capture->what), "%s %.60s",
		 request->port ? "port" : "session",
		 request->port ? request->port : request->session);
	snprintf(capture->filter, sizeof(capture->filter), "%s",
		 request->filter ? request->filter : "");
	snprintf(capture->state, sizeof(capture->state), "running");
	if (open_capture(capture, request, error) < 0) {
		capture->id = 0;
		goto out;
	}
	int code = thread_start(&capture->thread, "capture", -1, run, capture);

	if (code < 0) {
		snprintf(error, ERROR_TEXT, "no thread for it: %s", strerror(-code));
		nic_capture_detach(capture->nic);
		wait_for_workers(captures->appliance);
		nic_capture_close(capture->nic);
		capture->nic = NULL;
		capture->id = 0;
		goto out;
	}
	capture->has_thread = true;
	answer = describe(capture);
out:
	if (!answer)
		captures->serial = serial;
	pthread_mutex_unlock(&captures->lock);
	return answer;
}

unsigned captures_stop(struct captures *captures, unsigned id)
{
	unsigned stopped = 0;

	for (unsigned i = 0; i < CAPTURES_KEPT; i++) {
		struct capture *capture = &captures->list[i];

		pthread_mutex_lock(&captures->lock);
		bool ours = capture->nic && (id == 0 || capture->id == id);

		pthread_mutex_unlock(&captures->lock);
		if (!ours)
			continue;
		/* Only this thread starts and joins; the capture's own takes the lock to end. */
		atomic_store(&capture->stop, true);
		join(capture);
		stopped++;
	}
	return stopped;
}

json_t *captures_list(struct captures *captures)
{
	json_t *list = json_array();

	pthread_mutex_lock(&captures->lock);
	for (unsigned i = 1; i <= CAPTURES_KEPT; i++) {
		const struct capture *capture =
			&captures->list[(captures->serial + i) % CAPTURES_KEPT];

		if (capture->id != 0)
			json_array_append_new(list, describe(capture));
	}
	pthread_mutex_unlock(&captures->lock);
	return list;
}

void captures_destroy(struct captures *captures)
{
	if (!captures)
		return;
	captures_stop(captures, 0);
	for (unsigned i = 0; i < CAPTURES_KEPT; i++)
		join(&captures->list[i]);
	pthread_mutex_destroy(&captures->lock);
	free(captures);
}
