/* Preloaded into linux.uml. Four mends for user-mode Linux 6.1:
 *
 * ptrace: UML saves 2696 bytes of extended CPU state. Where the host's is larger (AMX), PTRACE_SETREGSET refuses a short
 * buffer and UML panics at boot. Pad the buffer with zeros and mask the state components that UML did not save. A SET of
 * what the last GET of the same stopped process returned is skipped: it changes nothing and costs a system call.
 *
 * timer_settime: UML arms its clock for one tick at a time, and arms it again in the tick. When a tick is lost, none comes any more: the
 * guest no longer interrupts what runs, and nothing that waits for time goes on. So a tick that was not handled comes again.
 *
 * The same call starts a regular SIGIO. UML learns from SIGIO that a descriptor is ready, and the host sends it once. When it is lost, frames
 * that came wait until another comes, and a queue of frames to send may wait for ever: then none comes. The handler asks epoll what is ready.
 *
 * socket: UML's raw transport keeps the default receive buffer, a dozen jumbo frames, where a NIC's ring holds hundreds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define XSTATE 0x202           /* NT_X86_XSTATE */
#define UML_SIZE 2696          /* what UML hard-codes */
#define XSTATE_BV 512          /* offset of the component bit map */
#define UML_COMPONENTS 0x2ffUL /* x87 SSE AVX MPX AVX-512 PKRU: all below UML_SIZE */
#define SLOTS 1024
#define SOCKET_BUFFER (8 << 20)
#define TICK_AGAIN_NS 100000000
#define SIGIO_EVERY_NS 50000000

static struct { long pid; unsigned char state[UML_SIZE]; } last[SLOTS];
static unsigned char padded[65536] __attribute__((aligned(64)));
static size_t host_size;

static long call(long request, long pid, void *addr, void *data) { return syscall(SYS_ptrace, request, pid, addr, data); }

static long get_state(long pid, struct iovec *v)
{
	long result = call(PTRACE_GETREGSET, pid, (void *)XSTATE, v);
	if (result == 0) {
		last[pid % SLOTS].pid = pid;
		memcpy(last[pid % SLOTS].state, v->iov_base, UML_SIZE);
	}
	return result;
}

static long set_state(long pid, struct iovec *v)
{
	if (last[pid % SLOTS].pid == pid && !memcmp(last[pid % SLOTS].state, v->iov_base, UML_SIZE)) return 0;
	last[pid % SLOTS].pid = 0;
	if (!host_size) {
		struct iovec all = { padded, sizeof padded };
		long result = call(PTRACE_GETREGSET, pid, (void *)XSTATE, &all);
		if (result < 0) return result;
		host_size = all.iov_len;
		memset(padded, 0, sizeof padded);
	}
	if (host_size <= UML_SIZE) return call(PTRACE_SETREGSET, pid, (void *)XSTATE, v);
	memcpy(padded, v->iov_base, UML_SIZE);
	*(uint64_t *)(padded + XSTATE_BV) &= UML_COMPONENTS;
	struct iovec all = { padded, host_size };
	return call(PTRACE_SETREGSET, pid, (void *)XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(int, ...);
	va_list args;
	va_start(args, request);
	int pid = va_arg(args, int);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);
	struct iovec *v = data;
	switch ((int)request) {
	case PTRACE_CONT: case PTRACE_SYSCALL: case PTRACE_SINGLESTEP: case PTRACE_DETACH: case PTRACE_KILL:
	case 31: case 32: /* PTRACE_SYSEMU, PTRACE_SYSEMU_SINGLESTEP */
		if (last[pid % SLOTS].pid == pid) last[pid % SLOTS].pid = 0;
		return call(request, pid, addr, data);
	case PTRACE_GETREGSET:
		if ((long)addr == XSTATE && v->iov_len == UML_SIZE) return get_state(pid, v);
		break;
	case PTRACE_SETREGSET:
		if ((long)addr == XSTATE && v->iov_len == UML_SIZE) return set_state(pid, v);
		break;
	default:
		break;
	}
	if (!next) next = (long (*)(int, ...))dlsym(RTLD_NEXT, "ptrace");
	return next(request, pid, addr, data);
}

int socket(int domain, int type, int protocol)
{
	int fd = syscall(SYS_socket, domain, type, protocol), size = SOCKET_BUFFER;
	if (fd >= 0 && domain == AF_PACKET) {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	}
	return fd;
}

/* Once UML handles SIGIO: before that it would end the process. */
static void start_sigio(int (*set)(timer_t, int, const struct itimerspec *, struct itimerspec *))
{
	static int started;
	struct sigaction present;
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGIO };
	struct itimerspec every = { { 0, SIGIO_EVERY_NS }, { 0, SIGIO_EVERY_NS } };
	timer_t timer;
	if (started || sigaction(SIGIO, NULL, &present) || present.sa_handler == SIG_DFL || present.sa_handler == SIG_IGN) return;
	event._sigev_un._tid = syscall(SYS_gettid);
	started = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && set(timer, 0, &every, NULL) == 0;
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	static int (*next)(timer_t, int, const struct itimerspec *, struct itimerspec *);
	struct itimerspec again = *value;
	int armed = value->it_value.tv_sec || value->it_value.tv_nsec;
	if (armed && !value->it_interval.tv_sec && !value->it_interval.tv_nsec) again.it_interval.tv_nsec = TICK_AGAIN_NS;
	if (!next) next = (int (*)(timer_t, int, const struct itimerspec *, struct itimerspec *))dlsym(RTLD_NEXT, "timer_settime");
	start_sigio(next);
	return next(timer, flags, &again, old);
}
