// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * The tracepoint, for the Rust side: macros, for which the kernel crate has nothing that a
 * module from elsewhere could use. The statistics are a probe of it.
 */

#include <linux/tracepoint.h>
#include <linux/types.h>

#define CREATE_TRACE_POINTS
#include "hcall_trace.h"

void hcall_trace_call(u32 number, const u64 *arguments, s64 result, u64 duration);
int hcall_trace_start_counting(void);
void hcall_trace_stop_counting(void);

/* In statistics.rs. */
void hcall_statistics_count(void *data, u32 number, const u64 *arguments, s64 result,
			    u64 duration);

/* To be called where trace.rs has seen the tracepoint on. */
void hcall_trace_call(u32 number, const u64 *arguments, s64 result, u64 duration)
{
	trace_hcall_call(number, arguments, result, duration);
}

/* From here on hcall_statistics_count() is called for each call, and the tracepoint is on. */
int hcall_trace_start_counting(void)
{
	return register_trace_hcall_call(hcall_statistics_count, NULL);
}

/* After this it is called no more, and runs nowhere. */
void hcall_trace_stop_counting(void)
{
	unregister_trace_hcall_call(hcall_statistics_count, NULL);
	tracepoint_synchronize_unregister();
}
