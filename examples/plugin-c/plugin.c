/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plugin in C:
 *
 *	cc -shared -fPIC -I vmm-host/plugin/include -o plugin.so examples/plugin-c/plugin.c
 *	hcall-vmm run IMAGE --plugin ./plugin.so
 */
#include <errno.h>
#include <hcall_plugin.h>

/* ADD(a, b) -> a + b */
#define ADD HCALL_PLUGIN_USER(0x20)
/* SUM(gpa, length) -> the sum of at most 4096 bytes of guest memory */
#define SUM HCALL_PLUGIN_USER(0x21)

static int64_t add(void *state, const struct hcall_host_functions *host,
		   struct hcall_plugin_call *call)
{
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];
	uint64_t sum;

	(void)state;
	host->arguments(call, arguments);
	sum = arguments[0] + arguments[1];
	return sum > INT64_MAX ? -ERANGE : (int64_t)sum;
}

static int64_t sum(void *state, const struct hcall_host_functions *host,
		   struct hcall_plugin_call *call)
{
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];
	uint64_t length, index;
	unsigned char bytes[4096];
	int64_t total = 0;
	int error;

	(void)state;
	host->arguments(call, arguments);
	length = arguments[1];
	if (length > sizeof(bytes))
		return -EMSGSIZE;
	error = host->read(call, arguments[0], bytes, length);
	if (error)
		return error;
	for (index = 0; index < length; index++)
		total += bytes[index];
	return total;
}

static const struct hcall_plugin_handler handlers[] = {
	{ ADD, HCALL_PLUGIN_CALLERS_OF_THE_VM, add },
	{ SUM, HCALL_PLUGIN_CALLERS_OF_THE_VM, sum },
};

HCALL_PLUGIN("example-c", "1.0", handlers, NULL, NULL);
