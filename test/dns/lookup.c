// Prints the addresses of a name as the C library finds them, one a line.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  struct addrinfo hints, *list, *entry;
  char text[INET6_ADDRSTRLEN];
  if (argc != 2) return 2;
  memset(&hints, 0, sizeof hints);
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(argv[1], NULL, &hints, &list) != 0) return 0;
  for (entry = list; entry; entry = entry->ai_next) {
    const void *address = entry->ai_family == AF_INET
      ? (const void *)&((struct sockaddr_in *)entry->ai_addr)->sin_addr
      : (const void *)&((struct sockaddr_in6 *)entry->ai_addr)->sin6_addr;
    puts(inet_ntop(entry->ai_family, address, text, sizeof text));
  }
  return 0;
}
