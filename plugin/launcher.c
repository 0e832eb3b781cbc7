// The file that container runtimes execute as the CNI plugin `fairlead`. It hands the request, as it
// came, to the daemon's socket and prints the reply; where there is no daemon it becomes the Node
// program that serves the same request alone. As `fairlead-ipam`, or `host-local`, whose place it
// can take, it does the same for the IPAM plugin.
//
// It is small on purpose, because it starts for every request: it knows the frames of
// core/cni/launcher-protocol.ts and nothing of what is in them. Requests may be repeated (the CNI
// specification has it so, and the daemon keeps to it), so whatever breaks before a whole reply is
// there, the request is simply made again.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// A test compiles its own launcher with shorter ones.
#ifndef DEADLINE_MS
#define DEADLINE_MS 20000 // for everything, then error 11
#endif
#ifndef RETRY_MS
#define RETRY_MS 1000
#endif
#define RETRY_PAUSE_MS 10

#define SOCKET_PATH "/run/fairlead/cni.sock"
#define PROTOCOL_VERSION 1
#define HEADER_LENGTH 20
#define ENVIRONMENT_MAX (2 * 1024 * 1024)
#define STDIN_MAX (1024 * 1024)
#define STDOUT_MAX (4 * 1024 * 1024)
#define STDERR_MAX (1024 * 1024)

enum reply_kind { REPLY_DONE = 0, REPLY_RUN_LOCALLY = 1 };
enum outcome { ANSWERED, RUN_LOCALLY, BROKEN, TOO_LATE };

// What it is, by the name that it is called by.
struct program {
	const char *magic; // of its requests; a daemon that does not know it just closes the connection
	const char *script;
	int64_t retry_ms; // for a daemon that is restarting
	bool needs_sandbox;
};
static const struct program plugin_program = {"FLrq", "plugin.js", RETRY_MS, true};
// Leases are files under a lock, which need no daemon: it is asked because it is faster, once.
static const struct program ipam_program = {"FLip", "ipam.js", 0, false};
static const struct program *program = &plugin_program;

// In bss: only the pages that are used cost anything. One octet more than allowed, so that too much
// is noticed: of standard input by the Node program, of a reply here.
static uint8_t request[HEADER_LENGTH + ENVIRONMENT_MAX + STDIN_MAX + 1];
static uint8_t reply[HEADER_LENGTH + STDOUT_MAX + STDERR_MAX + 1];
static size_t reply_length;

static uint8_t *input; // standard input, within the request
static size_t input_length;
static bool input_taken; // something was read: the Node program must get it again

static int64_t deadline_ms;
static struct sigaction inherited_sigpipe;

// `fairlead install` writes the home after the marker (core/cni/launcher-home.ts). Volatile, because
// the compiler must not know that it is empty.
#define HOME_SLOT_LENGTH 512
static const volatile char home_slot[19 + HOME_SLOT_LENGTH] = "FAIRLEAD-HOME-SLOT:";

static int64_t now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *variable(const char *name) {
	const char *value = getenv(name);
	return value == NULL ? "" : value;
}

// Waits until the descriptor is ready, or the deadline: false.
static bool wait_for(int fd, short events) {
	for (;;) {
		int64_t left = deadline_ms - now_ms();
		if (left <= 0) return false;
		struct pollfd poll_fd = {.fd = fd, .events = events};
		int ready = poll(&poll_fd, 1, (int)left);
		if (ready > 0) return true;
		if (ready < 0 && errno != EINTR) return false;
	}
}

static bool write_all(int fd, const void *data, size_t length) {
	const uint8_t *from = data;
	while (length > 0) {
		ssize_t written = write(fd, from, length);
		if (written >= 0) {
			from += written;
			length -= (size_t)written;
		} else if (errno == EAGAIN) {
			if (!wait_for(fd, POLLOUT)) return false;
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

// The error object, and the end. `message` is a fixed text without anything to escape.
static _Noreturn void fail_with(int code, const char *message) {
	char text[512];
	int length = snprintf(text, sizeof text,
		"{\n    \"cniVersion\": \"1.1.0\",\n    \"code\": %d,\n    \"msg\": \"%s\"\n}", code, message);
	deadline_ms = now_ms() + 1000; // to say so
	write_all(STDOUT_FILENO, text, (size_t)length);
	exit(1);
}

// STATUS has a code of its own for "cannot serve" (50); for the rest it is "try again later" (11).
static _Noreturn void fail(const char *message) {
	fail_with(strcmp(variable("CNI_COMMAND"), "STATUS") == 0 ? 50 : 11, message);
}

// Were one of the three closed, the next file opened would take its place. Node does the same.
static void open_standard_streams(void) {
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0) continue;
		if (open("/dev/null", O_RDWR) != fd) exit(1);
	}
}

// ---- The home -----------------------------------------------------------------------------------

// `lib` beside the directory of the launcher: where `./run build` puts it.
static bool home_beside_launcher(char *home, size_t size) {
	char path[4096], probe[4200];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
	if (length <= 0) return false;
	path[length] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(path, '/');
		if (slash == NULL) return false;
		*slash = '\0';
	}
	snprintf(probe, sizeof probe, "%s/lib/node", path);
	if (access(probe, X_OK) != 0) return false;
	return snprintf(home, size, "%s/lib", path) < (int)size;
}

