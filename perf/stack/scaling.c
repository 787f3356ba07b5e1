/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two workers against one: each thread has a core and a pair of stacks of its own and opens and
 * closes connections. Beside it the same for computation that touches no memory: what the machine
 * gives two cores at all. Work is counted a second of the thread's own CPU time, so that other
 * load on the machine costs less; turbo, caches and shared execution units still show.
 */
#include "perf/stack/bench.h"
#include "perf/stack/opener.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WORKERS 2u
#define TRIES	5u

struct job {
	unsigned core;
	double seconds;
	uint64_t (*work)(void *context); /* @return units done */
	void *context;
	pthread_barrier_t *start;
	double rate; /* units a second of CPU time */
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t compute(void *context)
{
	uint64_t x = *(uint64_t *)context;

	for (unsigned i = 0; i < 100000; i++) {
		x = x * 0x9e3779b97f4a7c15u + (x >> 31);
		__asm__ volatile("" : "+r"(x));
	}
	*(uint64_t *)context = x;
	return 100000;
}

static uint64_t open_and_close(void *context)
{
	opener_round(context);
	return OPENER_BATCH;
}

static void *run(void *argument)
{
	struct job *job = argument;
	cpu_set_t cores;
	uint64_t done = 0;
	double begin, now;

	CPU_ZERO(&cores);
	CPU_SET(job->core, &cores);
	if (pthread_setaffinity_np(pthread_self(), sizeof(cores), &cores) != 0) {
		fprintf(stderr, "stack-bench: no core %u\n", job->core);
		exit(1);
	}
	job->work(job->context);
	pthread_barrier_wait(job->start);
	begin = cpu_seconds();
	do {
		done += job->work(job->context);
		now = cpu_seconds();
	} while (now - begin < job->seconds);
	job->rate = (double)done / (now - begin);
	return NULL;
}

/* @return units a CPU second of all workers together */
static double measure(unsigned workers, double seconds, uint64_t (*work)(void *), void **contexts)
{
	struct job jobs[WORKERS];
	pthread_t threads[WORKERS];
	pthread_barrier_t start;
	double sum = 0;

	pthread_barrier_init(&start, NULL, workers);
	for (unsigned i = 0; i < workers; i++) {
		jobs[i] = (struct job){.core = i,
				       .seconds = seconds,
				       .work = work,
				       .context = contexts[i],
				       .start = &start};
		if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0)
			exit(1);
	}
	for (unsigned i = 0; i < workers; i++) {
		pthread_join(threads[i], NULL);
		sum += jobs[i].rate;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

static double ratio(double seconds, uint64_t (*work)(void *), void **contexts)
{
	double one = measure(1, seconds / 2, work, contexts);
	double other = measure(1, seconds / 2, work, contexts);

	return measure(WORKERS, seconds, work, contexts) / ((one + other) / 2);
}

void bench_scaling(const struct bench_options *options)
{
	double seconds = options->quick ? 0.15 : 1.0, stack[TRIES], pure[TRIES];
	uint64_t numbers[WORKERS * 8] = {1, [8] = 2};
	void *computing[WORKERS], *opening[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++) {
		computing[i] = &numbers[(size_t)i * 8];
		opening[i] = opener_create(options->seed + i, false);
	}
	for (unsigned i = 0; i < TRIES; i++) {
		pure[i] = ratio(seconds, compute, computing);
		stack[i] = ratio(seconds, open_and_close, opening);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		opener_destroy(opening[i]);
	report("tcp.scaling_two_workers", median(stack, TRIES), "1");
	report("tcp.scaling_compute", median(pure, TRIES), "1");
}
