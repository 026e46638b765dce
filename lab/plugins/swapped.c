/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Answers SWAPPED with 1, and says at its end how often it did.
 */
#include <errno.h>
#include <hcall_plugin.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Of lab/contract. */
#define SWAPPED HCALL_PLUGIN_USER(0x121)
/* What tells this plugin's answers from others'. */
#define ANSWER 1

struct counted {
	const struct hcall_host_functions *host;
	atomic_ulong calls;
};

static int32_t create(const struct hcall_host_functions *host, void **state)
{
	struct counted *counted = malloc(sizeof(*counted));

	if (!counted)
		return -ENOMEM;
	counted->host = host;
	atomic_init(&counted->calls, 0);
	*state = counted;
	return 0;
}

static void destroy(void *state)
{
	struct counted *counted = state;
	char text[64];
	int length;

	length = snprintf(text, sizeof(text), "answered %d to %lu calls", ANSWER,
			  atomic_load(&counted->calls));
	counted->host->log(counted->host, HCALL_PLUGIN_LOG_WARNING, text, (uint64_t)length);
	free(counted);
}

static int64_t answer(void *state, const struct hcall_host_functions *host,
		      struct hcall_plugin_call *call)
{
	struct counted *counted = state;

	(void)host;
	(void)call;
	atomic_fetch_add(&counted->calls, 1);
	return ANSWER;
}

static const struct hcall_plugin_handler handlers[] = {
	{ SWAPPED, HCALL_PLUGIN_CALLERS_OF_THE_VM, answer },
};

HCALL_PLUGIN("swapped-c", "1", handlers, create, destroy);
