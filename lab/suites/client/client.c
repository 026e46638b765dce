/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A process in C that calls through hcall.h: `client CASE` runs one case of the client
 * suite, and says in one line what was wrong, if anything was. The cases are those of
 * src/lib.rs, and the client in Rust has the same.
 */
#define _GNU_SOURCE
#include <hcall.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* The lab's test calls, of lab/contract. */
#define MIX(arity) HCALL_USER(0x100 + (arity))
#define FAIL HCALL_USER(0x111)
#define FILL HCALL_USER(0x112)
#define SUM HCALL_USER(0x113)
#define UNREGISTERED HCALL_USER(0x1ff)

#define ARITIES 5
#define ROUNDS 200

static void fail(const char *what, int64_t is, int64_t due)
{
	printf("%s: %" PRId64 ", %" PRId64 " was due\n", what, is, due);
	exit(1);
}

static void equal(const char *what, int64_t is, int64_t due)
{
	if (is != due)
		fail(what, is, due);
}

static int device(void)
{
	int device = hcall_open();

	if (device < 0)
		fail("open", device, 3);
	return device;
}

/* The answer of the host; the call must have been made. */
static int64_t answer(int device, uint32_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	int64_t result = INT64_MIN;

	equal("call", hcall_call(device, number, a, b, c, d, &result), 0);
	return result;
}

/* What the host answers to MIX, as lab/contract computes it. */
static int64_t mix(uint64_t arity, const uint64_t arguments[4])
{
	uint64_t sum = arity + 1;
	int index;

	for (index = 0; index < 4; index++)
		sum = (((sum << 17) | (sum >> 47)) ^ arguments[index]) *
		      UINT64_C(0x9e3779b97f4a7c15);
	return (int64_t)((sum ^ (sum >> 32)) & (UINT64_MAX >> 1));
}

static void mixes(int device, unsigned int arity, const uint64_t a[4])
{
	equal("MIX", answer(device, MIX(arity), a[0], a[1], a[2], a[3]), mix(arity, a));
}

static void fill(uint8_t *bytes, uint32_t length)
{
	uint32_t index;

	for (index = 0; index < length; index++)
		bytes[index] = (uint8_t)(index * 7 + 1);
}

static int64_t sum(const uint8_t *bytes, uint32_t length)
{
	int64_t sum = 0;
	uint32_t index;

	for (index = 0; index < length; index++)
		sum += bytes[index];
	return sum;
}

static void missing_node(void)
{
	equal("open", hcall_open_at("/nonexistent/hcall"), -ENOENT);
}

static void another_device(void)
{
	equal("open", hcall_open_at("/dev/null"), -ENOTTY);
}

static void info(void)
{
	struct hcall_info info;
	unsigned int index;

	memset(&info, 0xff, sizeof(info));
	equal("info", hcall_get_info(device(), &info), 0);
	equal("ABI version", info.abi_version, HCALL_ABI_VERSION);
	equal("the transport is offered", (info.transports_offered >> info.transport) & 1, 1);
	equal("core calls", info.features & HCALL_FEATURE_CORE_CALLS, HCALL_FEATURE_CORE_CALLS);
	for (index = 0; index < sizeof(info.reserved) / sizeof(info.reserved[0]); index++)
		equal("reserved", info.reserved[index], 0);
}

static void probe(void)
{
	equal("PROBE", answer(device(), HCALL_PROBE, 0, 0, 0, 0), HCALL_PROBE_RESULT);
}

static void every_arity(void)
{
	int file = device();
	uint64_t state = 1;
	unsigned int arity, index, round;

	for (arity = 0; arity < ARITIES; arity++) {
		for (round = 0; round < ROUNDS; round++) {
			uint64_t arguments[4] = { 0, 0, 0, 0 };

			for (index = 0; index < arity; index++) {
				state = state * UINT64_C(6364136223846793005) + 1;
				arguments[index] = state ^ (state >> 29);
			}
			mixes(file, arity, arguments);
		}
	}
}

static void extreme_arguments(void)
{
	static const uint64_t values[] = {
		0, 1, UINT32_MAX, UINT64_C(1) << 32, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX
	};
	int file = device();
	unsigned int index, place;

	for (index = 0; index < sizeof(values) / sizeof(values[0]); index++) {
		for (place = 0; place < 4; place++) {
			uint64_t arguments[4] = {
				~values[index], ~values[index], ~values[index], ~values[index]
			};

			arguments[place] = values[index];
			mixes(file, 4, arguments);
		}
	}
}

static void errno_of_the_host(void)
{
	static const int errnos[] = { EPERM, ENOENT, EFAULT, EINVAL, ENOTTY, ENOSYS, EOPNOTSUPP };
	int file = device();
	unsigned int index;

	for (index = 0; index < sizeof(errnos) / sizeof(errnos[0]); index++)
		equal("FAIL", answer(file, FAIL, (uint64_t)errnos[index], 0, 0, 0),
		      -errnos[index]);
}