static bool find_home(char *home, size_t size) {
	const char *given = variable("FAIRLEAD_HOME");
	if (*given != '\0') return snprintf(home, size, "%s", given) < (int)size;
	if (home_beside_launcher(home, size)) return true;
	size_t start = sizeof home_slot - HOME_SLOT_LENGTH, i = 0;
	while (i < HOME_SLOT_LENGTH && i < size - 1 && home_slot[start + i] != '\0') {
		home[i] = home_slot[start + i];
		i++;
	}
	home[i] = '\0';
	return i > 0;
}

// Standard input, as far as it was read, becomes standard input again.
static void give_back_input(void) {
	int fd = memfd_create("stdin", MFD_CLOEXEC);
	if (fd < 0 || !write_all(fd, input, input_length) || lseek(fd, 0, SEEK_SET) != 0 ||
		dup2(fd, STDIN_FILENO) < 0) {
		fail("Cannot keep the request for fairlead without its daemon");
	}
}

// Becomes the Node program. All descriptors of ours are closed by exec.
static _Noreturn void run_locally(void) {
	char home[4096], node[4200], script[4200];
	if (!find_home(home, sizeof home)) {
		fail("Cannot reach the fairlead daemon, nor find fairlead's own runtime: is it installed?");
	}
	snprintf(node, sizeof node, "%s/node", home);
	snprintf(script, sizeof script, "%s/%s", home, program->script);
	if (input_taken) give_back_input();
	sigaction(SIGPIPE, &inherited_sigpipe, NULL);
	execve(node, (char *[]){node, script, NULL}, environ);
	dprintf(STDERR_FILENO, "fairlead: cannot run %s: %s\n", node, strerror(errno));
	fail("Cannot reach the fairlead daemon, nor run fairlead's own runtime");
}

// ---- The request --------------------------------------------------------------------------------

static void put_u32(uint8_t *at, uint32_t value) {
	for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at) {
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

// The environment as execve has it. False: more than the protocol takes.
static bool put_environment(size_t *length) {
	uint8_t *block = request + HEADER_LENGTH;
	*length = 0;
	for (char **entry = environ; *entry != NULL; entry++) {
		size_t size = strlen(*entry) + 1;
		if (size > ENVIRONMENT_MAX - *length) return false;
		memcpy(block + *length, *entry, size);
		*length += size;
	}
	return true;
}

// All of standard input. False: more than the protocol takes, or nothing that can be read; either is
// for the Node program to report.
static bool take_input(void) {
	while (input_length <= STDIN_MAX) {
		if (!wait_for(STDIN_FILENO, POLLIN)) {
			fail("Cannot read the request: standard input did not end in time");
		}
		ssize_t count = read(STDIN_FILENO, input + input_length, STDIN_MAX + 1 - input_length);
		if (count == 0) {
			input_taken = true;
			return true;
		}
		if (count > 0) {
			input_taken = true;
			input_length += (size_t)count;
		} else if (errno != EINTR && errno != EAGAIN) {
			if (input_taken) fail_with(5, "Cannot read standard input to its end");
			return false;
		}
	}
	return false;
}

// The sandbox, opened here, because the path means something in our mount namespace only. -1: there
// is none, which is for the daemon to judge. False: it cannot be opened for another reason, which the
// Node program will find for itself.
static bool open_sandbox(int *fd) {
	const char *path = program->needs_sandbox ? variable("CNI_NETNS") : "";
	*fd = *path == '\0' ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return *fd >= 0 || *path == '\0' || errno == ENOENT;
}

// ---- The daemon ---------------------------------------------------------------------------------

static int connect_to_daemon(void) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = variable("FAIRLEAD_SOCKET");
	if (*path == '\0') path = SOCKET_PATH;
	if (strlen(path) >= sizeof address.sun_path) return -1;
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
	close(fd);
	return -1;
}

