// Executes CNI plugins as a container runtime does, and says how long each took. In C, because a
// process that measures others must itself cost nothing: from Node a spawn takes longer than the
// launcher lives.
//
//   runner run CONCURRENCY COMMAND CNI_PATH PLUGIN=CONF[,PLUGIN=CONF…] ID…
//     Prints "ID STARTED ENDED CPU" for each, in microseconds, when all have ended. In a configuration
//     `"@prevResult@"` is replaced by what the plugin before it in a chain printed, and `"@port@"` by a
//     port of the attachment's own: 20000 and the number at the end of its ID.
//   runner nothing             ends at once: what a process costs
//   runner serve SOCKET        answers every launcher with an empty success
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX 8
#define OUTPUT_MAX 65536
#define CONF_MAX 16384
#define CONCURRENCY_MAX 256

struct step { const char *plugin; char conf[CONF_MAX]; };
struct job { const char *id; int64_t started_us, ended_us, cpu_us; };

static struct step steps[STEPS_MAX];
static int step_count, job_count;
static struct job *jobs;
static const char *command, *cni_path;
static int next_job;

static _Noreturn void fail(const char *what) {
	perror(what);
	exit(1);
}

static int64_t now_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t micros(struct timeval time) {
	return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

static void write_all(int fd, const char *from, size_t length) {
	if (write(fd, from, length) != (ssize_t)length) fail("write");
}

// The configuration as a file to be standard input: no writer is needed while the plugin runs.
static int open_input(const struct step *step, const char *id, const char *previous) {
	int fd = memfd_create("conf", MFD_CLOEXEC);
	if (fd < 0) fail("memfd_create");
	const char *digits = id + strlen(id), *from = step->conf, *at;
	while (digits > id && digits[-1] >= '0' && digits[-1] <= '9') digits--;
	while ((at = strstr(from, "\"@")) != NULL) {
		write_all(fd, from, (size_t)(at - from));
		const char *end = strchr(at + 1, '"') + 1;
		if (strncmp(at, "\"@port@", 7) == 0) dprintf(fd, "%d", 20000 + atoi(digits));
		else write_all(fd, previous, strlen(previous));
		from = end;
	}
	write_all(fd, from, strlen(from));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int64_t run_step(const struct step *step, const char *id, char *output) {
	char verb[64], container[300], netns[300], path[600];
	snprintf(verb, sizeof verb, "CNI_COMMAND=%s", command);
	snprintf(container, sizeof container, "CNI_CONTAINERID=%s", id);
	snprintf(netns, sizeof netns, "CNI_NETNS=/run/netns/%s", id);
	snprintf(path, sizeof path, "CNI_PATH=%s", cni_path);
	char *environment[] = {verb, container, netns, path, "CNI_IFNAME=eth0",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL, NULL};
	char socket_variable[300];
	if (getenv("FAIRLEAD_SOCKET") != NULL) {
		snprintf(socket_variable, sizeof socket_variable, "FAIRLEAD_SOCKET=%s",
			getenv("FAIRLEAD_SOCKET"));
		environment[6] = socket_variable;
	}
	int input = open_input(step, id, output), ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	pid_t pid;
	char *arguments[] = {(char *)step->plugin, "nothing", NULL};
	if (posix_spawn(&pid, step->plugin, &actions, NULL, arguments, environment) != 0) {
		fail(step->plugin);
	}
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	close(input);
	size_t length = 0;
	ssize_t count;
	while ((count = read(ends[0], output + length, OUTPUT_MAX - 1 - length)) > 0) length += count;
	output[length] = '\0';
	close(ends[0]);
	int status;
	struct rusage usage;
	if (wait4(pid, &status, 0, &usage) != pid) fail("wait4");
	if (status != 0) {
		fprintf(stderr, "%s %s %s failed: %s\n", step->plugin, command, id, output);
		exit(1);
	}
	return micros(usage.ru_utime) + micros(usage.ru_stime);
}

static void *work(void *unused) {
	(void)unused;
	char *output = malloc(OUTPUT_MAX);
	for (;;) {
		int index = __atomic_fetch_add(&next_job, 1, __ATOMIC_RELAXED);
		if (index >= job_count) break;
		struct job *job = &jobs[index];
		job->started_us = now_us();
		strcpy(output, "null");
		for (int i = 0; i < step_count; i++) {
			// A runtime goes through a chain backwards to remove it.
			int at = strcmp(command, "DEL") == 0 ? step_count - 1 - i : i;
			job->cpu_us += run_step(&steps[at], job->id, output);
			if (strcmp(command, "DEL") == 0) strcpy(output, "null");
		}
		job->ended_us = now_us();
	}
	free(output);
	return NULL;
}

static void read_steps(char *text) {
	for (char *rest = text, *entry; (entry = strsep(&rest, ",")) != NULL; step_count++) {
		if (step_count == STEPS_MAX) exit(2);
		struct step *step = &steps[step_count];
		step->plugin = strsep(&entry, "=");
		FILE *file = fopen(entry, "r");
		if (file == NULL) fail(entry);
		step->conf[fread(step->conf, 1, CONF_MAX - 1, file)] = '\0';
		fclose(file);
	}
}

static int run(int concurrency, char **ids) {
	jobs = calloc((size_t)job_count, sizeof *jobs);
	for (int i = 0; i < job_count; i++) jobs[i].id = ids[i];
	pthread_t threads[CONCURRENCY_MAX];
	if (concurrency > CONCURRENCY_MAX) return 2;
	if (concurrency > job_count) concurrency = job_count;
	for (int i = 0; i < concurrency; i++) {
		if (pthread_create(&threads[i], NULL, work, NULL) != 0) fail("pthread_create");
	}
	for (int i = 0; i < concurrency; i++) pthread_join(threads[i], NULL);
	for (int i = 0; i < job_count; i++) {
		printf("%s %lld %lld %lld\n", jobs[i].id, (long long)jobs[i].started_us,
			(long long)jobs[i].ended_us, (long long)jobs[i].cpu_us);
	}
	return 0;
}

static int serve(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail(path);
	if (listen(listener, 1024) != 0) fail("listen");
	static char request[65536];
	static const char reply[20] = "FLrp";
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0) continue;
		if (read(fd, request, sizeof request) > 0 && write(fd, reply, sizeof reply) < 0) continue;
		close(fd);
	}
}

int main(int argc, char **argv) {
	if (argc == 2 && strcmp(argv[1], "nothing") == 0) return 0;
	if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(argv[2]);
	if (argc < 7 || strcmp(argv[1], "run") != 0) return 2;
	command = argv[3];
	cni_path = argv[4];
	read_steps(argv[5]);
	job_count = argc - 6;
	return run(atoi(argv[2]), argv + 6);
}
