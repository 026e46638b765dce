/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * linux/hcall.h: hypercalls from other modules of the kernel, by hcall.ko. (A process takes
 * hcall.h, and /dev/hcall.)
 *
 *	s64 sum;
 *	int error = hcall2(HCALL_USER(1), 2, 40, &sum);
 *
 *	if (error)		  the call was not made
 *		return error;
 *	if (sum < 0)		  the call was made, and the host answered a negative errno
 *		return (int)sum;
 *
 * The two kinds of failure never mix. What the functions return:
 *
 *	0		the call was made, and the host's answer is in *result: a payload that is
 *			not negative, or one of Linux' errno values, negative. -1000 there is the
 *			answer of a KVM without an hcall host behind it
 *	-EINVAL		a number that belongs to KVM, Xen or Hyper-V and never reaches a VMM
 *	-EOPNOTSUPP	the processor refused the trap; nothing else happened
 *
 * *result is written if 0 is returned, and only then.
 *
 * They can be called in every context but noinstr code: interrupts and NMIs, with locks held,
 * preemption or interrupts off. They take no lock and do not sleep; but the CPU makes nothing
 * else until the host's handler has answered, so a call that is slow belongs where a slow
 * instruction may stand.
 *
 * The kernel is trusted: no policy of /dev/hcall applies, and whoever passes a guest-physical
 * address to the host answers for what the host writes there. Arguments that a function does
 * not take are zero for the host. The tracepoint hcall:hcall_call and the statistics see these
 * calls as they do those of processes.
 *
 * A module that calls them holds hcall.ko: it must go before hcall.ko can. Where there is no
 * hcall host hcall.ko does not load, and so the other does not either; symbol_get(hcall2)
 * serves modules that can do without. Registers, results and numbers: docs/abi.md.
 */
#ifndef LINUX_HCALL_H
#define LINUX_HCALL_H

#include <linux/types.h>

/* A VMM's own calls. */
#define HCALL_USER_FIRST 0x48438000u
#define HCALL_USER_LAST 0x4843ffffu
#define HCALL_USER(offset) (HCALL_USER_FIRST + (u32)(offset))

/* The core calls that need no memory. */
#define HCALL_PROBE 0x48430000u
#define HCALL_FEATURES 0x48430001u
#define HCALL_ECHO 0x48430002u
#define HCALL_TSC_KHZ 0x48430005u
#define HCALL_EXIT 0x48430009u

/* Those that take (guest-physical address, length). */
#define HCALL_CONSOLE_WRITE 0x48430003u
#define HCALL_GUEST_INFO 0x48430006u
#define HCALL_STATS 0x48430007u
#define HCALL_RANDOM 0x48430008u
#define HCALL_PANIC 0x4843000au

/* (clock, guest-physical address) */
#define HCALL_TIME 0x48430004u

int hcall0(u32 number, s64 *result);
int hcall1(u32 number, u64 arg0, s64 *result);
int hcall2(u32 number, u64 arg0, u64 arg1, s64 *result);
int hcall3(u32 number, u64 arg0, u64 arg1, u64 arg2, s64 *result);
int hcall4(u32 number, u64 arg0, u64 arg1, u64 arg2, u64 arg3, s64 *result);

#endif
