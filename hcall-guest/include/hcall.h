/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * hcall.h: hypercalls from a Linux process in C, through /dev/hcall.
 *
 * Header only, C11 and POSIX.1-2008 (with -std=c11, define _POSIX_C_SOURCE=200809L), for
 * 64-bit and 32-bit processes alike. The ABI is docs/abi.md, sections 5, 9 and 13; a test
 * compares this file with the crate hcall-abi.
 *
 *	int device = hcall_open();
 *	int64_t result;
 *	int error;
 *
 *	if (device < 0)
 *		return device;
 *	error = hcall_call(device, HCALL_USER(1), 2, 40, 0, 0, &result);
 *	if (error)		  the call was not made: a negative errno says why
 *		return error;
 *	if (result < 0)		  the call was made, and the host answered a negative errno
 *		return (int)result;
 *
 * The functions keep no state and take no lock: threads may share a device.
 */
#ifndef HCALL_H
#define HCALL_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The ABI version of this file; hcall_open() refuses a module of another. */
#define HCALL_ABI_VERSION 1u

#define HCALL_DEVICE_PATH "/dev/hcall"

/* Numbers. Those of a VMM's own calls begin at HCALL_USER_FIRST. */
#define HCALL_CORE_FIRST 0x48430000u
#define HCALL_CORE_LAST 0x48437fffu
#define HCALL_USER_FIRST 0x48438000u
#define HCALL_USER_LAST 0x4843ffffu
#define HCALL_USER(offset) (HCALL_USER_FIRST + (uint32_t)(offset))

#define HCALL_PROBE 0x48430000u
#define HCALL_FEATURES 0x48430001u
#define HCALL_ECHO 0x48430002u
#define HCALL_CONSOLE_WRITE 0x48430003u
#define HCALL_TIME 0x48430004u
#define HCALL_TSC_KHZ 0x48430005u
#define HCALL_GUEST_INFO 0x48430006u
#define HCALL_STATS 0x48430007u
#define HCALL_RANDOM 0x48430008u
#define HCALL_EXIT 0x48430009u
#define HCALL_PANIC 0x4843000au
#define HCALL_BATCH 0x4843000bu

/*
 * Results: 0 and above is success, -1 to -4095 the host's errno (Linux' values), and this
 * the answer of a KVM behind which nobody implements hcall.
 */
#define HCALL_RESULT_NOT_HCALL (-1000)
/* What HCALL_PROBE answers: a magic value, and the ABI version in the lower half. */
#define HCALL_PROBE_RESULT INT64_C(0x4843414c00000001)

/* How a call reaches the host: struct hcall_info, transport; a bit of transports_offered. */
#define HCALL_TRANSPORT_INSTRUCTION 0u
#define HCALL_TRANSPORT_CARRIER 1u
#define HCALL_TRANSPORT_PORT 2u

/* The trap instruction: struct hcall_info, instruction. */
#define HCALL_INSTRUCTION_NONE 0u
#define HCALL_INSTRUCTION_VMMCALL 1u
#define HCALL_INSTRUCTION_VMCALL 2u

/* Features of the host: struct hcall_info, features. */
#define HCALL_FEATURE_CORE_CALLS 0x1u
#define HCALL_FEATURE_BATCH 0x2u
#define HCALL_FEATURE_RING 0x4u

/* HCALL_TIME's clocks. */
#define HCALL_CLOCK_REALTIME 0u
#define HCALL_CLOCK_MONOTONIC 1u

/* struct hcall_call_buffer, flags: the host reads the buffer, the host writes it. */
#define HCALL_BUFFER_IN 0x1u
#define HCALL_BUFFER_OUT 0x2u
/* The longest buffer in bytes; the host's limit is in struct hcall_info, buffer_bytes. */
#define HCALL_BUFFER_MAX 65536u

/* struct hcall_batch, flags: the batch ends after the first entry that failed. */
#define HCALL_BATCH_STOP_ON_ERROR 0x1u
/* Most entries of a batch; the host's limit is in struct hcall_info, batch_entries. */
#define HCALL_BATCH_MAX 256u

/* Most ranges of a restriction. */
#define HCALL_RANGES_MAX 16u

struct hcall_info {
	uint32_t abi_version;
	uint32_t transport;
	uint32_t transports_offered;
	uint32_t features;
	uint32_t cpuid_base;
	uint32_t instruction;
	uint32_t batch_entries;
	uint32_t ring_entries;
	uint32_t buffer_bytes;
	uint32_t reserved[7];
};

struct hcall_call {
	uint32_t number;
	uint32_t flags;		/* 0 */
	uint64_t arguments[4];
	int64_t result;		/* out */
};

struct hcall_call_buffer {
	uint32_t number;
	uint32_t flags;		/* HCALL_BUFFER_IN, HCALL_BUFFER_OUT */
	uint64_t arguments[4];	/* 0 where the kernel puts GPA and length */
	int64_t result;		/* out */
	uint64_t buffer;	/* its address */
	uint32_t length;	/* in bytes */
	uint32_t gpa_index;	/* the argument for the GPA, 0 to 2; the next has the length */
};

struct hcall_batch_entry {
	uint32_t number;
	uint32_t flags;		/* 0 */
	uint64_t arguments[4];
	int64_t result;		/* out */
	uint64_t reserved[2];	/* 0 */
};

struct hcall_batch {
	uint64_t entries;	/* the address of the first */
	uint32_t count;
	uint32_t flags;		/* HCALL_BATCH_STOP_ON_ERROR */
	int64_t result;		/* out: how many entries have a result */
};

struct hcall_number_range {
	uint32_t first;
	uint32_t last;		/* included */
};

