// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/* In a build that counts what is executed: has the counters collected. See Kbuild. */

#include "lab_coverage.h"

/* In coverage.lds. */
extern const u64 hcall_counters_begin[], hcall_counters_end[];

__attribute__((constructor)) static void watch(void)
{
	lab_coverage_watch(THIS_MODULE, hcall_counters_begin, hcall_counters_end);
}
