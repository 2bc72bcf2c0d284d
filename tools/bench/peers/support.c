// Processes, ports, files and the system's figures, for the clients of other systems.
#define _GNU_SOURCE
#include "peer.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MAX = 512, WAIT_STEPS = 60000, STEP_MICROSECONDS = 1000 };

pid_t server;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (server) kill(server, SIGKILL);
    exit(1);
}

// ---------------------------------------------------------------------------------------------------------------------

static pid_t spawn(char *const arguments[], const char *user) {
    char log[4096];
    snprintf(log, sizeof log, "%s.log", settings.directory);
    struct passwd *account = user && geteuid() == 0 ? getpwnam(user) : NULL;
    pid_t parent = getpid(), child = fork();
    if (child < 0) fail("fork: %s", strerror(errno));
    if (child > 0) return child;
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644), input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (account && (setgid(account->pw_gid) != 0 || setuid(account->pw_uid) != 0)) _exit(126);
    // After the change of user, which takes this setting back.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    execvp(arguments[0], arguments);
    dprintf(STDERR_FILENO, "%s: %s\n", arguments[0], strerror(errno));
    _exit(127);
}

void start_server(char *const arguments[], const char *user) { server = spawn(arguments, user); }

void run_program(char *const arguments[], const char *user) {
    int status = 0;
    if (waitpid(spawn(arguments, user), &status, 0) < 0 || status != 0)
        fail("%s failed; %s.log says why", arguments[0], settings.directory);
}

/// The server and its children.
static int server_family(pid_t family[PROCESSES_MAX]) {
    int count = 0;
    if (!server) return 0;
    family[count++] = server;
    DIR *directory = opendir("/proc");
    for (struct dirent *entry; directory && count < PROCESSES_MAX && (entry = readdir(directory));) {
        char path[300], text[1024];
        int process = atoi(entry->d_name), parent = 0;
        if (process <= 0) continue;
        snprintf(path, sizeof path, "/proc/%d/stat", process);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        char *end = fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
        fclose(file);
        if (end && sscanf(end + 1, " %*c %d", &parent) == 1 && parent == server) family[count++] = process;
    }
    if (directory) closedir(directory);
    return count;
}

void stop_server(int signal) {
    pid_t family[PROCESSES_MAX];
    int count = server_family(family);
    if (!count) return;
    for (int i = 0; i < (signal == SIGKILL ? count : 1); i++) kill(family[i], signal);
    waitpid(server, NULL, 0);
    // The children are another process's now; they end by themselves.
    for (int i = 1; i < count; i++)
        for (int step = 0; step < 2000 && kill(family[i], 0) == 0; step++) usleep(STEP_MICROSECONDS);
    server = 0;
}

bool server_is_gone(void) { return server && waitpid(server, NULL, WNOHANG) == server; }

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
}

int free_port(void) {
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, size) != 0
        || getsockname(descriptor, (struct sockaddr *)&address, &size) != 0)
        fail("no port is free: %s", strerror(errno));
    close(descriptor);
    return ntohs(address.sin_port);
}

int connect_to(int port) {
    struct sockaddr_in address = loopback(port);
    for (int step = 0; step < WAIT_STEPS; step++) {
        int on = 1, descriptor = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0) {
            setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return descriptor;
        }
        close(descriptor);
        if (server_is_gone()) break;
        usleep(STEP_MICROSECONDS);
    }
    fail("the server does not listen; %s.log says why", settings.directory);
}

// ---------------------------------------------------------------------------------------------------------------------

uint64_t monotonic_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int64_t wall_milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

struct figures figures_now(void) {
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    struct figures now = {
        .user = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6,
        .system = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6,
    };
    pid_t family[PROCESSES_MAX];
    char text[1024];
    for (int i = 0, count = server_family(family); i < count; i++) {
        snprintf(text, sizeof text, "/proc/%d/stat", family[i]);
        FILE *file = fopen(text, "r");
        if (!file) continue;
        // Behind the name in brackets: state, then numbers; user and system time, and those of children that ended.
        char *end = fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
        fclose(file);
        unsigned long time[4] = {0};
        if (end)
            sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &time[0], &time[1],
                &time[2], &time[3]);
        now.user += (double)(time[0] + time[2]) / ticks;
        now.system += (double)(time[1] + time[3]) / ticks;
    }
    FILE *file = fopen("/proc/stat", "r");
    unsigned long user = 0, nice = 0;
    if (file && fscanf(file, "cpu %lu %lu", &user, &nice) == 2) now.everyones_user = (double)(user + nice) / ticks;
    if (file) fclose(file);
    return now;
}

static double kibibytes_of(pid_t process, const char *name, const char *key) {
    char line[256];
    double value = 0;
    snprintf(line, sizeof line, "/proc/%d/%s", process, name);
    FILE *file = fopen(line, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) value = atof(line + strlen(key));
    if (file) fclose(file);
    return value;
}

double resident_bytes(void) {
    pid_t family[PROCESSES_MAX];
    int count = server_family(family);
    double sum = count == 0 ? kibibytes_of(getpid(), "status", "VmRSS:") : 0;
    // Memory that processes share counts once.
    for (int i = 0; i < count; i++) sum += kibibytes_of(family[i], "smaps_rollup", "Pss:");
    return sum * 1024;
}

static double bytes_seen;

static int see_file(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)path, (void)place;
    if (kind == FTW_F) bytes_seen += (double)status->st_blocks * 512;
    return 0;
}

double disk_bytes(void) {
    bytes_seen = 0;
    nftw(settings.directory, see_file, 16, FTW_PHYS);
    return bytes_seen;
}

static int remove_file(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status, (void)kind, (void)place;
    return remove(path);
}

void remove_store(void) { nftw(settings.directory, remove_file, 16, FTW_DEPTH | FTW_PHYS); }

double load_average(void) {
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : 0;
}
