/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the TCP stack costs by itself: two stacks in one process, memory between them. perf/tcp runs
 * this beside the measurements against Linux.
 */
#include "perf/stack/bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *json;
static bool first = true;

void report(const char *name, double value, const char *unit)
{
	printf("%-44s %14.3f %s\n", name, value, unit);
	fflush(stdout);
	if (json != NULL) {
		fprintf(json, "%s\n {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}",
			first ? "" : ",", name, value, unit);
		first = false;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

double undisturbed(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 10];
}

static const struct {
	const char *name;
	void (*run)(const struct bench_options *options);
} parts[] = {
	{"packets", bench_packets}, {"bulk", bench_bulk},	  {"idle", bench_idle},
	{"scaling", bench_scaling}, {"fairness", bench_fairness}, {"sack", bench_sack},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static const char usage[] =
	"usage: stack-bench [options] [PART...]        parts: packets bulk idle scaling fairness sack\n"
	"  --quick              shorter\n"
	"  --connections N      that idle, of each end (1000000)\n"
	"  --seed N             --json FILE\n";

static void run_part(const char *name, const struct bench_options *options)
{
	for (unsigned i = 0; i < PARTS; i++)
		if (strcmp(parts[i].name, name) == 0) {
			parts[i].run(options);
			return;
		}
	fputs(usage, stderr);
	exit(2);
}

int main(int count, char **texts)
{
	static const struct option known[] = {
		{"quick", 0, NULL, 'q'}, {"connections", 1, NULL, 'c'}, {"seed", 1, NULL, 's'},
		{"json", 1, NULL, 'j'},	 {"help", 0, NULL, 'h'},	{NULL, 0, NULL, 0}};
	struct bench_options options = {.idle_connections = 1000000, .seed = 1};
	int option;

	while ((option = getopt_long(count, texts, "", known, NULL)) != -1) {
		switch (option) {
		case 'q':
			options.quick = true;
			break;
		case 'c':
			options.idle_connections = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			options.seed = strtoull(optarg, NULL, 10);
			break;
		case 'j':
			json = fopen(optarg, "w");
			if (json == NULL) {
				fprintf(stderr, "stack-bench: %s: %s\n", optarg, strerror(errno));
				return 1;
			}
			fputc('[', json);
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (optind == count)
		for (unsigned i = 0; i < PARTS; i++)
			parts[i].run(&options);
	for (int i = optind; i < count; i++)
		run_part(texts[i], &options);
	if (json != NULL) {
		fputs("\n]\n", json);
		fclose(json);
	}
	return 0;
}
