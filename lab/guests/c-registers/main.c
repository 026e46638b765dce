// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Calls the functions of hcall_guest.h with known values in every register that the System V
 * ABI has a function keep, and checks that they are kept, that the arguments arrived in their
 * places, and what the answers are. Ends with status 0, or with that of the check that failed.
 */
#include <hcall_guest.h>

/* The host keeps what arrived: PRINT is given the sequence 1, 2, 3. */
#define PRINT HCALL_USER(0x000)
#define FAIL HCALL_USER(0x111)
#define UNREGISTERED HCALL_USER(0x1ff)

#define KEPT 6
#define ROUNDS 50

/* rbx, rbp, r12 to r15: what they hold before, and after. */
uint64_t before[KEPT], after[KEPT];
uint64_t flags_after;

/*
 * int64_t sweep(function, number, a, b, c, d): calls function(number, a, b, c, d) between
 * loading `before` and storing `after`.
 */
int64_t sweep(void *function, uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

__asm__(".pushsection .text.sweep, \"ax\"\n"
	".global sweep\n"
	"sweep:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	sub $8, %rsp\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	mov %r8, %rcx\n"
	"	mov %r9, %r8\n"
	"	mov before(%rip), %rbx\n"
	"	mov before+8(%rip), %rbp\n"
	"	mov before+16(%rip), %r12\n"
	"	mov before+24(%rip), %r13\n"
	"	mov before+32(%rip), %r14\n"
	"	mov before+40(%rip), %r15\n"
	"	call *%rax\n"
	"	mov %rbx, after(%rip)\n"
	"	mov %rbp, after+8(%rip)\n"
	"	mov %r12, after+16(%rip)\n"
	"	mov %r13, after+24(%rip)\n"
	"	mov %r14, after+32(%rip)\n"
	"	mov %r15, after+40(%rip)\n"
	"	pushfq\n"
	"	popq flags_after(%rip)\n"
	"	add $8, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".popsection\n");

#define DIRECTION_FLAG 0x400u

static void check(int holds, uint8_t status)
{
	if (!holds)
		hcall_exit(status);
}

static void registers(void *function, uint64_t number, const uint64_t *arguments, int64_t expected)
{
	int64_t answer;
	int index;

	for (index = 0; index < KEPT; index++)
		before[index] = before[index] * UINT64_C(6364136223846793005) + 1442695040888963407u;
	answer = sweep(function, number, arguments[0], arguments[1], arguments[2], arguments[3]);
	check(answer == expected, 2);
	for (index = 0; index < KEPT; index++)
		check(after[index] == before[index], 3);
	check(!(flags_after & DIRECTION_FLAG), 4);
}

static void host(void)
{
	static struct hcall_host found;
	static struct hcall_guest_info info;
	static struct hcall_time_value now;
	static uint8_t random[64];
	int index, sum = 0;

	check(hcall_detect(0) == 0 && hcall_detect(&found) == 0, 10);
	check(found.abi_version == HCALL_ABI_VERSION, 11);
	check(found.transports_offered & 1u << found.transport, 12);
	check((found.transport == HCALL_TRANSPORT_PORT) ==
	      (found.instruction == HCALL_INSTRUCTION_NONE), 13);
	check(hcall0(HCALL_PROBE) == HCALL_PROBE_RESULT, 14);
	check(hcall_guest_info((uintptr_t)&info, sizeof(info)) == sizeof(info), 15);
	check(info.transport == found.transport && info.features == found.features, 16);
	check(hcall_time(HCALL_CLOCK_REALTIME, (uintptr_t)&now) == 0 && now.seconds > 1600000000, 17);
	check(hcall_random((uintptr_t)random, sizeof(random)) == sizeof(random), 18);
	for (index = 0; index < (int)sizeof(random); index++)
		sum += random[index];
	check(sum != 0, 19);
}

static void errors(void)
{
	check(hcall0(UNREGISTERED) == -38, 20);
	check(hcall1(FAIL, 4095) == -4095, 21);
	check(hcall0(12) == HCALL_FOREIGN_NUMBER, 22);
	check(hcall_echo(UINT64_C(1) << 63) == -34, 23);
	check(hcall_console_write(UINT64_MAX, 1) == -14, 24);
}

static void batches(void)
{
	static struct hcall_batch_entry entries[2] __attribute__((aligned(HCALL_BATCH_ALIGNMENT)));

	entries[0].number = HCALL_ECHO;
	entries[0].arguments[0] = 7;
	entries[1].number = UNREGISTERED;
	check(hcall_batch((uintptr_t)entries, 2, 0) == 2, 30);
	check(entries[0].result == 7 && entries[1].result == -38, 31);
}

void main(void)
{
	static const uint64_t PRINTED[4] = { 1, 2, 3, 0 };
	static const uint64_t ECHOED[4] = { UINT64_C(0x7edcba9876543210), 0, 0, 0 };
	int round;

	host();
	errors();
	batches();
	for (round = 0; round < ROUNDS; round++) {
		registers((void *)(uintptr_t)hcall1, HCALL_ECHO, ECHOED, ECHOED[0]);
		registers((void *)(uintptr_t)hcall3, PRINT, PRINTED, 0);
		registers((void *)(uintptr_t)hcall4, PRINT, PRINTED, 0);
	}
	hcall_exit(0);
}
