/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plugin of which each field of the descriptor can be another, by macros.
 */
#include <errno.h>
#include <hcall_plugin.h>

#ifndef ABI_VERSION
#define ABI_VERSION HCALL_PLUGIN_ABI_VERSION
#endif
#ifndef SIZE
#define SIZE sizeof(struct hcall_plugin)
#endif
#ifndef NAME
#define NAME "faulty"
#endif
#ifndef VERSION
#define VERSION "1"
#endif
#ifndef HANDLERS
#define HANDLERS (const struct hcall_plugin_handler *)handlers
#endif
#ifndef COUNT
#define COUNT 2
#endif
#ifndef HANDLER_SIZE
#define HANDLER_SIZE sizeof(handlers[0])
#endif
#ifndef FIRST
#define FIRST HCALL_PLUGIN_USER(0x300)
#endif
#ifndef SECOND
#define SECOND HCALL_PLUGIN_USER(0x301)
#endif
#ifndef CALLERS
#define CALLERS HCALL_PLUGIN_CALLERS_OF_THE_VM
#endif
#ifndef CALL
#define CALL answer
#endif
#ifndef SYMBOL
#define SYMBOL hcall_plugin
#endif

int64_t answer(void *state, const struct hcall_host_functions *host,
	       struct hcall_plugin_call *call);
int32_t fail(const struct hcall_host_functions *host, void **state);
int32_t fail_oddly(const struct hcall_host_functions *host, void **state);

int64_t answer(void *state, const struct hcall_host_functions *host,
	       struct hcall_plugin_call *call)
{
	(void)host;
	(void)call;
	return state ? -EINVAL : 9;
}

int32_t fail(const struct hcall_host_functions *host, void **state)
{
	(void)host;
	(void)state;
	return -ENOMEM;
}

int32_t fail_oddly(const struct hcall_host_functions *host, void **state)
{
	(void)host;
	(void)state;
	return 1;
}

/* As a later version could have it. */
static const struct {
	struct hcall_plugin_handler known;
	uint64_t added;
} handlers[] = {
	{ { FIRST, HCALL_PLUGIN_CALLERS_OF_THE_VM, answer }, 1 },
	{ { SECOND, CALLERS, CALL }, 2 },
};

#ifndef CREATE
#define CREATE NULL
#endif

struct grown {
	struct hcall_plugin known;
	uint64_t added[4];
};

extern HCALL_PLUGIN_EXPORT const struct grown SYMBOL;
const struct grown SYMBOL = {
	{ ABI_VERSION, SIZE, NAME, VERSION, HANDLERS, COUNT, HANDLER_SIZE, CREATE, NULL },
	{ 1, 2, 3, 4 },
};

#ifdef UNDEFINED
extern void nobody_has_this(void);
void (*const undefined)(void) = nobody_has_this;
#endif
