// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * hcall0() to hcall4() for other modules. Rust modules cannot export symbols; what these do
 * is in in_kernel.rs.
 */

#include <linux/export.h>
#include <linux/hcall.h>

/* In in_kernel.rs; @arguments are four. */
int hcall_in_kernel(u32 number, const u64 *arguments, s64 *result);

int hcall0(u32 number, s64 *result)
{
	return hcall4(number, 0, 0, 0, 0, result);
}
EXPORT_SYMBOL_GPL(hcall0);

int hcall1(u32 number, u64 arg0, s64 *result)
{
	return hcall4(number, arg0, 0, 0, 0, result);
}
EXPORT_SYMBOL_GPL(hcall1);

int hcall2(u32 number, u64 arg0, u64 arg1, s64 *result)
{
	return hcall4(number, arg0, arg1, 0, 0, result);
}
EXPORT_SYMBOL_GPL(hcall2);

int hcall3(u32 number, u64 arg0, u64 arg1, u64 arg2, s64 *result)
{
	return hcall4(number, arg0, arg1, arg2, 0, result);
}
EXPORT_SYMBOL_GPL(hcall3);

int hcall4(u32 number, u64 arg0, u64 arg1, u64 arg2, u64 arg3, s64 *result)
{
	const u64 arguments[] = { arg0, arg1, arg2, arg3 };

	return hcall_in_kernel(number, arguments, result);
}
EXPORT_SYMBOL_GPL(hcall4);
