/* A resolver that knows one name, in front of the system's: where CPython's tests replace loop.getaddrinfo. Include it first. */
#ifndef CPYTHON_RESOLVER_H
#define CPYTHON_RESOLVER_H
#define _GNU_SOURCE
#include <dlfcn.h>
#include "cpython_io.h"
#include <netdb.h>

/* What it answers when it is asked for that host ("": for none) and service: these addresses, which may be none. asked: how. */
enum { RESOLVED = 4 };
static struct {
    const char *host, *service, *addresses[RESOLVED];
    int count, port;
    struct addrinfo asked;
} resolver;

typedef int GetAddrInfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef void FreeAddrInfo(struct addrinfo *);
static struct addrinfo resolved[RESOLVED];
static union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } resolved_to[RESOLVED];

static struct addrinfo *resolver_answer(const struct addrinfo *hints)
{
    memset(resolved_to, 0, sizeof resolved_to);
    for (int i = 0; i < resolver.count; i++) {
        bool v6 = strchr(resolver.addresses[i], ':');
        resolved_to[i].any.sa_family = v6 ? AF_INET6 : AF_INET;
        *(v6 ? &resolved_to[i].v6.sin6_port : &resolved_to[i].v4.sin_port) = htons((uint16_t)resolver.port);
        inet_pton(resolved_to[i].any.sa_family, resolver.addresses[i], v6 ? (void *)&resolved_to[i].v6.sin6_addr : &resolved_to[i].v4.sin_addr);
        resolved[i] = (struct addrinfo){.ai_family = resolved_to[i].any.sa_family, .ai_socktype = hints->ai_socktype,
                                        .ai_addr = &resolved_to[i].any, .ai_addrlen = v6 ? sizeof resolved_to[i].v6 : sizeof resolved_to[i].v4,
                                        .ai_next = i + 1 < resolver.count ? &resolved[i + 1] : NULL};
    }
    return resolver.count ? resolved : NULL;
}

int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict hints, struct addrinfo **restrict info)
{
    bool known = resolver.host && !strcmp(host ? host : "", resolver.host);
    if (!known || (resolver.service && strcmp(service, resolver.service)))
        return ((GetAddrInfo *)dlsym(RTLD_NEXT, "getaddrinfo"))(host, service, hints, info);
    resolver.asked = *hints;
    *info = resolver_answer(hints);
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    if (info && info != resolved) ((FreeAddrInfo *)dlsym(RTLD_NEXT, "freeaddrinfo"))(info);
}

#define resolves(name, number, ...) \
    (resolver.host = name, resolver.port = number, \
     resolver.count = sizeof((const char *[]){NULL, ##__VA_ARGS__}) / sizeof(char *) - 1, \
     memcpy(resolver.addresses, (const char *[]){NULL, ##__VA_ARGS__} + 1, (size_t)resolver.count * sizeof(char *)))

#endif