static enum outcome send_request(int fd, size_t length) {
	for (size_t sent = 0; sent < length;) {
		ssize_t count = send(fd, request + sent, length - sent, MSG_NOSIGNAL);
		if (count >= 0) sent += (size_t)count;
		else if (errno == EAGAIN) {
			if (!wait_for(fd, POLLOUT)) return TOO_LATE;
		} else if (errno != EINTR) return BROKEN;
	}
	return ANSWERED;
}

// The length that the reply's header gives; 0 while there is no header.
static size_t announced_length(void) {
	if (reply_length < HEADER_LENGTH) return 0;
	return HEADER_LENGTH + (size_t)get_u32(reply + 12) + get_u32(reply + 16);
}

// Exactly one reply. The end of the connection, which the daemon closes then, is not waited for.
static enum outcome receive_reply(int fd) {
	reply_length = 0;
	while (reply_length == 0 || reply_length != announced_length()) {
		ssize_t count = recv(fd, reply + reply_length, sizeof reply - reply_length, 0);
		if (count == 0) break;
		if (count > 0) {
			reply_length += (size_t)count;
			if (reply_length == sizeof reply) return BROKEN;
		} else if (errno == EAGAIN) {
			if (!wait_for(fd, POLLIN)) return TOO_LATE;
		} else if (errno != EINTR) return BROKEN;
	}
	if (reply_length < HEADER_LENGTH || memcmp(reply, "FLrp", 4) != 0) return BROKEN;
	uint32_t stdout_length = get_u32(reply + 12), stderr_length = get_u32(reply + 16);
	if (stdout_length > STDOUT_MAX || stderr_length > STDERR_MAX) return BROKEN;
	if (reply_length != HEADER_LENGTH + stdout_length + stderr_length) return BROKEN;
	switch (get_u32(reply + 4)) {
	case REPLY_DONE: return ANSWERED;
	case REPLY_RUN_LOCALLY: return RUN_LOCALLY;
	default: return BROKEN;
	}
}

static enum outcome ask_daemon(size_t length) {
	int fd = connect_to_daemon();
	if (fd < 0) return BROKEN;
	enum outcome outcome = send_request(fd, length);
	if (outcome == ANSWERED) outcome = receive_reply(fd);
	close(fd);
	return outcome;
}

static enum outcome ask_daemon_repeatedly(size_t length) {
	int64_t give_up_ms = now_ms() + program->retry_ms;
	for (;;) {
		enum outcome outcome = ask_daemon(length);
		if (outcome != BROKEN || now_ms() >= give_up_ms) return outcome;
		nanosleep(&(struct timespec){.tv_nsec = RETRY_PAUSE_MS * 1000000L}, NULL);
	}
}

static _Noreturn void print_reply(void) {
	uint32_t stdout_length = get_u32(reply + 12), stderr_length = get_u32(reply + 16);
	const uint8_t *out = reply + HEADER_LENGTH, *err = out + stdout_length;
	write_all(STDERR_FILENO, err, stderr_length);
	// A result that nobody got is no success.
	exit(write_all(STDOUT_FILENO, out, stdout_length) ? (int)get_u32(reply + 8) : 1);
}

static bool is_ipam(const char *called_as) {
	const char *slash = strrchr(called_as, '/');
	const char *name = slash == NULL ? called_as : slash + 1;
	return strcmp(name, "fairlead-ipam") == 0 || strcmp(name, "host-local") == 0;
}

int main(int argc, char **argv) {
	deadline_ms = now_ms() + DEADLINE_MS;
	open_standard_streams();
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &inherited_sigpipe);

	if (argc > 0 && is_ipam(argv[0])) program = &ipam_program;
	// What needs no daemon. VERSION must echo a version out of JSON, which is not read here.
	const char *command = variable("CNI_COMMAND");
	if (*command == '\0' || strcmp(command, "VERSION") == 0) run_locally();

	size_t environment_length;
	if (!put_environment(&environment_length)) run_locally();
	input = request + HEADER_LENGTH + environment_length;
	if (!take_input()) run_locally();
	int sandbox;
	if (!open_sandbox(&sandbox)) run_locally();

	memcpy(request, program->magic, 4);
	put_u32(request + 4, PROTOCOL_VERSION);
	put_u32(request + 8, (uint32_t)sandbox);
	put_u32(request + 12, (uint32_t)environment_length);
	put_u32(request + 16, (uint32_t)input_length);

	switch (ask_daemon_repeatedly(HEADER_LENGTH + environment_length + input_length)) {
	case ANSWERED: print_reply();
	case TOO_LATE: fail("Cannot get an answer of the fairlead daemon in time");
	case RUN_LOCALLY:
	case BROKEN: run_locally();
	}
}
