// Traffic between two network namespaces, both ends on one processor: what is measured is the work that
// a packet's way costs, not how soon another processor wakes up.
//
//   traffic serve PORT CPU                             answers one connection after the other
//   traffic rr|crr|stream ADDRESS PORT CPU MS SERVER   SERVER: pid of `serve`, for its CPU time
//
// A stream is sent in blocks, the next one when all of the one before has arrived. Without a pause the rate
// is that of how the two ends take turns on their processor, and of how much lies between them: by chance a
// megabyte that fell out of the processor's cache, or a piece that did not, twice as quick over the same way.
// In blocks everybody has the same number of packets, acknowledgements and turns.
//
// Prints: operations, octets of all, CPU ns of both ends and of the processor's softirq thread, median ns,
// 99th percentile ns of one operation: a request, a connection, a block.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// A block fits into a processor's second cache, as it lies in both ends' buffers and on its way.
enum { max_samples = 1 << 20, block = 256 << 10, warm_up = 100, waiting = 4 * block, patience_s = 5 };

static char buffer[block];
static uint32_t samples[max_samples];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

// Nanoseconds that a process ran: the first figure of its schedstat.
static uint64_t cpu_of(long pid) {
  char path[64];
  unsigned long long ran = 0;
  snprintf(path, sizeof path, "/proc/%ld/schedstat", pid);
  FILE *file = fopen(path, "r");
  if (file == NULL || fscanf(file, "%llu", &ran) != 1) fail(path);
  fclose(file);
  return ran;
}

static long softirq_thread(int cpu) {
  char wanted[32], path[300], name[32];
  snprintf(wanted, sizeof wanted, "ksoftirqd/%d\n", cpu);
  DIR *proc = opendir("/proc");
  if (proc == NULL) fail("/proc");
  long found = 0;
  for (struct dirent *entry; found == 0 && (entry = readdir(proc)) != NULL;) {
    snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
    FILE *file = fopen(path, "r");
    if (file == NULL) continue;
    if (fgets(name, sizeof name, file) != NULL && strcmp(name, wanted) == 0) {
      found = atol(entry->d_name);
    }
    fclose(file);
  }
  closedir(proc);
  return found;
}

static void prepare(int fd) {
  int one = 1;
  // One that every kernel has, and that sends what it can: the machine's may pace (BBR).
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) != 0) fail("TCP_CONGESTION");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// Room for a block, the same for everyone, and before the first packet says how much may come.
static void make_room(int fd) {
  // The kernel doubles it, for what packets take beside their octets.
  int octets = waiting;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &octets, sizeof octets) != 0) fail("SO_SNDBUFFORCE");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets) != 0) fail("SO_RCVBUFFORCE");
}

// As soon as so many octets are there, and not for fewer: one turn a block. False at the end. (A read
// that waits by itself would sleep on where the rest is less than what wakes it.)
static int receive(int fd, size_t octets) {
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  for (size_t missing = octets; missing > 0;) {
    int least = (int)missing;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least) != 0) fail("SO_RCVLOWAT");
    if (poll(&wait, 1, -1) < 0) fail("poll");
    ssize_t n = recv(fd, buffer, missing, 0);
    if (n <= 0) return 0;
    missing -= (size_t)n;
  }
  return 1;
}

static void serve(int port) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  make_room(listener);
  if (bind(listener, (void *)&address, sizeof address) != 0) fail("bind");
  if (listen(listener, 64) != 0) fail("listen");
  puts("ready");
  fflush(stdout);
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    prepare(fd);
    // A request is answered by its octet; an S says that blocks follow, each answered by one.
    char octet = 0;
    while (octet != 'S' && recv(fd, &octet, 1, 0) == 1) {
      if (send(fd, &octet, 1, MSG_NOSIGNAL) < 0) break;
    }
    while (octet == 'S' && receive(fd, block)) {
      if (send(fd, &octet, 1, MSG_NOSIGNAL) < 0) break;
    }
    close(fd);
  }
}

static int connected(const struct sockaddr_in *to) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd >= 0) make_room(fd);
  struct timeval patience = {.tv_sec = patience_s};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (fd < 0 || connect(fd, (const void *)to, sizeof *to) != 0) fail("connect");
  return fd;
}

static void request(int fd, size_t octets) {
  char answer;
  if (send(fd, buffer, octets, MSG_NOSIGNAL) != (ssize_t)octets) fail("send");
  if (recv(fd, &answer, 1, 0) != 1) fail("recv");
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  if (count == 4 && strcmp(words[1], "serve") == 0) {
    pin(atoi(words[3]));
    serve(atoi(words[2]));
  }
  if (count != 7) return 2;
  const char *kind = words[1];
  int isStream = strcmp(kind, "stream") == 0, isConnecting = strcmp(kind, "crr") == 0;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[3]))};
  if (inet_pton(AF_INET, words[2], &to.sin_addr) != 1) return 2;
  int cpu = atoi(words[4]);
  uint64_t duration = strtoull(words[5], NULL, 10) * 1000000u;
  long pids[] = {atol(words[6]), softirq_thread(cpu), getpid()};
  pin(cpu);
  memset(buffer, isStream ? 'S' : 'R', sizeof buffer);
  size_t octets = isStream ? block : 1;

  int fd = isConnecting ? -1 : connected(&to);
  if (fd >= 0) prepare(fd);
  if (isStream) request(fd, 1);
  uint64_t operations = 0, ran = 0;
  uint64_t last = 0, until = UINT64_MAX;
  for (uint64_t i = 0; last < until && operations < max_samples; i++) {
    if (i == warm_up) {
      for (int p = 0; p < 3; p++) ran -= cpu_of(pids[p]);
      last = now();
      until = last + duration;
    }
    if (isConnecting) {
      fd = connected(&to);
      request(fd, octets);
      close(fd);
    } else {
      request(fd, octets);
    }
    if (i < warm_up) continue;
    uint64_t t = now();
    samples[operations++] = (uint32_t)(t - last);
    last = t;
  }
  for (int p = 0; p < 3; p++) ran += cpu_of(pids[p]);
  qsort(samples, operations, sizeof samples[0], ascending);
  printf("%llu %llu %llu %u %u\n", (unsigned long long)operations,
         (unsigned long long)(operations * octets), (unsigned long long)ran,
         samples[operations / 2], samples[operations * 99 / 100]);
  return 0;
}
