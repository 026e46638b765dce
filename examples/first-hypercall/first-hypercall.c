/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A process's side in C: the same call over /dev/hcall, by hcall.h. */

#include <hcall.h>
#include <stdio.h>
#include <string.h>

#define PRINT HCALL_USER(0x000)

int main(void)
{
	int device = hcall_open();
	int64_t answer;
	int error;

	if (device < 0) {
		fprintf(stderr, "process in C: %s: %s\n", HCALL_DEVICE_PATH, strerror(-device));
		return 1;
	}
	error = hcall_call(device, PRINT, 10, 11, 12, 0, &answer);
	if (error) {
		fprintf(stderr, "process in C: the call was not made: %s\n", strerror(-error));
		return 1;
	}
	printf("process in C: the host answered %lld\n", (long long)answer);
	return answer < 0;
}
