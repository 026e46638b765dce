// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * A module of the kernel that makes a hypercall, in C: it asks the host for a sum when it is
 * loaded, and does not load if the host knows none.
 */

#define pr_fmt(text) KBUILD_MODNAME ": " text

#include <linux/hcall.h>
#include <linux/module.h>

static unsigned int number = HCALL_USER(1);
module_param(number, uint, 0444);
MODULE_PARM_DESC(number, "The hypercall to make with 2 and 40");

static int __init example_init(void)
{
	s64 sum;
	int error = hcall2(number, 2, 40, &sum);

	if (error) {
		pr_err("hcall2(%#x, 2, 40) was not made: %pe\n", number, ERR_PTR(error));
		return error;
	}
	if (sum < 0) {
		pr_err("hcall2(%#x, 2, 40): the host answered %lld\n", number, sum);
		return -EIO;
	}
	pr_info("hcall2(%#x, 2, 40) = %lld\n", number, sum);
	return 0;
}
module_init(example_init);

static void __exit example_exit(void)
{
}
module_exit(example_exit);

MODULE_AUTHOR("The hcall developers");
MODULE_DESCRIPTION("A hypercall from a module of the kernel");
MODULE_LICENSE("GPL");
