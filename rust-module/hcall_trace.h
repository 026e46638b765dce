/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * The tracepoint hcall:hcall_call: a call that the module has made, and what came of it.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hcall

#if !defined(HCALL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HCALL_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

TRACE_EVENT(hcall_call,

	TP_PROTO(u32 number, const u64 *arguments, s64 result, u64 duration),

	TP_ARGS(number, arguments, result, duration),

	TP_STRUCT__entry(
		__field(u32, number)
		__field(u64, arg0)
		__field(u64, arg1)
		__field(u64, arg2)
		__field(u64, arg3)
		__field(s64, result)
		__field(u64, duration)
	),

	TP_fast_assign(
		__entry->number = number;
		__entry->arg0 = arguments[0];
		__entry->arg1 = arguments[1];
		__entry->arg2 = arguments[2];
		__entry->arg3 = arguments[3];
		__entry->result = result;
		__entry->duration = duration;
	),

	TP_printk("number=%#x arg0=%#llx arg1=%#llx arg2=%#llx arg3=%#llx result=%lld duration=%llu",
		  __entry->number, __entry->arg0, __entry->arg1, __entry->arg2, __entry->arg3,
		  __entry->result, __entry->duration)
);

#endif

/* Outside the guard: define_trace.h reads this file again, by this path and -I. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE hcall_trace
#include <trace/define_trace.h>
