// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * The module parameter that is a text, for the Rust side: the kernel crate's are numbers.
 */

#include <linux/moduleparam.h>

const char *hcall_parameter_allow(void);

static char *hcall_allow;
module_param_named(allow, hcall_allow, charp, 0444);
MODULE_PARM_DESC(allow,
		 "Numbers that a newly opened file may call: ranges FIRST-LAST with commas, none, all (default)");

const char *hcall_parameter_allow(void)
{
	return hcall_allow;
}
