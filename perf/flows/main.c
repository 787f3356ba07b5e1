/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Flows of two senders side by side; see flows.h. */
#include "perf/flows/flows.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint8_t flows_data[CHUNK_BYTES] = {1, 2, 3};

static const char usage[] =
	"usage: flows --sink | --kernel | --stack FD  [options]\n"
	"  --bulk NAME,ADDRESS,CONGESTION                     a flow that sends all the time\n"
	"  --messages NAME,ADDRESS,CONGESTION,COUNT,GAP_MS,BYTES   a connection each\n"
	"  --seconds S        of bulk flows (10)\n"
	"  --json FILE        results (- : stdout)\n"
	"  --trace            windows of our stack's bulk flows to stderr, ten times a second\n"
	"The stack is 10.0.0.3/24 on FD (a SOCK_SEQPACKET socket), its router 10.0.0.2.\n";

static _Noreturn void wrong(const char *text)
{
	fprintf(stderr, "flows: cannot read '%s'\n%s", text, usage);
	exit(2);
}

static struct job *add_job(struct work *work, char *text, unsigned fields, char *rest[])
{
	struct job *job = &work->jobs[work->count++];
	char *whole = strdup(text), *next = text;
	unsigned i = 0;

	if (work->count > JOBS_MAX || whole == NULL)
		wrong("more jobs than fit");
	while (i < fields && (rest[i] = strsep(&next, ",")) != NULL)
		i++;
	if (i != fields || next != NULL || ip_parse(rest[1], &job->to) != 0 ||
	    strlen(rest[0]) >= sizeof(job->name) || strlen(rest[2]) >= sizeof(job->congestion))
		wrong(whole);
	free(whole);
	strcpy(job->name, rest[0]);
	strcpy(job->congestion, rest[2]);
	return job;
}

static void add_bulk(struct work *work, char *text)
{
	char *fields[3];

	add_job(work, text, 3, fields);
}

static void add_messages(struct work *work, char *text)
{
	char *fields[6];
	struct job *job = add_job(work, text, 6, fields);

	job->count = (uint32_t)strtoul(fields[3], NULL, 10);
	job->gap_us = (uint32_t)(strtod(fields[4], NULL) * 1000);
	job->size = (uint32_t)strtoul(fields[5], NULL, 10);
	if (job->count == 0 || job->size == 0)
		wrong(fields[0]);
	job->times_ms = calloc(job->count, sizeof(*job->times_ms));
	if (job->times_ms == NULL)
		wrong("so many messages");
}

bool work_done(const struct work *work, uint64_t elapsed_us)
{
	for (unsigned i = 0; i < work->count; i++) {
		const struct job *job = &work->jobs[i];

		if (job->count == 0 && elapsed_us < work->duration_us)
			return false;
		if (job->done + job->failed < job->count &&
		    elapsed_us < job_start_us(job, job->count) + work->patience_us)
			return false;
	}
	return true;
}

static void write_results(const struct work *work, const char *path)
{
	FILE *to = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");

	if (to == NULL) {
		perror(path);
		exit(1);
	}
	fputs("[", to);
	for (unsigned i = 0; i < work->count; i++) {
		const struct job *job = &work->jobs[i];

		fprintf(to, "%s\n {\"name\": \"%s\"", i > 0 ? "," : "", job->name);
		if (job->count == 0) {
			fprintf(to, ", \"goodput_mbit\": %.4f, \"failed\": %u}",
				(double)job->acknowledged * 8 / (double)work->duration_us,
				job->failed);
			continue;
		}
		fprintf(to, ", \"failed\": %u, \"unfinished\": %u, \"times_ms\": [", job->failed,
			job->count - job->done - job->failed);
		for (uint32_t n = 0; n < job->done; n++)
			fprintf(to, "%s%.1f", n > 0 ? ", " : "", job->times_ms[n]);
		fputs("]}", to);
	}
	fputs("\n]\n", to);
	if (to != stdout)
		fclose(to);
}

int main(int count, char **texts)
{
	static const struct option options[] = {
		{"sink", 0, NULL, 'S'}, {"kernel", 0, NULL, 'k'},   {"stack", 1, NULL, 's'},
		{"bulk", 1, NULL, 'b'}, {"messages", 1, NULL, 'm'}, {"seconds", 1, NULL, 't'},
		{"json", 1, NULL, 'j'}, {"seed", 1, NULL, 'r'},	    {"trace", 0, NULL, 'T'},
		{"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
	};
	static struct work work = {.duration_us = 10000000, .patience_us = 30000000, .seed = 1};
	const char *json = NULL;
	int option, mode = 0, fd = -1, status;

	while ((option = getopt_long(count, texts, "", options, NULL)) != -1) {
		switch (option) {
		case 'S':
		case 'k':
		case 's':
			mode = option;
			fd = option == 's' ? atoi(optarg) : -1;
			break;
		case 'b':
			add_bulk(&work, optarg);
			break;
		case 'm':
			add_messages(&work, optarg);
			break;
		case 't':
			work.duration_us = (uint64_t)(strtod(optarg, NULL) * 1e6);
			break;
		case 'j':
			json = optarg;
			break;
		case 'T':
			work.trace = true;
			break;
		case 'r':
			work.seed = strtoull(optarg, NULL, 10);
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (mode == 0 || optind != count) {
		fputs(usage, stderr);
		return 2;
	}
	if (mode == 'S')
		return flows_run_sink();
	status = mode == 'k' ? flows_run_kernel(&work) : flows_run_stack(&work, fd);
	if (status == 0 && json != NULL)
		write_results(&work, json);
	return status;
}
