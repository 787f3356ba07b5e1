/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Hundreds of seeds of the swarm (swarm.h), each in a process of its own, so that a failure costs
 * one seed and a loop without end is noticed.
 *
 *   MILLRACE_SIM_SEED=n    run this seed alone, here, and print what it means
 *   MILLRACE_SIM_TRACE=1   and every frame and event
 *   MILLRACE_SIM_PCAP=file and write the frames there, as the hosts sent them
 *   MILLRACE_SIM_SEEDS=n   run n seeds of each profile instead of the usual number
 *   MILLRACE_SIM_FIRST=n   and begin with this one
 *   MILLRACE_SIM_JOBS=n    so many at a time
 */
#include "tests/sim/tcp/swarm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SEEDS	    40u /* of each profile */
#define JOBS	    2u
#define CPU_SECONDS 60u
#define JOBS_MAX    16u

static unsigned number(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? (unsigned)strtoul(text, NULL, 0) : otherwise;
}

static void run(uint64_t seed, bool alone)
{
	struct swarm_options options;
	struct swarm_result result;

	swarm_draw(seed, &options);
	if (alone)
		swarm_print_options(&options);
	swarm_run(&options, getenv("MILLRACE_SIM_TRACE") != NULL, getenv("MILLRACE_SIM_PCAP"),
		  &result);
	if (alone)
		printf("# %lu steps, %lu frames, %lu bytes delivered, %.1f s of virtual time, %u "
		       "flows did not end in order\n",
		       (unsigned long)result.steps, (unsigned long)result.segments,
		       (unsigned long)result.bytes, (double)result.virtual_us / 1e6, result.failed);
}

/* The same seed with the time of day set forth and back: not a frame may differ. */
static void run_with_steps(uint64_t seed)
{
	struct swarm_options options;
	struct swarm_result still, stepped;

	swarm_draw(seed, &options);
	options.wall_steps = false;
	swarm_run(&options, false, NULL, &still);
	options.wall_steps = true;
	swarm_run(&options, false, NULL, &stepped);
	if (still.digest != stepped.digest || still.segments != stepped.segments) {
		printf("# seed %lu: %lu frames, %lu of them when the wall clock is set\n",
		       (unsigned long)seed, (unsigned long)still.segments,
		       (unsigned long)stepped.segments);
		fflush(stdout);
		abort();
	}
}

struct job {
	pid_t pid; /* 0: none */
	uint64_t seed;
};

static void start(struct job *job, uint64_t seed, void (*what)(uint64_t seed))
{
	const struct rlimit limit = {CPU_SECONDS, CPU_SECONDS}, none = {0, 0};

	fflush(stdout);
	*job = (struct job){.pid = fork(), .seed = seed};
	if (job->pid < 0)
		fail_msg("fork");
	if (job->pid > 0)
		return;
	setrlimit(RLIMIT_CPU, &limit);
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGABRT, SIG_DFL);
	what(seed);
	fflush(stdout);
	_exit(0);
}

/* @return true: the seed failed */
static bool collect(struct job *jobs, unsigned count)
{
	int status;
	pid_t pid = wait(&status);

	for (unsigned i = 0; i < count; i++) {
		if (jobs[i].pid != pid)
			continue;
		jobs[i].pid = 0;
		if (status == 0)
			return false;
		printf("# seed %lu failed (%s %d): MILLRACE_SIM_SEED=%lu %s\n",
		       (unsigned long)jobs[i].seed, WIFSIGNALED(status) ? "signal" : "exit",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		       (unsigned long)jobs[i].seed, "test_swarm");
		return true;
	}
	fail_msg("a child that nobody knows");
	return true;
}

static unsigned running(const struct job *jobs, unsigned count)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		n += jobs[i].pid != 0;
	return n;
}

static void run_quietly(uint64_t seed)
{
	run(seed, false);
}

/* Seeds first, first + step, ... below last. */
static void run_seeds(uint64_t first, uint64_t last, uint64_t step, void (*what)(uint64_t seed))
{
	unsigned count = number("MILLRACE_SIM_JOBS", JOBS);
	struct job jobs[JOBS_MAX] = {{0}};
	unsigned failed = 0;

	if (count < 1 || count > JOBS_MAX)
		count = JOBS;
	for (uint64_t seed = first; seed < last || running(jobs, count) > 0;) {
		for (unsigned j = 0; j < count && seed < last; j++) {
			if (jobs[j].pid != 0)
				continue;
			start(&jobs[j], seed, what);
			seed += step;
		}
		failed += collect(jobs, count);
	}
	if (failed > 0)
		fail_msg("%u seeds failed", failed);
}

static void run_profile(void **state)
{
	uint64_t profile = *(const enum swarm_profile *)*state;
	uint64_t first = number("MILLRACE_SIM_FIRST", 0) / SWARM_PROFILES * SWARM_PROFILES;
	uint64_t seeds = number("MILLRACE_SIM_SEEDS", SEEDS);

	run_seeds(first + profile, first + seeds * SWARM_PROFILES, SWARM_PROFILES, run_quietly);
}

static void the_time_of_day_changes_no_frame(void **state)
{
	run_seeds(0, 2 * SWARM_PROFILES, 1, run_with_steps);
}

static int run_one(const char *seed)
{
	run(strtoull(seed, NULL, 0), true);
	return 0;
}

int main(void)
{
	static enum swarm_profile profiles[SWARM_PROFILES];
	struct CMUnitTest tests[SWARM_PROFILES + 1] = {
		[SWARM_PROFILES] = cmocka_unit_test(the_time_of_day_changes_no_frame)};

	if (getenv("MILLRACE_SIM_SEED") != NULL)
		return run_one(getenv("MILLRACE_SIM_SEED"));
	for (unsigned i = 0; i < SWARM_PROFILES; i++) {
		profiles[i] = (enum swarm_profile)i;
		tests[i] = (struct CMUnitTest){.name = swarm_profile_text(profiles[i]),
					       .test_func = run_profile,
					       .initial_state = &profiles[i]};
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
