/* The floor: what the kernel needs for one container, and nothing else.
 *
 *   floor LOWER SCRATCH PROGRAM CGROUP...
 *
 * New mount, pid, network, uts, ipc and cgroup namespaces (those of `skiff run`), an overlay of LOWER with its upper
 * layer in SCRATCH, a cgroup in each of the directories CGROUP (all v1 hierarchies, or the one of v2), pivot_root,
 * execve of PROGRAM, wait, and removal of the cgroups and the upper layer. No configuration, no checks, no
 * capabilities, no seccomp, no /proc and no /dev: no engine can be faster than this while doing its job.
 *
 * Each step is done the fastest way that we know. On v1 the child moves itself, by writing 0 to `tasks`: a
 * thread that moves itself needs no global lock, which writing a pid to cgroup.procs does (several ms of RCU).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUPS_MAX 16
#define CGROUP2_MAGIC 0x63677270

static void die(const char *what)
{
	dprintf(2, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void check(long result, const char *what)
{
	if (result < 0)
		die(what);
}

static int overlay(const char *lower, const char *upper, const char *work)
{
	int fs = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	check(fs, "fsopen overlay");
	check(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0), "lowerdir");
	check(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "upperdir", upper, 0), "upperdir");
	check(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "workdir", work, 0), "workdir");
	/* The upper layer is thrown away: nothing of it needs to reach the disk. */
	check(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0), "volatile");
	check(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "create overlay");
	int mount = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	check(mount, "fsmount");
	return mount;
}

static void child(char *program, const char *lower, const char *upper, const char *work, const int *tasks, int count)
{
	for (int i = 0; i < count; i++)
		check(write(tasks[i], "0", 1), "write tasks");
	check(unshare(CLONE_NEWCGROUP), "unshare cgroup");
	check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make / private");
	int root = overlay(lower, upper, work);
	check(syscall(SYS_move_mount, root, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
	check(chdir("/mnt"), "chdir");
	check(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	check(umount2(".", MNT_DETACH), "umount");
	check(sethostname("floor", 5), "sethostname");
	char *argv[] = {program, NULL}, *envp[] = {NULL};
	execve(program, argv, envp);
	die("execve");
}

/* A new v1 cpuset is empty and takes no process before it has its parent's processors and memory nodes. */
static void copy_from_parent(int group, const char *file)
{
	char parent[64], value[4096];
	snprintf(parent, sizeof(parent), "../%s", file);
	int from = openat(group, parent, O_RDONLY | O_CLOEXEC), to = openat(group, file, O_WRONLY | O_CLOEXEC);
	if (from < 0 || to < 0) /* Not a cpuset. */
		return;
	ssize_t length = read(from, value, sizeof(value));
	check(length, parent);
	check(write(to, value, (size_t)length), file);
	close(from);
	close(to);
}

/* The layers' own leftovers: `work/work` (and for a volatile mount `work/work/incompat/volatile`). */
static void remove_scratch(const char *directory)
{
	static const char *const inside[] = {"upper", "work/work/incompat/volatile", "work/work/incompat", "work/work", "work/index", "work"};
	int at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(at, "open scratch");
	if (unlinkat(at, "work/work/incompat/volatile/dirty", 0) < 0 && errno != ENOENT)
		die("remove the mark of the volatile mount");
	for (size_t i = 0; i < sizeof(inside) / sizeof(*inside); i++)
		if (unlinkat(at, inside[i], AT_REMOVEDIR) < 0 && errno != ENOENT)
			die(inside[i]);
	close(at);
	check(rmdir(directory), directory);
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc - 4 > CGROUPS_MAX)
		return 125;
	const char *lower = argv[1];
	char *program = argv[3];
	int count = argc - 4, tasks[CGROUPS_MAX], into = -1;
	char scratch[256], upper[300], work[300], groups[CGROUPS_MAX][300];

	snprintf(scratch, sizeof(scratch), "%s/%d", argv[2], getpid());
	snprintf(upper, sizeof(upper), "%s/upper", scratch);
	snprintf(work, sizeof(work), "%s/work", scratch);
	check(mkdir(scratch, 0700), scratch);
	check(mkdir(upper, 0755), upper);
	check(mkdir(work, 0755), work);

	struct statfs fs;
	int is_v2 = count == 1 && statfs(argv[4], &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
	for (int i = 0; i < count; i++) {
		snprintf(groups[i], sizeof(groups[i]), "%s/floor-%d", argv[4 + i], getpid());
		check(mkdir(groups[i], 0755), groups[i]);
		int group = open(groups[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		check(group, groups[i]);
		if (is_v2) {
			into = group;
			continue;
		}
		if (strstr(groups[i], "cpuset") != NULL) {
			copy_from_parent(group, "cpuset.cpus");
			copy_from_parent(group, "cpuset.mems");
		}
		tasks[i] = openat(group, "tasks", O_WRONLY | O_CLOEXEC);
		check(tasks[i], "open tasks");
		close(group);
	}

	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC,
		.exit_signal = SIGCHLD,
	};
	if (is_v2) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)into;
	}
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	check(pid, "clone3");
	if (pid == 0)
		child(program, lower, upper, work, tasks, is_v2 ? 0 : count);

	int status;
	check(waitpid((pid_t)pid, &status, 0), "wait");
	for (int i = 0; i < count; i++)
		check(rmdir(groups[i]), groups[i]);
	remove_scratch(scratch);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
