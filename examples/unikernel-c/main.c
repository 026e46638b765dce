// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The first hypercall from a unikernel in C. Its exit status is what the host answered: 0, or
 * the errno.
 */
#include <hcall_guest.h>

#define PRINT HCALL_USER(0x000)

static const char HELLO[] = "hello from a unikernel in C\n";

void main(void)
{
	/* start.S maps memory to the same addresses, so that a pointer is a GPA. */
	int64_t answer = hcall_console_write((uintptr_t)HELLO, sizeof(HELLO) - 1);

	if (answer >= 0)
		answer = hcall3(PRINT, 1, 2, 3);
	hcall_exit(answer < 0 ? (uint8_t)-answer : 0);
}
