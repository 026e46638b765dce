/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plugin whose handlers do what tests ask for. DESTROYED, where defined, names a file that
 * destroy() makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <hcall_plugin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What create() makes, to be seen by every handler and by destroy(). */
struct state {
	uint64_t magic;
};

#define MAGIC UINT64_C(0x6d61676963)

#ifndef OWN_STATE
#define OWN_STATE 7
#endif

/* What nobody but this copy of the object has. */
static int64_t own = OWN_STATE;

static int create(const struct hcall_host_functions *host, void **state)
{
	struct state *made = malloc(sizeof(*made));

	if (!made)
		return -ENOMEM;
	if (host->abi_version != HCALL_PLUGIN_ABI_VERSION || host->size < sizeof(*host))
		return -EPROTO;
	made->magic = MAGIC;
	*state = made;
	host->log(host, HCALL_PLUGIN_LOG_INFORMATION, "created", 7);
	return 0;
}

static void destroy(void *state)
{
	struct state *made = state;

	if (made->magic != MAGIC)
		abort();
	free(made);
#ifdef DESTROYED
	close(open(DESTROYED, O_CREAT | O_EXCL | O_WRONLY, 0600));
#endif
}

#define HANDLER(name)                                                                            \
	static int64_t name(void *state, const struct hcall_host_functions *host,                \
			    struct hcall_plugin_call *call)

#define ARGUMENTS                                                                                \
	uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];                                              \
	host->arguments(call, arguments);                                                        \
	if (((struct state *)state)->magic != MAGIC)                                             \
	return -EINVAL

/* SUM(a, b, c, d) -> their sum and the number */
HANDLER(sum)
{
	ARGUMENTS;
	return (int64_t)(arguments[0] + arguments[1] + arguments[2] + arguments[3] +
			 host->number(call));
}

/* RETURN(value) -> value, whatever it is */
HANDLER(return_value)
{
	ARGUMENTS;
	return (int64_t)arguments[0];
}

/* COPY(from, to, length, virtual) -> length; through a buffer of 8192 bytes */
HANDLER(copy)
{
	static _Thread_local unsigned char bytes[8192];
	int error;
	ARGUMENTS;

	if (arguments[3])
		error = host->read_virtual(call, arguments[0], bytes, arguments[2]);
	else
		error = host->read(call, arguments[0], bytes, arguments[2]);
	if (error)
		return error;
	if (arguments[3])
		error = host->write_virtual(call, arguments[1], bytes, arguments[2]);
	else
		error = host->write(call, arguments[1], bytes, arguments[2]);
	return error ? error : (int64_t)arguments[2];
}

/* WHO(what) -> vCPU, CPL, mode, translation of 0x1234, rip, this copy's own value */
HANDLER(who)
{
	struct hcall_plugin_registers registers;
	uint64_t gpa;
	int error;
	ARGUMENTS;

	switch (arguments[0]) {
	case 0:
		return host->vcpu(call);
	case 1:
		return host->cpl(call);
	case 2:
		return host->mode(call);
	case 3:
		error = host->translate(call, 0x1234, &gpa);
		return error ? error : (int64_t)gpa;
	case 4:
		error = host->registers(call, &registers);
		return error ? error : (int64_t)registers.rip;
	case 5:
		return own++;
	default:
		return -EINVAL;
	}
}

/* SET_R15(value) -> 0 */
HANDLER(set_r15)
{
	struct hcall_plugin_registers registers;
	int error;
	ARGUMENTS;

	error = host->registers(call, &registers);
	if (error)
		return error;
	registers.r15 = arguments[0];
	registers.rax = registers.rip = 1;
	return host->set_registers(call, &registers);
}

/* END(how) -> 0, and the VM ends */
HANDLER(end)
{
	static const char text[] = "the plugin says so \xff";
	ARGUMENTS;

	if (arguments[0])
		host->request_panic(call, text, strlen(text));
	else
		host->request_exit(call, 42);
	return 0;
}

/* MISUSE(what) -> what the host makes of a mistake */
HANDLER(misuse)
{
	unsigned char byte = 0;
	ARGUMENTS;

	switch (arguments[0]) {
	case 0:
		return host->read(call, 0, NULL, 1);
	case 1:
		return host->write(call, 0, NULL, 1);
	case 2:
		return host->read(call, 0, &byte, UINT64_MAX);
	case 3:
		return host->read(NULL, 0, &byte, 1);
	case 4:
		return host->registers(call, NULL);
	case 5:
		return host->set_registers(call, NULL);
	case 6:
		return host->translate(call, 0, NULL);
	case 7:
		return host->vcpu(NULL);
	case 8:
		return host->read(call, 0, NULL, 0);
	case 9:
		host->log(NULL, 1, "x", 1);
		host->log(host, 99, "a message of no level", 21);
		host->log(host, HCALL_PLUGIN_LOG_ERROR, NULL, 5);
		host->request_exit(NULL, 1);
		host->request_panic(call, NULL, 1);
		host->arguments(NULL, arguments);
		host->arguments(call, NULL);
		return host->number(NULL);
	default:
		return -EINVAL;
	}
}

static const struct hcall_plugin_handler handlers[] = {
	{ HCALL_PLUGIN_USER(0x300), HCALL_PLUGIN_CALLERS_OF_THE_VM, sum },
	{ HCALL_PLUGIN_USER(0x301), HCALL_PLUGIN_CALLERS_OF_THE_VM, return_value },
	{ HCALL_PLUGIN_USER(0x302), HCALL_PLUGIN_CALLERS_OF_THE_VM, copy },
	{ HCALL_PLUGIN_USER(0x303), HCALL_PLUGIN_CALLERS_ANY_PRIVILEGE_LEVEL, who },
	{ HCALL_PLUGIN_USER(0x304), HCALL_PLUGIN_CALLERS_KERNEL_ONLY, set_r15 },
	{ HCALL_PLUGIN_USER(0x305), HCALL_PLUGIN_CALLERS_OF_THE_VM, end },
	{ HCALL_PLUGIN_USER(0x306), HCALL_PLUGIN_CALLERS_OF_THE_VM, misuse },
	{ 0x3000, HCALL_PLUGIN_CALLERS_OF_THE_VM, sum },
};

HCALL_PLUGIN("behaviour", "3.1", handlers, create, destroy);
