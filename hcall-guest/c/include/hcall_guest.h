/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * hcall_guest.h: hypercalls from a kernel or unikernel in C, at CPL 0, with libhcall_guest.a.
 * (A Linux process uses hcall.h instead.)
 *
 * Freestanding C99 or C++, x86-64. The ABI is docs/abi.md; a test compares this file with the
 * crate hcall-abi. How to build and link the library: docs/unikernels.md.
 *
 *	int64_t answer = hcall2(HCALL_USER(1), 2, 40);
 *
 *	if (answer < 0)
 *		return answer;
 *
 * The first call looks for the host in CPUID; nothing is executed that could trap before its
 * signature was seen. The functions follow the System V ABI, use no vector register, allocate
 * nothing and take no lock; they may be called on any CPU and from interrupt handlers.
 *
 * What they return:
 *
 *	0 and above	the payload
 *	-1 to -4095	the host's errno (Linux' values), except
 *	-1000		HCALL_RESULT_NOT_HCALL
 *	HCALL_NO_HOST and below, to HCALL_UNAVAILABLE: nothing was executed
 *	HCALL_MALFORMED	the host answered what no hcall host answers
 */
#ifndef HCALL_GUEST_H
#define HCALL_GUEST_H

#ifdef HCALL_H
#error "hcall.h is for Linux processes, hcall_guest.h for kernels: include one of them"
#endif

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The ABI version of this file and of the library. */
#define HCALL_ABI_VERSION 1u

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

/* KVM itself answered: nobody implements hcall behind it. */
#define HCALL_RESULT_NOT_HCALL (-1000)
/* What HCALL_PROBE answers: a magic value, and the ABI version in the lower half. */
#define HCALL_PROBE_RESULT INT64_C(0x4843414c00000001)

/* CPUID shows no hcall host. */
#define HCALL_NO_HOST (-65537)
/* The host speaks another version of the ABI. */
#define HCALL_VERSION (-65538)
/* The host offers no transport that this guest can use. */
#define HCALL_NO_TRANSPORT (-65539)
/* Which trap instruction processors of this vendor have is not known. */
#define HCALL_VENDOR (-65540)
/* The caller does not run at CPL 0. */
#define HCALL_PRIVILEGE (-65541)
/* The number is KVM's, Xen's or Hyper-V's: it would never reach a VMM. */
#define HCALL_FOREIGN_NUMBER (-65542)
/* Another reason why no call can be made. */
#define HCALL_UNAVAILABLE (-65543)
#define HCALL_MALFORMED (-65544)

/* How a call reaches the host: struct hcall_host, transport; a bit of transports_offered. */
#define HCALL_TRANSPORT_INSTRUCTION 0u
#define HCALL_TRANSPORT_CARRIER 1u
#define HCALL_TRANSPORT_PORT 2u

/* The trap instruction: struct hcall_host, instruction. */
#define HCALL_INSTRUCTION_NONE 0u
#define HCALL_INSTRUCTION_VMMCALL 1u
#define HCALL_INSTRUCTION_VMCALL 2u

/* Features of the host: struct hcall_host, features. */
#define HCALL_FEATURE_CORE_CALLS 0x1u
#define HCALL_FEATURE_BATCH 0x2u
#define HCALL_FEATURE_RING 0x4u

/* Clocks of HCALL_TIME. */
#define HCALL_CLOCK_REALTIME 0u
#define HCALL_CLOCK_MONOTONIC 1u

/* Flags of HCALL_BATCH: it ends after the first entry that failed. */
#define HCALL_BATCH_STOP_ON_ERROR 0x1u
/* What the address of its first entry must be a multiple of. */
#define HCALL_BATCH_ALIGNMENT 8u

/* The host, as CPUID describes it. */
struct hcall_host {
	uint32_t abi_version;
	uint32_t features;
	uint32_t transport;		/* in use */
	uint32_t transports_offered;
	uint32_t instruction;		/* in use, if the transport takes one */
	uint32_t cpuid_base;
	uint32_t batch_entries;		/* the most, as below */
	uint32_t ring_entries;
	uint32_t buffer_bytes;
	uint32_t reserved[7];		/* 0 */
};

