/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the spool commits in a second, beside what the device can do and what a file a message
 * costs, in one run.
 *
 *   spool-bench [--quick] [--json FILE] [--directory DIR] [--thread]
 *
 * Rows, in turn for the same time each: the raw device (256 KiB and 8 KiB O_DIRECT writes with
 * RWF_DSYNC into a segment that was written before, one at a time); the spool in a closed loop of
 * many sessions, with 8 KiB and 64 KiB messages, and of one session; file a message (create, write,
 * fsync, rename). A shared disk is noisy: compare within a run, not between runs.
 */
#include "control/queue/spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SEGMENT	     (64u << 20)
#define SESSIONS_MAX 512u

struct options {
	const char *directory;
	const char *json;
	bool thread;
	uint64_t span_us;
};

struct row {
	const char *name;
	double value;
	const char *unit;
};

static struct row rows[40];
static unsigned row_count;

static void report(const char *name, double value, const char *unit)
{
	rows[row_count++] = (struct row){.name = name, .value = value, .unit = unit};
	printf("%-40s %12.1f %s\n", name, value, unit);
	fflush(stdout);
}

static void die(const char *what)
{
	fprintf(stderr, "spool-bench: %s\n", what);
	exit(1);
}

static uint64_t now_us(void)
{
	struct mr_now now;

	clock_read(&now);
	return now.mono_us;
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
}

static void wipe(const char *directory)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;

	while (stream != NULL && (entry = readdir(stream)) != NULL)
		unlinkat(dirfd(stream), entry->d_name, 0);
	if (stream != NULL)
		closedir(stream);
	rmdir(directory);
}

static struct disk *open_disk(const struct options *options)
{
	const struct disk_settings settings = {.directory = options->directory,
					       .no_io_uring = options->thread};
	char error[256];
	struct disk *disk = disk_open(&settings, error);

	if (disk == NULL)
		die(error);
	return disk;
}

/* ---- The device ---- */

static double raw(const struct options *options, size_t size)
{
	struct disk *disk = open_disk(options);
	struct disk_completion completion;
	struct disk_file *file;
	uint64_t began, offset = 0, count = 0;
	void *buffer = NULL;

	if (disk->operations->create(disk, "raw", SEGMENT, &file) != 0 ||
	    posix_memalign(&buffer, DISK_ALIGN, size) != 0)
		die("cannot make a file");
	memset(buffer, 0x5a, size);
	began = now_us();
	while (now_us() - began < options->span_us) {
		if (disk->operations->write_durable(disk, file, offset, buffer, size, NULL) != 0)
			die("cannot write");
		while (disk->operations->reap(disk, &completion, 1) == 0)
			disk->operations->wait(disk, 1000);
		if (completion.result != (int64_t)size)
			die("a write failed");
		offset = (offset + size) % SEGMENT;
		count++;
	}
	disk->operations->close(disk, file);
	disk_close(disk);
	free(buffer);
	wipe(options->directory);
	return (double)count * 1e6 / (double)(now_us() - began);
}

/* ---- A file a message ---- */

static double file_a_message(const struct options *options, size_t size)
{
	uint64_t began, count = 0;
	char *buffer = malloc(size);
	struct disk *disk = open_disk(options); /* makes the directory */

	memset(buffer, 0x5a, size);
	began = now_us();
	while (now_us() - began < options->span_us) {
		char temporary[256], name[256];
		int fd;

		snprintf(temporary, sizeof(temporary), "%s/tmp", options->directory);
		snprintf(name, sizeof(name), "%s/m%llu", options->directory,
			 (unsigned long long)count++);
		fd = open(temporary, O_CREAT | O_WRONLY | O_TRUNC, 0600);
		if (fd < 0 || write(fd, buffer, size) != (ssize_t)size || fsync(fd) != 0 ||
		    close(fd) != 0 || rename(temporary, name) != 0)
			die("cannot write a file");
	}
	began = now_us() - began;
	disk_close(disk);
	free(buffer);
	wipe(options->directory);
	return (double)count * 1e6 / (double)began;
}