struct hcall_restrict {
	uint32_t count;
	uint32_t reserved;	/* 0 */
	struct hcall_number_range ranges[HCALL_RANGES_MAX];	/* 0 beyond count */
};

#define HCALL_IOCTL_MAGIC 'H'
#define HCALL_IOCTL_INFO _IOR(HCALL_IOCTL_MAGIC, 0, struct hcall_info)
#define HCALL_IOCTL_CALL _IOWR(HCALL_IOCTL_MAGIC, 1, struct hcall_call)
#define HCALL_IOCTL_CALL_BUFFER _IOWR(HCALL_IOCTL_MAGIC, 2, struct hcall_call_buffer)
#define HCALL_IOCTL_BATCH _IOWR(HCALL_IOCTL_MAGIC, 3, struct hcall_batch)
#define HCALL_IOCTL_RESTRICT _IOW(HCALL_IOCTL_MAGIC, 4, struct hcall_restrict)

/* 0, or the negative errno of a request that failed. */
static inline int hcall_request(int device, unsigned long request, void *structure)
{
	return ioctl(device, request, structure) < 0 ? -errno : 0;
}

/* What the module found when it was loaded. 0, or a negative errno. */
static inline int hcall_get_info(int device, struct hcall_info *info)
{
	return hcall_request(device, HCALL_IOCTL_INFO, info);
}

/*
 * Makes a call. 0 if it was made, and *result is the host's answer; otherwise a negative
 * errno: -EPERM if the module's policy or the file's restriction forbids the number, or it
 * ends the VM and the process lacks CAP_SYS_BOOT; -EOPNOTSUPP if the processor refused the
 * trap.
 */
static inline int hcall_call(int device, uint32_t number, uint64_t rbx, uint64_t rcx,
			     uint64_t rdx, uint64_t rsi, int64_t *result)
{
	struct hcall_call call = { number, 0, { rbx, rcx, rdx, rsi }, 0 };
	int error = hcall_request(device, HCALL_IOCTL_CALL, &call);

	if (!error)
		*result = call.result;
	return error;
}

/*
 * Makes a call that passes a buffer: its GPA and its length are the first two arguments
 * that the host gets. (For other places, HCALL_IOCTL_CALL_BUFFER with a structure of your
 * own.) As hcall_call(), and -EINVAL for a buffer that is too long, -EFAULT for one that
 * is not memory of the process.
 *
 * hcall_call_in(): the host reads the buffer. hcall_call_out(): it writes the buffer,
 * which is unchanged if it answers an errno. hcall_call_in_out(): both.
 */
static inline int hcall_request_buffer(int device, uint32_t number, uint32_t flags,
				       uintptr_t buffer, uint32_t length, int64_t *result)
{
	struct hcall_call_buffer call = {
		number, flags, { 0, 0, 0, 0 }, 0, buffer, length, 0
	};
	int error = hcall_request(device, HCALL_IOCTL_CALL_BUFFER, &call);

	if (!error)
		*result = call.result;
	return error;
}

static inline int hcall_call_in(int device, uint32_t number, const void *buffer,
				uint32_t length, int64_t *result)
{
	return hcall_request_buffer(device, number, HCALL_BUFFER_IN, (uintptr_t)buffer, length,
				    result);
}

static inline int hcall_call_out(int device, uint32_t number, void *buffer, uint32_t length,
				 int64_t *result)
{
	return hcall_request_buffer(device, number, HCALL_BUFFER_OUT, (uintptr_t)buffer, length,
				    result);
}

static inline int hcall_call_in_out(int device, uint32_t number, void *buffer, uint32_t length,
				    int64_t *result)
{
	return hcall_request_buffer(device, number, HCALL_BUFFER_IN | HCALL_BUFFER_OUT,
				    (uintptr_t)buffer, length, result);
}

/*
 * Makes the calls of `entries`, in order, with one exit. 0, and *result is how many
 * entries have a result, or the errno of the host for the whole batch. If an entry is
 * not admitted (as in hcall_call()), none is called.
 */
static inline int hcall_batch(int device, struct hcall_batch_entry *entries, uint32_t count,
			      uint32_t flags, int64_t *result)
{
	struct hcall_batch batch = { (uint64_t)(uintptr_t)entries, count, flags, 0 };
	int error = hcall_request(device, HCALL_IOCTL_BATCH, &batch);

	if (!error)
		*result = batch.result;
	return error;
}

/*
 * Confines the open file to these ranges of numbers for ever, in whichever process it is
 * then; a later call can only narrow them (-EPERM otherwise). No ranges: no calls.
 */
static inline int hcall_restrict(int device, const struct hcall_number_range *ranges,
				 uint32_t count)
{
	struct hcall_restrict restriction = { 0, 0, { { 0, 0 } } };
	uint32_t index;

	if (count > HCALL_RANGES_MAX)
		return -EINVAL;
	for (index = 0; index < count; index++)
		restriction.ranges[index] = ranges[index];
	restriction.count = count;
	return hcall_request(device, HCALL_IOCTL_RESTRICT, &restriction);
}

/*
 * Opens the device. A file descriptor for the functions above and for close(), or a
 * negative errno; -EPROTO if the module speaks another ABI version than this file.
 */
static inline int hcall_open_at(const char *path)
{
	struct hcall_info info;
	int device = open(path, O_RDWR | O_CLOEXEC);
	int error;

	if (device < 0)
		return -errno;
	error = hcall_get_info(device, &info);
	if (!error && info.abi_version != HCALL_ABI_VERSION)
		error = -EPROTO;
	if (error) {
		close(device);
		return error;
	}
	return device;
}

static inline int hcall_open(void)
{
	return hcall_open_at(HCALL_DEVICE_PATH);
}

#ifdef __cplusplus
}
#endif

#endif /* HCALL_H */
