/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * hcall_plugin.h: handlers of hypercalls in a shared object, for hcall-vmm and every VMM that
 * loads plugins by its library. C11 or C++11, x86-64; a test compares this file with the crate
 * hcall-plugin.
 *
 *	static int64_t add(void *state, const struct hcall_host_functions *host,
 *			   struct hcall_plugin_call *call)
 *	{
 *		uint64_t arguments[HCALL_PLUGIN_ARGUMENTS];
 *
 *		(void)state;
 *		host->arguments(call, arguments);
 *		return (int64_t)((arguments[0] + arguments[1]) & INT64_MAX);
 *	}
 *
 *	static const struct hcall_plugin_handler handlers[] = {
 *		{ HCALL_PLUGIN_USER(0x01), HCALL_PLUGIN_CALLERS_OF_THE_VM, add },
 *	};
 *
 *	HCALL_PLUGIN("add", "1.0", handlers, NULL, NULL);
 *
 *	cc -shared -fPIC -o add.so add.c
 *	hcall-vmm run IMAGE --plugin ./add.so
 *
 * A plugin is part of the process that loads it: one that crashes takes the VMM with it.
 *
 * How this grows: new fields are added at the end of structures, and the version stays. A host
 * takes the structures of a plugin for as long as they say they are; a plugin compares
 * host->size, by HCALL_PLUGIN_HOST_HAS, before it uses a function that this file did not have in
 * the beginning. The version changes if an old field does.
 */
#ifndef HCALL_PLUGIN_H
#define HCALL_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this file; a host refuses plugins of another. */
#define HCALL_PLUGIN_ABI_VERSION 1u

/* Longest name and version text of a plugin, in bytes without the NUL. */
#define HCALL_PLUGIN_TEXT_LIMIT 63u
/* Most handlers of a plugin. */
#define HCALL_PLUGIN_HANDLERS_LIMIT 1024u

/* Numbers that are a VMM's own. */
#define HCALL_PLUGIN_USER(offset) (0x48438000u + (uint32_t)(offset))

/* Arguments of a call. */
#define HCALL_PLUGIN_ARGUMENTS 4u

/* Who may make a call: whoever the VM's policy lets, CPL 0 only, every privilege level. */
#define HCALL_PLUGIN_CALLERS_OF_THE_VM 0u
#define HCALL_PLUGIN_CALLERS_KERNEL_ONLY 1u
#define HCALL_PLUGIN_CALLERS_ANY_PRIVILEGE_LEVEL 2u

/*
 * What a handler returns whose language has exceptions and that caught one: the guest is
 * answered -EIO, and the host counts the call as one whose handler panicked.
 */
#define HCALL_PLUGIN_RESULT_PANICKED INT64_MIN

/* Levels of messages. */
#define HCALL_PLUGIN_LOG_ERROR 1u
#define HCALL_PLUGIN_LOG_WARNING 2u
#define HCALL_PLUGIN_LOG_INFORMATION 3u
#define HCALL_PLUGIN_LOG_DEBUGGING 4u
#define HCALL_PLUGIN_LOG_TRACING 5u

