// A Multiboot image that says on the UART what it was given, and ends by the debug-exit
// port: with 42, or with the number of the first thing that is wrong. 32-bit code, in a
// 64-bit ELF file too: a Multiboot image begins in protected mode whatever its class.

    .section .note.hcall.multiboot, "a", @note
    .balign 4
    .long 6                         // length of the name
    .long 12                        // length of the descriptor
    .long 1
    .asciz "Hcall"
    .balign 4
    .set magic, 0x1badb002
    .set flags, 3                   // modules at page boundaries, memory information
    .long magic, flags, -(magic + flags)

    .section .text.multiboot, "ax"
    .code32
    .global _start
_start:
    movl $multiboot_stack_end, %esp
    movl %ebx, %ebp                 // the information
    movl $1, %edi
    cmpl $0x2badb002, %eax
    jne leave
    movl $2, %edi
    movl %cr0, %eax
    andl $0x80000001, %eax          // PG off, PE on
    cmpl $1, %eax
    jne leave
    movl $3, %edi
    movl (%ebp), %eax
    andl $0x24d, %eax               // memory, command line, modules, map, loader's name
    cmpl $0x24d, %eax
    jne leave

    movl $name_loader, %esi
    movl 64(%ebp), %ebx
    call print_named
    movl $name_command_line, %esi
    movl 16(%ebp), %ebx
    call print_named
    movl $name_lower, %esi
    movl 4(%ebp), %ebx
    call print_number
    movl $name_upper, %esi
    movl 8(%ebp), %ebx
    call print_number
    movl $name_modules, %esi
    movl 20(%ebp), %ebx
    call print_number

    movl $4, %edi
    cmpl $1, 20(%ebp)
    jne print_map
    movl 24(%ebp), %ecx             // the first module: start, end, string
    testl $0xfff, (%ecx)
    jnz leave
    movl $name_string, %esi
    movl 8(%ecx), %ebx
    call print_named
    movl $name_content, %esi
    call print
    movl (%ecx), %ebx
1:  cmpl 4(%ecx), %ebx
    jae 2f
    movb (%ebx), %al
    call print_byte
    incl %ebx
    jmp 1b
2:  call print_line_end

print_map:
    movl 48(%ebp), %ecx
1:  movl 48(%ebp), %eax
    addl 44(%ebp), %eax
    cmpl %eax, %ecx
    jae 2f
    movl $name_range, %esi
    call print
    movl 8(%ecx), %ebx
    call print_hexadecimal
    movl 4(%ecx), %ebx
    call print_hexadecimal
    movb $32, %al
    call print_byte
    movl 16(%ecx), %ebx
    call print_hexadecimal
    movl 12(%ecx), %ebx
    call print_hexadecimal
    movb $32, %al
    call print_byte
    movl 20(%ecx), %ebx
    call print_hexadecimal
    call print_line_end
    movl (%ecx), %eax
    leal 4(%ecx, %eax), %ecx
    jmp 1b
2:  movl $42, %edi

leave:
    movl %edi, %eax
    outl %eax, $0xf4
3:  hlt
    jmp 3b

// esi: a name; ebx: a string.
print_named:
    call print
    movl %ebx, %esi
    call print
    jmp print_line_end

// esi: a name; ebx: a number.
print_number:
    call print
    call print_hexadecimal
    jmp print_line_end

// esi: a string.
print:
    movb (%esi), %al
    testb %al, %al
    jz 1f
    call print_byte
    incl %esi
    jmp print
1:  ret

// ebx: a number, of which all eight digits are printed; it is the same afterwards.
print_hexadecimal:
    movl $8, %esi
1:  roll $4, %ebx
    movl %ebx, %eax
    andl $15, %eax
    movb multiboot_digits(%eax), %al
    call print_byte
    decl %esi
    jnz 1b
    ret

print_line_end:
    movb $10, %al

// al: a byte; waits until the UART takes it.
print_byte:
    pushl %eax
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    popl %eax
    movw $0x3f8, %dx
    outb %al, %dx
    ret

    .section .rodata.multiboot, "a"
multiboot_digits: .ascii "0123456789abcdef"
name_loader: .asciz "loader "
name_command_line: .asciz "command line "
name_lower: .asciz "lower "
name_upper: .asciz "upper "
name_modules: .asciz "modules "
name_string: .asciz "string "
name_content: .asciz "content "
name_range: .asciz "range "

    .section .bss.multiboot, "aw", @nobits
    .balign 16
    .zero 4096
multiboot_stack_end:
