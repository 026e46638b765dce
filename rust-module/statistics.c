// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * The switch of the statistics, and their files in debugfs. The kernel crate's own leave out
 * the owner: the module could be unloaded while one is open, and closing it would read freed
 * memory.
 */

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>

int hcall_statistics_add(bool on);
void hcall_statistics_remove(void);

/* In statistics.rs. */
void hcall_statistics_show(struct seq_file *seq);
void hcall_statistics_clear(void);

/* In trace.c. */
int hcall_trace_start_counting(void);
void hcall_trace_stop_counting(void);

/* Held by whoever switches, forgets or shows. */
static DEFINE_MUTEX(statistics_lock);
static bool is_on;
static struct dentry *directory;

static int switch_to(bool on)
{
	int error = 0;

	lockdep_assert_held(&statistics_lock);
	if (on == is_on)
		return 0;
	if (on)
		error = hcall_trace_start_counting();
	else
		hcall_trace_stop_counting();
	if (!error)
		is_on = on;
	return error;
}

static int enable_get(void *data, u64 *value)
{
	mutex_lock(&statistics_lock);
	*value = is_on;
	mutex_unlock(&statistics_lock);
	return 0;
}

static int enable_set(void *data, u64 value)
{
	int error;

	if (value > 1)
		return -EINVAL;
	mutex_lock(&statistics_lock);
	error = switch_to(value);
	mutex_unlock(&statistics_lock);
	return error;
}

DEFINE_DEBUGFS_ATTRIBUTE(enable_operations, enable_get, enable_set, "%llu\n");

static int reset_set(void *data, u64 value)
{
	bool was_on;
	int error;

	if (value != 1)
		return -EINVAL;
	mutex_lock(&statistics_lock);
	was_on = is_on;
	error = switch_to(false);
	if (!error) {
		hcall_statistics_clear();
		error = switch_to(was_on);
	}
	mutex_unlock(&statistics_lock);
	return error;
}

DEFINE_DEBUGFS_ATTRIBUTE(reset_operations, NULL, reset_set, "%llu\n");

static int statistics_show(struct seq_file *seq, void *unused)
{
	mutex_lock(&statistics_lock);
	seq_printf(seq, "enabled %u\n", is_on);
	hcall_statistics_show(seq);
	mutex_unlock(&statistics_lock);
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(statistics);

/* Makes the files. Fails if statistics cannot be on; they are off then, and all is well. */
int hcall_statistics_add(bool on)
{
	int error;

	directory = debugfs_create_dir("hcall", NULL);
	debugfs_create_file("statistics", 0400, directory, NULL, &statistics_fops);
	debugfs_create_file_unsafe("enable", 0600, directory, NULL, &enable_operations);
	debugfs_create_file_unsafe("reset", 0200, directory, NULL, &reset_operations);

	mutex_lock(&statistics_lock);
	error = switch_to(on);
	mutex_unlock(&statistics_lock);
	return error;
}

/* Removes the files; nobody counts or shows any more. */
void hcall_statistics_remove(void)
{
	debugfs_remove(directory);
	mutex_lock(&statistics_lock);
	switch_to(false);
	mutex_unlock(&statistics_lock);
}
