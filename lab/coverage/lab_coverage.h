/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* How a module that counts what is executed of it has its counters collected. */

#ifndef LAB_COVERAGE_H
#define LAB_COVERAGE_H

#include <linux/module.h>

void lab_coverage_watch(struct module *module, const u64 *begin, const u64 *end);

#endif
