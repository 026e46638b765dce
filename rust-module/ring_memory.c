// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * The memory of a ring, for the Rust side: physically contiguous pages with reference
 * counts of their own, so that each can be mapped into a process by itself.
 */

#include <linux/gfp.h>
#include <linux/mm.h>

void *hcall_ring_alloc(size_t bytes);
void hcall_ring_free(void *start, size_t bytes);
int hcall_ring_map(struct vm_area_struct *vma, void *start);

void *hcall_ring_alloc(size_t bytes)
{
	return alloc_pages_exact(bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
}

void hcall_ring_free(void *start, size_t bytes)
{
	free_pages_exact(start, bytes);
}

/* As many pages as the mapping is long, from @start on. */
int hcall_ring_map(struct vm_area_struct *vma, void *start)
{
	unsigned long address;
	int error = 0;

	for (address = vma->vm_start; !error && address < vma->vm_end; address += PAGE_SIZE)
		error = vm_insert_page(vma, address,
				       virt_to_page(start + (address - vma->vm_start)));
	return error;
}
