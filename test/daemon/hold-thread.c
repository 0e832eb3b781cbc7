// Holds one thread of a process still, and lets all its others run, until standard input ends:
// hold-thread THREAD-ID. Says "held" when it stands.
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char ignored;
  int status;
  if (argc != 2) return 2;
  pid_t thread = atoi(argv[1]);
  if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0 ||
      waitpid(thread, &status, __WALL) != thread) {
    perror("hold-thread");
    return 1;
  }
  if (write(1, "held\n", 5) != 5) return 1;
  while (read(0, &ignored, 1) > 0) {
  }
  // The kernel lets go of it when this process ends.
  return 0;
}