/* A vCPU's general registers. */
struct hcall_plugin_registers {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

/* A segment register with what the processor keeps of its descriptor. */
struct hcall_plugin_segment {
	uint64_t base;
	uint32_t limit;		/* the last byte, whatever the granularity */
	uint16_t selector;
	uint8_t segment_type;	/* 4 bits */
	uint8_t present;	/* this one and those below: 0 or 1, but for dpl: 0 to 3 */
	uint8_t dpl;
	uint8_t db;		/* of 32 bits */
	uint8_t s;		/* code or data; 0: of the system */
	uint8_t l;		/* code of 64 bits */
	uint8_t g;		/* its limit is in pages */
	uint8_t avl;
	uint8_t unusable;
	uint8_t reserved;	/* 0 */
};

/* A descriptor table's register. */
struct hcall_plugin_descriptor_table {
	uint64_t base;
	uint16_t limit;
	uint16_t reserved[3];	/* 0 */
};

/* A vCPU's segments, descriptor tables and control registers. */
struct hcall_plugin_special_registers {
	struct hcall_plugin_segment cs, ds, es, fs, gs, ss, tr, ldt;
	struct hcall_plugin_descriptor_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer, apic_base;
};

/* A call as its host knows it: to be used until the handler returns, on the same thread. */
struct hcall_plugin_call;

/*
 * The right to answer a call later, once, on any thread. It is a number in the shape of a
 * pointer: there is nothing to be read there, and no two have been or will be the same.
 */
struct hcall_plugin_deferred;

/*
 * What the host does for a plugin. It stands where it is from create() to the end of destroy().
 *
 * What returns int32_t returns 0 or a negative errno, if nothing else is said. Where no vCPU
 * makes the call, as through a ring, what needs one is -EOPNOTSUPP. Guest memory is changed by
 * other vCPUs at any time: check the copy, and use the copy.
 */
struct hcall_host_functions {
	/* As the host knows them. */
	uint32_t abi_version;
	uint32_t size;
	/* The host's own. */
	const void *host_data;
	/* Has a message logged, UTF-8, with or without a call, by any thread. */
	void (*log)(const struct hcall_host_functions *host, uint32_t level, const char *text,
		    uint64_t length);
	/* The number that was called. */
	uint32_t (*number)(const struct hcall_plugin_call *call);
	/* Puts the HCALL_PLUGIN_ARGUMENTS arguments there. */
	void (*arguments)(const struct hcall_plugin_call *call, uint64_t *arguments);
	/* The identifier of the vCPU that made the call, or a negative errno. */
	int64_t (*vcpu)(const struct hcall_plugin_call *call);
	/* The caller's privilege level, 0 to 3, or a negative errno. */
	int32_t (*cpl)(const struct hcall_plugin_call *call);
	/* How many bits the caller's registers have, 64 or 32, or a negative errno. */
	int32_t (*mode)(const struct hcall_plugin_call *call);
	/* Copies guest memory at a guest-physical address; -EFAULT if not all of it is. */
	int32_t (*read)(const struct hcall_plugin_call *call, uint64_t gpa, void *bytes,
			uint64_t length);
	/* Copies to guest memory: all, or nothing and -EFAULT. */
	int32_t (*write)(const struct hcall_plugin_call *call, uint64_t gpa, const void *bytes,
			 uint64_t length);
	/* Translates a guest-virtual address by the guest's page tables; -EFAULT if it cannot. */
	int32_t (*translate)(const struct hcall_plugin_call *call, uint64_t gva, uint64_t *gpa);
	/* As read() and write(), at a guest-virtual address that the caller may read or write. */
	int32_t (*read_virtual)(const struct hcall_plugin_call *call, uint64_t gva, void *bytes,
				uint64_t length);
	int32_t (*write_virtual)(const struct hcall_plugin_call *call, uint64_t gva,
				 const void *bytes, uint64_t length);
	/* The vCPU's general registers. To set rax and rip has no effect: they are the call's. */
	int32_t (*registers)(struct hcall_plugin_call *call,
			     struct hcall_plugin_registers *registers);
	int32_t (*set_registers)(struct hcall_plugin_call *call,
				 const struct hcall_plugin_registers *registers);
	/* Ends the VM with this status once the handler has returned. */
	void (*request_exit)(struct hcall_plugin_call *call, uint8_t status);
	/* Ends the VM as panicked with this message, UTF-8, once the handler has returned. */
	void (*request_panic)(struct hcall_plugin_call *call, const char *message,
			      uint64_t length);

	/* What follows was not there in the beginning: see HCALL_PLUGIN_HOST_HAS. */