/* Written by HCALL_TIME. */
struct hcall_time_value {
	uint64_t seconds;
	uint32_t nanoseconds;
	uint32_t reserved;
};

/* Written by HCALL_GUEST_INFO. */
struct hcall_guest_info {
	uint32_t abi_version;
	uint32_t features;
	uint32_t vcpu;			/* the one that asked */
	uint32_t vcpu_count;
	uint64_t memory_bytes;
	uint32_t tsc_khz;		/* 0 if unknown */
	uint32_t transport;
};

/* Written by HCALL_STATS: counts since the VM started. */
struct hcall_stats {
	uint64_t calls;
	uint64_t instruction;
	uint64_t carrier;
	uint64_t port;
	uint64_t unknown;
	uint64_t refused;
	uint64_t failed;
	uint64_t panicked;
};

/* A call of HCALL_BATCH. */
struct hcall_batch_entry {
	uint32_t number;
	uint32_t flags;			/* 0 */
	uint64_t arguments[4];		/* 0 where the call has none */
	int64_t result;			/* out: 0 and above, or -errno */
	uint64_t reserved[2];		/* 0 */
};

/*
 * Looks for the host, and describes it at `host` unless that is null. 0, or one of the values
 * from HCALL_NO_HOST on. Calls do so by themselves; this is for who wants to know.
 */
int64_t hcall_detect(struct hcall_host *host);

/* Make the hypercall `number`; arguments that are not given are 0. */
int64_t hcall0(uint32_t number);
int64_t hcall1(uint32_t number, uint64_t rbx);
int64_t hcall2(uint32_t number, uint64_t rbx, uint64_t rcx);
int64_t hcall3(uint32_t number, uint64_t rbx, uint64_t rcx, uint64_t rdx);
int64_t hcall4(uint32_t number, uint64_t rbx, uint64_t rcx, uint64_t rdx, uint64_t rsi);

/*
 * The core calls. A buffer is given by its guest-physical address: where memory is mapped to
 * the same addresses, (uintptr_t)pointer. It must be contiguous there; if it is longer than
 * struct hcall_host's buffer_bytes, the answer is -EMSGSIZE.
 */

static inline int64_t hcall_echo(uint64_t value)
{
	return hcall1(HCALL_ECHO, value);
}

/* Writes to the VM's console. How many bytes it took. */
static inline int64_t hcall_console_write(uint64_t gpa, uint64_t length)
{
	return hcall2(HCALL_CONSOLE_WRITE, gpa, length);
}

/* The host writes a struct hcall_time_value. */
static inline int64_t hcall_time(uint64_t clock, uint64_t gpa)
{
	return hcall2(HCALL_TIME, clock, gpa);
}

/* The frequency of the time-stamp counter. */
static inline int64_t hcall_tsc_khz(void)
{
	return hcall0(HCALL_TSC_KHZ);
}

/* The host writes at most `length` bytes of a struct hcall_guest_info. How many it wrote. */
static inline int64_t hcall_guest_info(uint64_t gpa, uint64_t length)
{
	return hcall2(HCALL_GUEST_INFO, gpa, length);
}

/* The host writes at most `length` bytes of a struct hcall_stats. How many it wrote. */
static inline int64_t hcall_stats(uint64_t gpa, uint64_t length)
{
	return hcall2(HCALL_STATS, gpa, length);
}

/* The host fills memory from its random generator. How many bytes it wrote. */
static inline int64_t hcall_random(uint64_t gpa, uint64_t length)
{
	return hcall2(HCALL_RANDOM, gpa, length);
}

/* Makes the calls of `count` entries, in order, with one exit. How many have a result. */
static inline int64_t hcall_batch(uint64_t entries_gpa, uint64_t count, uint64_t flags)
{
	return hcall3(HCALL_BATCH, entries_gpa, count, flags);
}

/* Ends the VM with this exit status. Returns only if the host refuses. */
static inline int64_t hcall_exit(uint8_t status)
{
	return hcall1(HCALL_EXIT, status);
}

/* Ends the VM with a message in UTF-8. Returns only if the host refuses. */
static inline int64_t hcall_panic(uint64_t gpa, uint64_t length)
{
	return hcall2(HCALL_PANIC, gpa, length);
}

#ifdef __cplusplus
}
#endif

#endif /* HCALL_GUEST_H */
