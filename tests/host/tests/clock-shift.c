/* For the case that sets the clocks: what every process that is started with it (ld.so.preload)
 * reads from its clocks is shifted by the seconds in /run/clock-shift: REALTIME BOOTTIME.
 * CLOCK_MONOTONIC goes on as it does: that is a machine after a sleep, or after `date --set`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long shift(int which) {
    char text[64] = "", *end = text;
    int kept = errno, file = syscall(SYS_openat, AT_FDCWD, "/run/clock-shift", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        syscall(SYS_read, file, text, sizeof text - 1);
        syscall(SYS_close, file);
    }
    errno = kept;
    long real = strtol(text, &end, 10), boot = strtol(end, NULL, 10);
    return which ? boot : real;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int ended = syscall(SYS_clock_gettime, clock, now);
    if (ended == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += shift(0);
    if (ended == 0 && clock == CLOCK_BOOTTIME)
        now->tv_sec += shift(1);
    return ended;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}
