/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ERROR_TEXT 256
#define PATH_TEXT  512

static int look_up(const char *user, uid_t *uid, gid_t *gid, char *error)
{
	struct passwd *found;

	errno = 0;
	found = getpwnam(user);
	if (!found) {
		int code = errno ? errno : ENOENT;

		snprintf(error, ERROR_TEXT, "user %.64s: %s", user,
			 errno ? strerror(errno) : "does not exist");
		return -code;
	}
	*uid = found->pw_uid;
	*gid = found->pw_gid;
	return 0;
}

static int fail(char *error, const char *what, const char *path)
{
	int code = errno;

	snprintf(error, ERROR_TEXT, "%s %.160s: %s", what, path, strerror(code));
	return -code;
}

/* The path without slashes at its end. @return its length, or negative errno */
static int copy_path(const char *path, char *out, char *error)
{
	size_t length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		length--;
	if (length >= PATH_TEXT) {
		errno = ENAMETOOLONG;
		return fail(error, "directory", path);
	}
	memcpy(out, path, length);
	out[length] = '\0';
	return (int)length;
}

/* @return 1 the last directory was made, 0 it was there, or negative errno */
static int make_directories(const char *path, size_t length, char *error)
{
	char partial[PATH_TEXT];
	int made = 0;

	for (size_t i = 1; i <= length; i++) {
		/* The caller ends it at length, which the analyzer does not see. */
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(partial, path, i);
		partial[i] = '\0';
		made = mkdir(partial, 0755) == 0;
		if (!made && errno != EEXIST)
			return fail(error, "cannot make directory", partial);
	}
	return made;
}

int privileges_prepare_directory(const char *path, const char *user, bool ours, char *error)
{
	char clean[PATH_TEXT];
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	struct stat st;
	int length = copy_path(path, clean, error), made;

	if (length < 0)
		return length;
	if (user[0] && geteuid() == 0) {
		int code = look_up(user, &uid, &gid, error);

		if (code < 0)
			return code;
	}
	made = make_directories(clean, (size_t)length, error);
	if (made < 0)
		return made;
	if (stat(clean, &st) < 0)
		return fail(error, "directory", clean);
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return fail(error, "directory", clean);
	}
	/* What was there already keeps its owner, but for a directory that is ours alone and that
	 * root made: /run or /var/log, where only a file of ours lies, belong to the system. */
	if (uid != (uid_t)-1 && (made || (ours && st.st_uid == 0)) && chown(clean, uid, gid) < 0)
		return fail(error, "cannot give away directory", clean);
	if (made && chmod(clean, 0750) < 0)
		return fail(error, "cannot protect directory", clean);
	return 0;
}

int privileges_drop(const char *user, char *error)
{
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	int code;

	if (!user[0] || geteuid() != 0)
		return 0;
	code = look_up(user, &uid, &gid, error);
	if (code < 0)
		return code;
	if (initgroups(user, gid) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return fail(error, "cannot become user", user);
	if (setuid(0) == 0) {
		errno = EPERM;
		return fail(error, "root was not given away for user", user);
	}
	/* A change of identity forbids core dumps; operators need them. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

int privileges_filter_system_calls(char *error)
{
	static const int denied[] = {
		SCMP_SYS(execve),
		SCMP_SYS(execveat),
		SCMP_SYS(fork),
		SCMP_SYS(vfork),
		SCMP_SYS(ptrace),
		SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev),
		SCMP_SYS(mount),
		SCMP_SYS(umount2),
		SCMP_SYS(pivot_root),
		SCMP_SYS(chroot),
		SCMP_SYS(setns),
		SCMP_SYS(unshare),
		SCMP_SYS(init_module),
		SCMP_SYS(finit_module),
		SCMP_SYS(delete_module),
		SCMP_SYS(kexec_load),
		SCMP_SYS(kexec_file_load),
		SCMP_SYS(reboot),
		SCMP_SYS(swapon),
		SCMP_SYS(swapoff),
		SCMP_SYS(bpf),
		SCMP_SYS(perf_event_open),
		SCMP_SYS(userfaultfd),
		SCMP_SYS(keyctl),
		SCMP_SYS(add_key),
		SCMP_SYS(request_key),
		SCMP_SYS(setuid),
		SCMP_SYS(setgid),
		SCMP_SYS(setresuid),
		SCMP_SYS(setresgid),
		SCMP_SYS(setreuid),
		SCMP_SYS(setregid),
		SCMP_SYS(setgroups),
		SCMP_SYS(open_by_handle_at),
		SCMP_SYS(settimeofday),
		SCMP_SYS(clock_settime),
		SCMP_SYS(sethostname),
		SCMP_SYS(setdomainname),
		SCMP_SYS(acct),
		SCMP_SYS(quotactl),
		SCMP_SYS(iopl),
		SCMP_SYS(ioperm),
		SCMP_SYS(personality),
		SCMP_SYS(modify_ldt),
	};
	scmp_filter_ctx filter;
	int code = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

	filter = seccomp_init(SCMP_ACT_ALLOW);
	if (code < 0 || !filter) {
		errno = errno ? errno : ENOMEM;
		return fail(error, "system call filter", "cannot be made");
	}
	code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; code == 0 && i < sizeof(denied) / sizeof(denied[0]); i++)
		code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
	if (code == 0)
		code = seccomp_load(filter);
	seccomp_release(filter);
	if (code < 0) {
		errno = -code;
		return fail(error, "system call filter", "was not taken");
	}
	return 0;
}
