/* Lets Debian's User-Mode Linux run on CPUs whose extended register state is larger than it knows.
 *
 * UML saves and restores the registers of its processes with PTRACE_{GET,SET}REGSET and a buffer that ends
 * after AVX-512. The host's kernel demands the whole state in SETREGSET and answers EFAULT otherwise, so on a
 * CPU with AMX (8 KiB more) UML dies in its first process: "ptrace set fp regs failed, errno = 14".
 *
 * Preloaded into linux.uml, this pads what it sets to the size that the host wants. The padding belongs to
 * AMX, which nothing in the tests uses: its bits in the header are cleared, which means "initial state".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define STATE_MAX 65536
#define HEADER_XSTATE_BV 512
#define AMX_BITS (3ULL << 17)

/* The raw call, because PTRACE_PEEK* of libc's wrapper is what this stands in front of. */
static long raw(int request, pid_t pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

/* The size that this host's kernel gives and wants, asked once. */
static size_t host_size(pid_t pid)
{
	static size_t size;
	if (size == 0) {
		static unsigned char whole[STATE_MAX];
		struct iovec iov = {whole, sizeof(whole)};
		if (raw(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &iov) == 0)
			size = iov.iov_len;
	}
	return size;
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list args;
	va_start(args, request);
	pid_t pid = va_arg(args, pid_t);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);

	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		const struct iovec *given = data;
		size_t size = host_size(pid);
		if (size > given->iov_len && size <= STATE_MAX) {
			static unsigned char padded[STATE_MAX];
			unsigned long long features;
			struct iovec iov = {padded, size};
			memcpy(padded, given->iov_base, given->iov_len);
			memcpy(&features, padded + HEADER_XSTATE_BV, sizeof(features));
			features &= ~AMX_BITS;
			memcpy(padded + HEADER_XSTATE_BV, &features, sizeof(features));
			return raw(request, pid, addr, &iov);
		}
	}
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		/* The kernel stores the word where `data` points; the C function returns it. */
		long word;
		if (raw(request, pid, addr, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	return raw(request, pid, addr, data);
}
