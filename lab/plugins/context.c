/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Answers calls later, by a thread of its own, gives interrupts, and tells and sets special
 * registers.
 */
#include <errno.h>
#include <hcall_plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Of lab/contract. */
#define INJECT HCALL_PLUGIN_USER(0x142)
#define LATER HCALL_PLUGIN_USER(0x143)
#define DROPPED HCALL_PLUGIN_USER(0x144)
#define SPECIAL HCALL_PLUGIN_USER(0x147)
#define SET_SPECIAL HCALL_PLUGIN_USER(0x148)

/* Longest wait, in milliseconds. */
#define LATEST 60000u

/* A call whose answer comes later. */
struct waiting {
	struct waiting *next;
	struct hcall_plugin_deferred *deferred;
	uint64_t milliseconds;
	int64_t result;
};

/* The thread that answers, and what it has to do. */
struct later {
	const struct hcall_host_functions *host;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct waiting *first;
	int is_ending;
};

static void sleep_for(uint64_t milliseconds)
{
	struct timespec left;

	left.tv_sec = (time_t)(milliseconds / 1000);
	left.tv_nsec = (long)(milliseconds % 1000 * 1000000);
	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Answers all that is there, one after the other, and ends when it is told to. */
static void *answer_later(void *state)
{
	struct later *later = state;

	pthread_mutex_lock(&later->lock);
	while (later->first || !later->is_ending) {
		struct waiting *waiting = later->first;

		if (!waiting) {
			pthread_cond_wait(&later->changed, &later->lock);
			continue;
		}
		later->first = waiting->next;
		pthread_mutex_unlock(&later->lock);
		if (later->host->is_awaited(later->host, waiting->deferred) == 1)
			sleep_for(waiting->milliseconds);
		later->host->answer(later->host, waiting->deferred, waiting->result);
		free(waiting);
		pthread_mutex_lock(&later->lock);
	}
	pthread_mutex_unlock(&later->lock);
	return NULL;
}

static int32_t create(const struct hcall_host_functions *host, void **state)
{
	struct later *later;

	if (!HCALL_PLUGIN_HOST_HAS(host, is_awaited))
		return -EOPNOTSUPP;
	later = calloc(1, sizeof(*later));
	if (!later)
		return -ENOMEM;
	later->host = host;
	pthread_mutex_init(&later->lock, NULL);
	pthread_cond_init(&later->changed, NULL);
	if (pthread_create(&later->thread, NULL, answer_later, later)) {
		free(later);
		return -EAGAIN;
	}
	*state = later;
	return 0;
}

static void destroy(void *state)
{
	struct later *later = state;

	pthread_mutex_lock(&later->lock);
	later->is_ending = 1;
	pthread_cond_signal(&later->changed);
	pthread_mutex_unlock(&later->lock);
	pthread_join(later->thread, NULL);
	free(later);
}

/* Has `result` be the answer to a call after a while. */
static int64_t put_off(struct later *later, const struct hcall_host_functions *host,
		       struct hcall_plugin_call *call, uint64_t milliseconds, int64_t result)
{
	struct waiting *waiting;
	int error;

	if (milliseconds > LATEST)
		return -EINVAL;
	waiting = malloc(sizeof(*waiting));
	if (!waiting)
		return -ENOMEM;
	error = host->defer(call, &waiting->deferred);
	if (error) {
		free(waiting);
		return error;
	}
	waiting->milliseconds = milliseconds;
	waiting->result = result;
	pthread_mutex_lock(&later->lock);
	waiting->next = later->first;
	later->first = waiting;
	pthread_cond_signal(&later->changed);
	pthread_mutex_unlock(&later->lock);
	return 0; /* The guest gets the other answer. */
}

#define HANDLER(name)                                                                            \
	static int64_t name(void *state, const struct hcall_host_functions *host,                \
			    struct hcall_plugin_call *call)

/* LATER(milliseconds, value) -> value */
HANDLER(later)
{
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];

	host->arguments(call, arguments);
	return put_off(state, host, call, arguments[0], (int64_t)arguments[1]);
}

/* DROPPED(milliseconds) -> -EIO: the answer is given up */
HANDLER(dropped)
{
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];

	host->arguments(call, arguments);
	return put_off(state, host, call, arguments[0], -EIO);
}

/* INJECT(vcpu, vector) -> 0 */
HANDLER(inject)
{
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];

	(void)state;
	host->arguments(call, arguments);
	if (arguments[0] > UINT32_MAX || arguments[1] > UINT8_MAX)
		return -EINVAL;
	return host->inject_interrupt(call, (uint32_t)arguments[0], (uint8_t)arguments[1]);
}

/* SPECIAL(gpa) -> the length of the structure that is put there */
HANDLER(special)
{
	struct hcall_plugin_special_registers registers;
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];
	int error;

	(void)state;
	host->arguments(call, arguments);
	error = host->special_registers(call, &registers);
	if (!error)
		error = host->write(call, arguments[0], &registers, sizeof(registers));
	return error ? error : (int64_t)sizeof(registers);
}

/* SET_SPECIAL(cr2, efer) -> 0, where efer is left as it is if 0 is given */
HANDLER(set_special)
{
	struct hcall_plugin_special_registers registers;
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];
	int error;

	(void)state;
	host->arguments(call, arguments);
	error = host->special_registers(call, &registers);
	if (error)
		return error;
	registers.cr2 = arguments[0];
	if (arguments[1])
		registers.efer = arguments[1];
	return host->set_special_registers(call, &registers);
}

static const struct hcall_plugin_handler handlers[] = {
	{ LATER, HCALL_PLUGIN_CALLERS_OF_THE_VM, later },
	{ DROPPED, HCALL_PLUGIN_CALLERS_OF_THE_VM, dropped },
	{ INJECT, HCALL_PLUGIN_CALLERS_OF_THE_VM, inject },
	{ SPECIAL, HCALL_PLUGIN_CALLERS_OF_THE_VM, special },
	{ SET_SPECIAL, HCALL_PLUGIN_CALLERS_OF_THE_VM, set_special },
};

HCALL_PLUGIN("context", "1", handlers, create, destroy);
