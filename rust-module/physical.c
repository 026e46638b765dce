// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * virt_to_phys() for the Rust side: an inline function, for which the kernel crate
 * has neither a helper nor an abstraction.
 */

#include <linux/io.h>
#include <linux/types.h>

phys_addr_t hcall_virt_to_phys(void *address);

phys_addr_t hcall_virt_to_phys(void *address)
{
	return virt_to_phys(address);
}
