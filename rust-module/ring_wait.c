// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * Sleeping until the host has moved an index of a ring, for the Rust side: request_irq()
 * outside of a bus, and wait_event(), for which the kernel crate has no abstractions.
 *
 * One interrupt and one queue serve all rings: which of them moved, each sleeper sees for
 * itself.
 */

#include <linux/acpi.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

int hcall_ring_interrupt_request(u32 gsi, void *cookie);
void hcall_ring_interrupt_free(u32 gsi, int irq, void *cookie);
int hcall_ring_sleep(const u32 *tail, u32 seen, const u32 *status, u32 running, u64 timeout);
int hcall_ring_look(const u32 *tail, u32 seen, const u32 *status, u32 running, u64 timeout);

static DECLARE_WAIT_QUEUE_HEAD(sleepers);

static irqreturn_t on_interrupt(int irq, void *cookie)
{
	wake_up_all(&sleepers);
	return IRQ_HANDLED;
}

#ifdef CONFIG_ACPI
/* The kernel's number of a global system interrupt: the same where the ISA's have a PIC. */
static int map_interrupt(u32 gsi)
{
	return acpi_register_gsi(NULL, gsi, ACPI_EDGE_SENSITIVE, ACPI_ACTIVE_HIGH);
}

static void unmap_interrupt(u32 gsi)
{
	acpi_unregister_gsi(gsi);
}
#else
static int map_interrupt(u32 gsi)
{
	return gsi;
}

static void unmap_interrupt(u32 gsi)
{
}
#endif

/*
 * The kernel's number of the interrupt, or an error. Not shared: there is no register that
 * would say whether the interrupt was ours.
 */
int hcall_ring_interrupt_request(u32 gsi, void *cookie)
{
	int irq = map_interrupt(gsi);
	int error;

	if (irq < 0)
		return irq;
	error = request_irq(irq, on_interrupt, 0, "hcall", cookie);
	if (error) {
		unmap_interrupt(gsi);
		return error;
	}
	return irq;
}

void hcall_ring_interrupt_free(u32 gsi, int irq, void *cookie)
{
	free_irq(irq, cookie);
	unmap_interrupt(gsi);
}

/* The memory is the process's as well: whatever it holds, both words are only compared. */
static bool moved(const u32 *tail, u32 seen, const u32 *status, u32 running)
{
	return smp_load_acquire(tail) != seen || READ_ONCE(*status) != running;
}

/* At least @timeout nanoseconds. */
static long in_jiffies(u64 timeout)
{
	return min_t(u64, nsecs_to_jiffies64(timeout) + 1, MAX_JIFFY_OFFSET);
}

/* Sleeps until the interrupt; 0, -ETIMEDOUT or -EINTR. */
int hcall_ring_sleep(const u32 *tail, u32 seen, const u32 *status, u32 running, u64 timeout)
{
	long left = wait_event_interruptible_timeout(
		sleepers, moved(tail, seen, status, running), in_jiffies(timeout));

	if (left > 0)
		return 0;
	return left ? -EINTR : -ETIMEDOUT;
}

/* The same where there is no interrupt: looks at every tick. */
int hcall_ring_look(const u32 *tail, u32 seen, const u32 *status, u32 running, u64 timeout)
{
	unsigned long end = jiffies + in_jiffies(timeout);

	while (!moved(tail, seen, status, running)) {
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		schedule_timeout_interruptible(1);
		if (signal_pending(current))
			return -EINTR;
	}
	return 0;
}
