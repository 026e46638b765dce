/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The smallest client in C: has the host echo a number.
 *
 *	cc $(pkg-config --cflags hcall) echo.c -o echo && ./echo 42
 */
#include <hcall.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	uint64_t value = argc > 1 ? strtoull(argv[1], NULL, 0) : 42;
	int device = hcall_open();
	int64_t result;
	int error;

	if (device < 0) {
		fprintf(stderr, "cannot open %s: %s\n", HCALL_DEVICE_PATH, strerror(-device));
		return EXIT_FAILURE;
	}
	error = hcall_call(device, HCALL_ECHO, value, 0, 0, 0, &result);
	close(device);
	if (error < 0) {
		fprintf(stderr, "the call was not made: %s\n", strerror(-error));
		return EXIT_FAILURE;
	}
	if (result < 0) {
		fprintf(stderr, "the host answered: %s\n", strerror((int)-result));
		return EXIT_FAILURE;
	}
	printf("%" PRId64 "\n", result);
	return EXIT_SUCCESS;
}
