/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the VMM's jump to main(): PVH entry, long mode, stack. The VMM enters in 32-bit
 * protected mode without paging (Xen, "x86/HVM direct boot ABI"), ebx = the address of what it
 * says of the VM, which becomes main()'s argument.
 */

	.section .note.pvh, "a", @note
	.balign 4
	.long 4				/* length of the name */
	.long 4				/* length of the descriptor */
	.long 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_entry

	.text
	.code32
	.global pvh_entry
pvh_entry:
	cli
	cld
	movl $stack_end, %esp
	movl $page_map, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax			/* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx		/* EFER */
	rdmsr
	orl $0x100, %eax		/* LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax		/* PG, PE */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $1f

	.code64
1:	movw $16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	xorl %ebp, %ebp
	movl %ebx, %edi
	call main
	/* main() ends the VM; if the host refused, a fault does. */
	ud2

	.section .rodata
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 8: 64-bit code */
	.quad 0x00cf93000000ffff	/* 16: data */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	/* The first GiB, each address mapped to itself by pages of 2 MiB, writable. */
	.data
	.balign 4096
page_map:
	.quad page_directory_pointers + 3
	.zero 4088
page_directory_pointers:
	.quad page_directory + 3
	.zero 4088
page_directory:
	.set address, 0x83
	.rept 512
	.quad address
	.set address, address + 0x200000
	.endr

	.bss
	.balign 16
	.zero 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
