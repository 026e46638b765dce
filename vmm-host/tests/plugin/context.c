/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plugin whose handlers put answers off, and use special registers and interrupts. DESTROYED,
 * where defined, names a file that destroy() makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <hcall_plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 4

/* What has been put off, for whoever answers. */
static struct hcall_plugin_deferred *slots[SLOTS];

/* The thread of LATER, and what it needs. */
struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t ending;
	int is_ending, has_thread;
	pthread_t thread;
	const struct hcall_host_functions *host;
	struct hcall_plugin_deferred *deferred;
	uint64_t milliseconds;
	int64_t value;
};

static int32_t create(const struct hcall_host_functions *host, void **state)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));

	if (!waiting)
		return -ENOMEM;
	if (!HCALL_PLUGIN_HOST_HAS(host, is_awaited))
		return -EPROTO;
	pthread_mutex_init(&waiting->lock, NULL);
	pthread_cond_init(&waiting->ending, NULL);
	waiting->host = host;
	*state = waiting;
	return 0;
}

static void destroy(void *state)
{
	struct waiting *waiting = state;

	pthread_mutex_lock(&waiting->lock);
	waiting->is_ending = 1;
	pthread_cond_signal(&waiting->ending);
	pthread_mutex_unlock(&waiting->lock);
	if (waiting->has_thread)
		pthread_join(waiting->thread, NULL);
	free(waiting);
#ifdef DESTROYED
	close(open(DESTROYED, O_CREAT | O_EXCL | O_WRONLY, 0600));
#endif
}

static void *answer_in_time(void *state)
{
	struct waiting *waiting = state;
	struct timespec end;
	uint64_t nanoseconds;

	clock_gettime(CLOCK_REALTIME, &end);
	nanoseconds = (uint64_t)end.tv_nsec + waiting->milliseconds * 1000000;
	end.tv_sec += (time_t)(nanoseconds / 1000000000);
	end.tv_nsec = (long)(nanoseconds % 1000000000);
	pthread_mutex_lock(&waiting->lock);
	while (!waiting->is_ending &&
	       pthread_cond_timedwait(&waiting->ending, &waiting->lock, &end) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&waiting->lock);
	waiting->host->answer(waiting->host, waiting->deferred, waiting->value);
	/* This thread's code is still there. */
	usleep(10000);
	return NULL;
}

#define HANDLER(name)                                                                            \
	static int64_t name(void *state, const struct hcall_host_functions *host,                \
			    struct hcall_plugin_call *call)

#define ARGUMENTS                                                                                \
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];                                              \
	(void)state;                                                                             \
	host->arguments(call, arguments)

/* DEFER(slot, value, how) -> what ANSWER says, unless `value`, which it returns, is an error */
HANDLER(defer)
{
	int error;
	ARGUMENTS;

	if (arguments[2] == 1)
		host->request_exit(call, 1);
	error = host->defer(call, &slots[arguments[0] % SLOTS]);
	if (error)
		return error;
	if (arguments[2] == 2)
		return host->defer(call, &slots[arguments[0] % SLOTS]);
	return (int64_t)arguments[1];
}

/* ANSWER(slot, result) -> what the host says to it */
HANDLER(answer)
{
	ARGUMENTS;
	return host->answer(host, slots[arguments[0] % SLOTS], (int64_t)arguments[1]);
}

/* AWAITED(slot) -> what the host says to it */
HANDLER(awaited)
{
	ARGUMENTS;
	return host->is_awaited(host, slots[arguments[0] % SLOTS]);
}

/* SLOT(slot, set, value) -> what is there, which is set before if `set` is not 0 */
HANDLER(slot)
{
	struct hcall_plugin_deferred **place;
	ARGUMENTS;

	place = &slots[arguments[0] % SLOTS];
	if (arguments[1])
		*place = (struct hcall_plugin_deferred *)(uintptr_t)arguments[2];
	return (int64_t)(uintptr_t)*place;
}

/* LATER(milliseconds, value) -> value, by a thread of the plugin's; once */
HANDLER(later)
{
	struct waiting *waiting = state;
	int error;
	ARGUMENTS;

	waiting->milliseconds = arguments[0];
	waiting->value = (int64_t)arguments[1];
	error = host->defer(call, &waiting->deferred);
	if (error)
		return error;
	waiting->has_thread = 1;
	return pthread_create(&waiting->thread, NULL, answer_in_time, waiting) ? -EAGAIN : 0;
}

/* SPECIAL(gpa, set) -> 0; puts the special registers there, or takes them from there */
HANDLER(special)
{
	struct hcall_plugin_special_registers registers;
	int error;
	ARGUMENTS;

	if (arguments[1]) {
		error = host->read(call, arguments[0], &registers, sizeof(registers));
		return error ? error : host->set_special_registers(call, &registers);
	}
	error = host->special_registers(call, &registers);
	return error ? error : host->write(call, arguments[0], &registers, sizeof(registers));
}

/* INJECT(vcpu, vector) -> 0 */
HANDLER(inject)
{
	ARGUMENTS;
	return host->inject_interrupt(call, (uint32_t)arguments[0], (uint8_t)arguments[1]);
}

/* MISUSE(what) -> what the host makes of a mistake */
HANDLER(misuse)
{
	struct hcall_plugin_deferred *made_up = (struct hcall_plugin_deferred *)0x7fff0000;
	struct hcall_plugin_deferred *deferred;
	ARGUMENTS;

	switch (arguments[0]) {
	case 0:
		return host->special_registers(call, NULL);
	case 1:
		return host->special_registers(NULL, NULL);
	case 2:
		return host->set_special_registers(call, NULL);
	case 3:
		return host->inject_interrupt(NULL, 0, 0x40);
	case 4:
		return host->defer(call, NULL);
	case 5:
		return host->defer(NULL, &deferred);
	case 6:
		return host->answer(NULL, made_up, 1);
	case 7:
		return host->is_awaited(NULL, made_up);
	case 8:
		return host->answer(host, NULL, 1);
	case 9:
		return host->answer(host, made_up, 1);
	case 10:
		return host->is_awaited(host, made_up);
	default:
		return 0;
	}
}

static const struct hcall_plugin_handler handlers[] = {
	{ HCALL_PLUGIN_USER(0x300), HCALL_PLUGIN_CALLERS_OF_THE_VM, defer },
	{ HCALL_PLUGIN_USER(0x301), HCALL_PLUGIN_CALLERS_OF_THE_VM, answer },
	{ HCALL_PLUGIN_USER(0x302), HCALL_PLUGIN_CALLERS_OF_THE_VM, awaited },
	{ HCALL_PLUGIN_USER(0x303), HCALL_PLUGIN_CALLERS_OF_THE_VM, later },
	{ HCALL_PLUGIN_USER(0x304), HCALL_PLUGIN_CALLERS_OF_THE_VM, special },
	{ HCALL_PLUGIN_USER(0x305), HCALL_PLUGIN_CALLERS_OF_THE_VM, inject },
	{ HCALL_PLUGIN_USER(0x306), HCALL_PLUGIN_CALLERS_OF_THE_VM, misuse },
	{ HCALL_PLUGIN_USER(0x307), HCALL_PLUGIN_CALLERS_OF_THE_VM, slot },
};

HCALL_PLUGIN("context", "1", handlers, create, destroy);
