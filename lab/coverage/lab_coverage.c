// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * Collects the execution counters of a module, which LLVM's instrumentation keeps in the
 * module's own memory, past the module's end: also past the end of one whose init failed.
 *
 * debugfs:lab_coverage has the sum of each counter over all of the module's lives, as
 *
 *	COUNTERS HEX,HEX,...
 *
 * where nothing stands for 0. The numbers themselves are needed: LLVM calculates what it has
 * no counter for from differences of others.
 */

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>

#include "lab_coverage.h"

#define COUNTERS_MAX 32768

static DEFINE_MUTEX(lock);
static u64 executed[COUNTERS_MAX];
static size_t counters;

/* The module that is loaded now, if one is. */
static struct module *watched;
static const u64 *watched_begin;

/* Over the module's lives, the present one included. */
static u64 sum(size_t index)
{
	return executed[index] + (watched ? READ_ONCE(watched_begin[index]) : 0);
}

/* Called by the constructor of a module, before its init; one module at a time. */
void lab_coverage_watch(struct module *module, const u64 *begin, const u64 *end)
{
	guard(mutex)(&lock);
	if (WARN_ON(watched || end - begin > COUNTERS_MAX))
		return;
	if (WARN_ON(counters && counters != end - begin))
		return;
	counters = end - begin;
	watched_begin = begin;
	watched = module;
}
EXPORT_SYMBOL_GPL(lab_coverage_watch);

/* Its memory goes next, and nothing of it runs any more. */
static int on_module(struct notifier_block *block, unsigned long state, void *module)
{
	size_t index;

	if (state != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	guard(mutex)(&lock);
	if (module == watched) {
		for (index = 0; index < counters; index++)
			executed[index] = sum(index);
		watched = NULL;
	}
	return NOTIFY_OK;
}

static struct notifier_block notifier = { .notifier_call = on_module };

static int lab_coverage_show(struct seq_file *file, void *unused)
{
	size_t index;

	guard(mutex)(&lock);
	seq_printf(file, "%zu ", counters);
	for (index = 0; index < counters; index++) {
		if (index)
			seq_putc(file, ',');
		if (sum(index))
			seq_printf(file, "%llx", sum(index));
	}
	seq_putc(file, '\n');
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(lab_coverage);

static struct dentry *entry;

static int __init start(void)
{
	int error = register_module_notifier(&notifier);

	if (!error)
		entry = debugfs_create_file("lab_coverage", 0400, NULL, NULL, &lab_coverage_fops);
	return error;
}

static void __exit stop(void)
{
	debugfs_remove(entry);
	unregister_module_notifier(&notifier);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("Collects what was executed of an instrumented module");
MODULE_LICENSE("GPL");