/* ---- The spool ---- */

struct bench {
	struct spool *spool;
	struct chunk_list envelope;
	struct chunk_list body;
	uint64_t serial;
	uint64_t committed;
	uint64_t latency_us_sum;
	uint64_t latency_us_max;
	struct mr_now now;
	bool stop;
	struct session {
		struct bench *bench;
		struct message_id id;
		struct spool_location location;
		uint64_t began_us;
		bool waiting; /**< for room */
	} sessions[SESSIONS_MAX];
};

static void ended(void *user, int result)
{
	(void)user;
	if (result != 0)
		die("an end failed");
}

static void committed(void *user, int result);

static void next_message(struct session *session)
{
	struct bench *bench = session->bench;

	session->id = (struct message_id){.origin = 1, .counter = ++bench->serial};
	session->began_us = bench->now.mono_us;
	session->waiting =
		spool_append_message(bench->spool, &session->id, 0, &bench->envelope, &bench->body,
				     &session->location, committed, session) != 0;
}

/* Delivered at once: the end goes into the next batch, and the session sends the next one. */
static void committed(void *user, int result)
{
	struct session *session = user;
	struct bench *bench = session->bench;
	uint64_t latency_us = bench->now.mono_us - session->began_us;

	if (result != 0)
		die("a commit failed");
	bench->committed++;
	bench->latency_us_sum += latency_us;
	if (latency_us > bench->latency_us_max)
		bench->latency_us_max = latency_us;
	if (spool_append_finished(bench->spool, &session->id, &session->location, ended, NULL) != 0)
		die("an end was refused");
	if (!bench->stop)
		next_message(session);
}

static void no_message(void *context, const struct message_id *id, uint32_t flags,
		       const uint8_t *envelope, size_t envelope_size, uint64_t body_size,
		       const struct spool_location *location)
{
}

static void no_state(void *context, const struct message_id *id, const uint8_t *data, size_t size)
{
}

static void no_end(void *context, const struct message_id *id)
{
}

static void no_note(void *context, const uint8_t *data, size_t size)
{
}

static void run(struct bench *bench, unsigned sessions, uint64_t span_us)
{
	uint64_t began = bench->now.mono_us;

	for (unsigned i = 0; i < sessions; i++) {
		bench->sessions[i].bench = bench;
		next_message(&bench->sessions[i]);
	}
	while (bench->now.mono_us - began < span_us) {
		clock_read(&bench->now);
		spool_turn(bench->spool, &bench->now);
		for (unsigned i = 0; i < sessions; i++)
			if (bench->sessions[i].waiting)
				next_message(&bench->sessions[i]);
	}
	bench->stop = true;
}

struct result {
	double messages_per_s;
	double mean_latency_us;
	double max_latency_us;
	double bytes_per_batch;
	double cpu_us_per_message;
	const char *method;
};

static struct result measure(const struct options *options, size_t size, unsigned sessions)
{
	static struct bench bench;
	struct disk *disk = open_disk(options);
	struct mr_random random;
	const struct spool_settings settings = {
		.disk = disk,
		.random = &random,
		.segment_size = SEGMENT,
		.segments = 16,
		.segments_initial = 8,
		.batch_bytes = 256 << 10,
	};
	const struct spool_recovery calls = {
		.message = no_message, .state = no_state, .finished = no_end, .note = no_note};
	struct chunk_pool *chunks = chunk_pool_create(1, 256);
	struct spool_recovered recovered;
	struct spool_statistics before, after;
	uint8_t *bytes = malloc(size);
	char error[256];
	double cpu, span;
	uint64_t began;