static void unknown_number(void)
{
	equal("result", answer(device(), UNREGISTERED, 0, 0, 0, 0), -ENOSYS);
	equal("result of 0x3000", answer(device(), 0x3000, 0, 0, 0, 0), -ENOSYS);
}

static void forbidden_numbers(void)
{
	static const uint32_t numbers[] = { 0, 12, 15, 32, 0x80000000u, UINT32_MAX, HCALL_RANDOM };
	int file = device();
	unsigned int index;
	int64_t result = 7;

	for (index = 0; index < sizeof(numbers) / sizeof(numbers[0]); index++) {
		equal("call", hcall_call(file, numbers[index], 0, 0, 0, 0, &result), -EPERM);
		equal("result", result, 7);
	}
}

static void host_reads(void)
{
	static const uint32_t lengths[] = {
		0, 1, 4095, 4096, 4097, HCALL_BUFFER_MAX - 1, HCALL_BUFFER_MAX
	};
	static uint8_t bytes[HCALL_BUFFER_MAX];
	int file = device();
	unsigned int index;
	int64_t result = -1;

	fill(bytes, sizeof(bytes));
	for (index = 0; index < sizeof(lengths) / sizeof(lengths[0]); index++) {
		equal("call", hcall_call_in(file, SUM, bytes, lengths[index], &result), 0);
		equal("SUM", result, sum(bytes, lengths[index]));
		equal("call", hcall_call_in_out(file, SUM, bytes, lengths[index], &result), 0);
		equal("SUM", result, sum(bytes, lengths[index]));
	}
}

static void host_writes(void)
{
	static uint8_t bytes[HCALL_BUFFER_MAX];
	/* FILL's buffer is its second argument. */
	struct hcall_call_buffer call = {
		FILL, HCALL_BUFFER_OUT, { 0x3c, 0, 0, 0 }, -1, (uintptr_t)bytes, 4095, 1
	};
	int file = device();
	int64_t result = -1;

	equal("call", hcall_request(file, HCALL_IOCTL_CALL_BUFFER, &call), 0);
	equal("FILL", call.result, 4095);
	equal("bytes", sum(bytes, sizeof(bytes)), 4095 * 0x3c);
	equal("the next", bytes[4095], 0);
	call.length = HCALL_BUFFER_MAX - 1;
	equal("call", hcall_request(file, HCALL_IOCTL_CALL_BUFFER, &call), 0);
	equal("FILL", call.result, HCALL_BUFFER_MAX - 1);
	equal("the last", bytes[HCALL_BUFFER_MAX - 1], 0);
	equal("call", hcall_call_out(file, HCALL_RANDOM, bytes, sizeof(bytes), &result), 0);
	equal("RANDOM", result, sizeof(bytes));
	equal("as it was", bytes[0] == 0x3c && !memcmp(bytes, bytes + 1, sizeof(bytes) - 2), 0);
}

static void long_buffer(void)
{
	static uint8_t bytes[HCALL_BUFFER_MAX + 1];
	int64_t result = 7;

	equal("call", hcall_call_in(device(), SUM, bytes, sizeof(bytes), &result), -EINVAL);
	equal("result", result, 7);
}

static void console_write(void)
{
	static const char text[] = "# written by a client in C\n";
	int64_t result = -1;

	equal("call", hcall_call_in(device(), HCALL_CONSOLE_WRITE, text, sizeof(text) - 1,
				    &result), 0);
	equal("result", result, sizeof(text) - 1);
}

static void batch(void)
{
	static struct hcall_batch_entry entries[HCALL_BATCH_MAX];
	unsigned int index;
	int64_t result = -1;

	for (index = 0; index < HCALL_BATCH_MAX; index++) {
		entries[index].number = MIX(index % ARITIES);
		entries[index].arguments[0] = index;
		entries[index].arguments[3] = UINT64_MAX - index;
	}
	equal("call", hcall_batch(device(), entries, HCALL_BATCH_MAX, 0, &result), 0);
	equal("entries answered", result, HCALL_BATCH_MAX);
	for (index = 0; index < HCALL_BATCH_MAX; index++)
		equal("MIX", entries[index].result, mix(index % ARITIES, entries[index].arguments));
}

static void batch_stops(void)
{
	struct hcall_batch_entry entries[3] = {
		{ .number = HCALL_ECHO, .arguments = { 1 } },
		{ .number = FAIL, .arguments = { EBUSY } },
		{ .number = HCALL_ECHO, .arguments = { 3 }, .result = 7 },
	};
	int file = device();
	int64_t result = -1;

	equal("call", hcall_batch(file, entries, 3, HCALL_BATCH_STOP_ON_ERROR, &result), 0);
	equal("entries answered", result, 2);
	equal("first", entries[0].result, 1);
	equal("second", entries[1].result, -EBUSY);
	equal("third", entries[2].result, 7);
	equal("call", hcall_batch(file, entries, 3, 0, &result), 0);
	equal("entries answered", result, 3);
	equal("third", entries[2].result, 3);
}