	/* The vCPU's segments, descriptor tables and control registers; -EIO if KVM does not say. */
	int32_t (*special_registers)(const struct hcall_plugin_call *call,
				     struct hcall_plugin_special_registers *registers);
	/*
	 * Sets them: all, so read them before. -EINVAL if anything reserved is not 0, -EIO if KVM
	 * refuses. What KVM takes and no processor enters ends the VM, with words. The guest has
	 * its answer only if the instruction is still at the same linear address.
	 */
	int32_t (*set_special_registers)(struct hcall_plugin_call *call,
					 const struct hcall_plugin_special_registers *registers);
	/*
	 * Makes the interrupt of this vector pending in the local APIC of a vCPU, the calling one
	 * or another, whatever it does; through a ring too. -EINVAL for a vector below 16, -ENXIO
	 * if there is no such vCPU or its APIC is off, -EIO if KVM refuses, -EOPNOTSUPP if the VMM
	 * offers no interrupts.
	 */
	int32_t (*inject_interrupt)(const struct hcall_plugin_call *call, uint32_t vcpu,
				    uint8_t vector);
	/*
	 * Puts the answer off: the vCPU waits until answer() is called with what is put there, on
	 * any thread, before the handler returns or after. A payload that the handler returns is
	 * then ignored. Anything else that it returns is the answer all the same, and nobody waits
	 * for the other. -EOPNOTSUPP in a batch and through a ring, -EBUSY if the handler has
	 * deferred already or has asked for the end of the VM.
	 *
	 * Until it is answered, the guest's vCPU stands still, though the VM can be paused and
	 * ended; answer(-EIO) gives it up. As long as a vCPU waits, the plugin stays loaded, also
	 * without any handler; destroy() can come before the answer only if nobody waits for it
	 * any more, and what is not answered by its end need not be.
	 */
	int32_t (*defer)(struct hcall_plugin_call *call, struct hcall_plugin_deferred **deferred);
	/*
	 * Answers a call, with what call() could have returned. Every call that was deferred is
	 * answered once: a second answer changes nothing, is logged, and is -EINVAL, as is one to
	 * NULL. To be called until the end of destroy().
	 */
	int32_t (*answer)(const struct hcall_host_functions *host,
			  struct hcall_plugin_deferred *deferred, int64_t result);
	/*
	 * Whether somebody still waits for an answer, 1 or 0: not if the VM has ended, or if the
	 * handler has failed after it deferred. -EINVAL if it has been given.
	 */
	int32_t (*is_awaited)(const struct hcall_host_functions *host,
			      const struct hcall_plugin_deferred *deferred);
};

/* Whether a host has a function of struct hcall_host_functions. */
#define HCALL_PLUGIN_HOST_HAS(host, function)                                                    \
	((host)->size >= offsetof(struct hcall_host_functions, function) +                       \
				 sizeof((host)->function))

/*
 * What answers a number. call() returns a payload from 0 on, a negative errno from -1 to -4095,
 * or HCALL_PLUGIN_RESULT_PANICKED; anything else reaches the guest as -EIO. It runs on the
 * thread of the vCPU that called, perhaps on several at once. No exception may leave it.
 */
struct hcall_plugin_handler {
	uint32_t number;
	uint32_t callers;	/* HCALL_PLUGIN_CALLERS_ */
	int64_t (*call)(void *state, const struct hcall_host_functions *host,
			struct hcall_plugin_call *call);
};

/*
 * What a plugin is; exported, as data, by the name hcall_plugin. See HCALL_PLUGIN below.
 *
 * create() puts what handlers are given as their state there and returns 0, or returns a
 * negative errno: the plugin is then not loaded. destroy() is called once, when no call is
 * under way and none will come. Either may be null.
 */
struct hcall_plugin {
	uint32_t abi_version;	/* HCALL_PLUGIN_ABI_VERSION */
	uint32_t size;		/* of this structure */
	const char *name;	/* UTF-8 */
	const char *version;	/* of the plugin */
	const struct hcall_plugin_handler *handlers;
	uint32_t handler_count;
	uint32_t handler_size;	/* of a handler's structure */
	int32_t (*create)(const struct hcall_host_functions *host, void **state);
	void (*destroy)(void *state);
};

#if defined(__GNUC__)
#define HCALL_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define HCALL_PLUGIN_EXPORT
#endif

#ifdef __cplusplus
#define HCALL_PLUGIN_EXTERN extern "C"
#define HCALL_PLUGIN_ASSERT static_assert
#else
#define HCALL_PLUGIN_EXTERN extern
#define HCALL_PLUGIN_ASSERT _Static_assert
#endif

/* Makes a plugin of the file: its name and version, the array of its handlers, and create() and
 * destroy() or NULL. */
#define HCALL_PLUGIN(name, version, handlers, create, destroy)                                   \
	HCALL_PLUGIN_EXTERN HCALL_PLUGIN_EXPORT const struct hcall_plugin hcall_plugin;          \
	const struct hcall_plugin hcall_plugin = {                                               \
		HCALL_PLUGIN_ABI_VERSION,                                                        \
		sizeof(struct hcall_plugin),                                                     \
		name,                                                                            \
		version,                                                                         \
		handlers,                                                                        \
		sizeof(handlers) / sizeof((handlers)[0]),                                        \
		sizeof(struct hcall_plugin_handler),                                             \
		create,                                                                          \
		destroy,                                                                         \
	}

HCALL_PLUGIN_ASSERT(sizeof(void *) == 8, "plugins are for x86-64");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_plugin) == 56, "layout");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_plugin_handler) == 16, "layout");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_host_functions) == 184, "layout");
HCALL_PLUGIN_ASSERT(offsetof(struct hcall_host_functions, special_registers) == 136, "layout");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_plugin_registers) == 144, "layout");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_plugin_segment) == 24, "layout");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_plugin_descriptor_table) == 16, "layout");
HCALL_PLUGIN_ASSERT(sizeof(struct hcall_plugin_special_registers) == 280, "layout");

#ifdef __cplusplus
}
#endif

#endif /* HCALL_PLUGIN_H */