	memset(&bench, 0, sizeof(bench));
	random_init(&random);
	random_bytes(&random, bytes, size);
	clock_read(&bench.now);
	bench.spool = spool_open(&settings, &calls, &bench.now, &recovered, error);
	if (bench.spool == NULL)
		die(error);
	if (chunk_list_append(&bench.envelope, chunks, bytes, 200) != 0 ||
	    chunk_list_append(&bench.body, chunks, bytes, size - 200) != 0)
		die("out of chunks");
	spool_statistics(bench.spool, &before);
	cpu = cpu_s();
	clock_read(&bench.now);
	began = bench.now.mono_us;
	run(&bench, sessions, options->span_us);
	span = (double)(bench.now.mono_us - began);
	cpu = cpu_s() - cpu;
	spool_statistics(bench.spool, &after);
	const struct result result = {
		.messages_per_s = (double)bench.committed * 1e6 / span,
		.mean_latency_us = (double)bench.latency_us_sum / (double)bench.committed,
		.max_latency_us = (double)bench.latency_us_max,
		.bytes_per_batch = (double)(after.bytes_padded - before.bytes_padded) /
				   (double)(after.batches - before.batches),
		.cpu_us_per_message = cpu * 1e6 / (double)bench.committed,
		.method = after.method,
	};
	spool_close(bench.spool);
	chunk_list_free(&bench.envelope, chunks);
	chunk_list_free(&bench.body, chunks);
	chunk_pool_destroy(chunks);
	free(bytes);
	disk_close(disk);
	wipe(options->directory);
	return result;
}

static void write_json(const char *path)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		die("cannot write the results");
	fprintf(file, "[\n");
	for (unsigned i = 0; i < row_count; i++)
		fprintf(file, "  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\"}%s\n",
			rows[i].name, rows[i].value, rows[i].unit, i + 1 < row_count ? "," : "");
	fprintf(file, "]\n");
	fclose(file);
}

static struct options parse(int argc, char **argv)
{
	static const struct option names[] = {{"quick", no_argument, NULL, 'q'},
					      {"json", required_argument, NULL, 'j'},
					      {"directory", required_argument, NULL, 'd'},
					      {"thread", no_argument, NULL, 't'},
					      {0}};
	struct options options = {.span_us = 5 * US_PER_S};
	static char made[] = "/var/tmp/millrace-bench-XXXXXX";
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'q':
			options.span_us = US_PER_S;
			break;
		case 'j':
			options.json = optarg;
			break;
		case 'd':
			options.directory = optarg;
			break;
		case 't':
			options.thread = true;
			break;
		default:
			fprintf(stderr, "usage: spool-bench [--quick] [--json FILE] "
					"[--directory DIR] [--thread]\n");
			exit(2);
		}
	}
	if (options.directory == NULL) {
		options.directory = mkdtemp(made);
		if (options.directory == NULL)
			die("cannot make a directory");
	}
	return options;
}

int main(int argc, char **argv)
{
	const struct options options = parse(argc, argv);
	double device = raw(&options, 256 << 10) * (256 << 10) / 8192.0;
	double small = raw(&options, 8192), files;
	struct result many = measure(&options, 8192, SESSIONS_MAX), big, one;

	report("device.256k.as_8k_messages_per_second", device, "1/s");
	report("device.8k.commits_per_second", small, "1/s");
	printf("  %s\n", many.method);
	report("spool.8k.messages_per_second", many.messages_per_s, "1/s");
	report("spool.8k.of_device", 100 * many.messages_per_s / device, "%");
	report("spool.8k.bytes_per_batch", many.bytes_per_batch, "B");
	report("spool.8k.commit_mean", many.mean_latency_us, "us");
	report("spool.8k.commit_max", many.max_latency_us, "us");
	report("spool.8k.cpu_per_message", many.cpu_us_per_message, "us");
	big = measure(&options, 65536, 64);
	report("spool.64k.messages_per_second", big.messages_per_s, "1/s");
	one = measure(&options, 8192, 1);
	report("spool.one_session.messages_per_second", one.messages_per_s, "1/s");
	report("spool.one_session.commit_mean", one.mean_latency_us, "us");
	files = file_a_message(&options, 8192);
	report("file_per_message.messages_per_second", files, "1/s");
	report("spool.times_file_per_message", many.messages_per_s / files, "");
	if (options.json != NULL)
		write_json(options.json);
	return 0;
}