static void batch_refused(void)
{
	struct hcall_batch_entry entries[3] = {
		{ .number = HCALL_ECHO, .arguments = { 1 }, .result = 7 },
		{ .number = HCALL_RANDOM, .result = 7 },
		{ .number = HCALL_ECHO, .result = 7 },
	};
	int64_t result = 7;

	equal("call", hcall_batch(device(), entries, 3, 0, &result), -EPERM);
	equal("result", result, 7);
	equal("first", entries[0].result, 7);
	equal("second", entries[1].result, 7);
}

static void restriction(void)
{
	static const struct hcall_number_range allowed[2] = {
		{ MIX(0), MIX(4) }, { HCALL_ECHO, HCALL_ECHO }
	};
	static const struct hcall_number_range wider = { MIX(0), FAIL };
	int file = device();
	int64_t result = 7;

	equal("restrict", hcall_restrict(file, allowed, 2), 0);
	equal("ECHO", answer(file, HCALL_ECHO, 5, 0, 0, 0), 5);
	equal("FAIL", hcall_call(file, FAIL, 1, 0, 0, 0, &result), -EPERM);
	equal("widen", hcall_restrict(file, &wider, 1), -EPERM);
	equal("narrow", hcall_restrict(file, allowed, 1), 0);
	equal("ECHO", hcall_call(file, HCALL_ECHO, 5, 0, 0, 0, &result), -EPERM);
	equal("nothing", hcall_restrict(file, NULL, 0), 0);
	equal("MIX", hcall_call(file, MIX(0), 0, 0, 0, 0, &result), -EPERM);
	equal("another file", answer(device(), HCALL_ECHO, 5, 0, 0, 0), 5);
}

static void inherited_restriction(void)
{
	static const struct hcall_number_range allowed = { HCALL_ECHO, HCALL_ECHO };
	int file = device();
	int64_t result = 7;
	int status = -1;
	pid_t child;

	equal("restrict", hcall_restrict(file, &allowed, 1), 0);
	child = fork();
	if (child == 0) {
		equal("ECHO", answer(file, HCALL_ECHO, 5, 0, 0, 0), 5);
		equal("PROBE", hcall_call(file, HCALL_PROBE, 0, 0, 0, 0, &result), -EPERM);
		exit(0);
	}
	equal("wait", waitpid(child, &status, 0), child);
	equal("the child's status", status, 0);
}

static void reserved_bits(void)
{
	struct hcall_call call = { HCALL_ECHO, 1, { 5, 0, 0, 0 }, 7 };
	struct hcall_batch_entry entry = { .number = HCALL_ECHO, .reserved = { 0, 1 } };
	int file = device();
	int64_t result = 7;

	equal("flags", hcall_request(file, HCALL_IOCTL_CALL, &call), -EINVAL);
	equal("result", call.result, 7);
	equal("an entry", hcall_batch(file, &entry, 1, 0, &result), -EINVAL);
}

static void unknown_requests(void)
{
	int file = device();
	char bytes[256] = { 0 };

	equal("unknown", hcall_request(file, _IO(HCALL_IOCTL_MAGIC, 0x7f), bytes), -ENOTTY);
	equal("another size", hcall_request(file, _IOWR(HCALL_IOCTL_MAGIC, 1, char[40]), bytes),
	      -ENOTTY);
	equal("another type", hcall_request(file, _IOWR('h', 1, struct hcall_call), bytes),
	      -ENOTTY);
}

static void no_memory(void)
{
	int file = device();
	int64_t result = 7;

	equal("CALL", hcall_request(file, HCALL_IOCTL_CALL, (void *)8), -EFAULT);
	equal("a buffer", hcall_call_in(file, SUM, (void *)8, 1, &result), -EFAULT);
	equal("entries", hcall_batch(file, (struct hcall_batch_entry *)8, 1, 0, &result),
	      -EFAULT);
	equal("result", result, 7);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "missing-node", missing_node },
	{ "another-device", another_device },
	{ "info", info },
	{ "probe", probe },
	{ "every-arity", every_arity },
	{ "extreme-arguments", extreme_arguments },
	{ "errno-of-the-host", errno_of_the_host },
	{ "unknown-number", unknown_number },
	{ "forbidden-numbers", forbidden_numbers },
	{ "host-reads", host_reads },
	{ "host-writes", host_writes },
	{ "long-buffer", long_buffer },
	{ "console-write", console_write },
	{ "batch", batch },
	{ "batch-stops", batch_stops },
	{ "batch-refused", batch_refused },
	{ "restriction", restriction },
	{ "inherited-restriction", inherited_restriction },
	{ "reserved-bits", reserved_bits },
	{ "unknown-requests", unknown_requests },
	{ "no-memory", no_memory },
};

int main(int count, char **arguments)
{
	unsigned int index;

	for (index = 0; count == 2 && index < sizeof(cases) / sizeof(cases[0]); index++) {
		if (!strcmp(cases[index].name, arguments[1])) {
			cases[index].run();
			return 0;
		}
	}
	printf("usage: client CASE, with a case of the client suite\n");
	return 2;
}
