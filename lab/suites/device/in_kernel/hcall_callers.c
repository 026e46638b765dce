// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * Calls every function of linux/hcall.h in every context, when it is loaded, and says in the
 * kernel log what came of it. device-suite knows what is due.
 */
#define pr_fmt(text) KBUILD_MODNAME ": " text

#include <linux/completion.h>
#include <linux/hcall.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/spinlock.h>

static unsigned int first;
module_param(first, uint, 0444);
MODULE_PARM_DESC(first, "The call without arguments; those with one to four follow it");

/* What *result holds where nothing may be written to it. */
#define UNTOUCHED 0x5a5a5a5a5a5a5a5all

static void say(const char *context, const char *name, int error, s64 result)
{
	pr_info("%s: %s: %d %lld\n", context, name, error, result);
}

static void call_all(const char *context)
{
	s64 result = UNTOUCHED;
	int error;

	error = hcall0(first, &result);
	say(context, "hcall0", error, result);
	error = hcall1(first + 1, 1, &result);
	say(context, "hcall1", error, result);
	error = hcall2(first + 2, 1, 2, &result);
	say(context, "hcall2", error, result);
	error = hcall3(first + 3, 1, 2, 3, &result);
	say(context, "hcall3", error, result);
	error = hcall4(first + 4, 1, 2, 3, 4, &result);
	say(context, "hcall4", error, result);
}

static void call_unusable(u32 number)
{
	s64 result = UNTOUCHED;
	int error = hcall0(number, &result);

	pr_info("unusable: %#x: %d %s\n", number, error,
		result == UNTOUCHED ? "untouched" : "written");
}

static void call_atomically(void)
{
	static DEFINE_SPINLOCK(lock);
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	call_all("interrupts off");
	spin_unlock_irqrestore(&lock, flags);
}

static DECLARE_COMPLETION(interrupted);

static enum hrtimer_restart on_timer(struct hrtimer *timer)
{
	call_all(in_hardirq() ? "interrupt" : "no interrupt");
	complete(&interrupted);
	return HRTIMER_NORESTART;
}

static void call_in_interrupt(void)
{
	static struct hrtimer timer;

	hrtimer_setup(&timer, on_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	hrtimer_start(&timer, ms_to_ktime(1), HRTIMER_MODE_REL_HARD);
	wait_for_completion(&interrupted);
	hrtimer_cancel(&timer);
}

static int __init callers_init(void)
{
	s64 result = 0;
	int error;

	call_all("process");
	call_atomically();
	call_in_interrupt();
	call_unusable(0);
	call_unusable(12);
	call_unusable(32);
	call_unusable(0x80000000);
	error = hcall1(HCALL_ECHO, 1ull << 63, &result);
	say("process", "the host's errno", error, result);
	return 0;
}
module_init(callers_init);

static void __exit callers_exit(void)
{
}
module_exit(callers_exit);

MODULE_AUTHOR("The hcall developers");
MODULE_DESCRIPTION("Callers of linux/hcall.h, for a test");
MODULE_LICENSE("GPL");
