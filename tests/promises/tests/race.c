/* Starts a program again and again while a thread of the same process changes what is started: its argument, its path, the link
   that the path leads through, the file itself, or (in a mount namespace of its own) what is mounted over it. `echo through` and `id` are refused; a round that gets one of them to run prints
   `through`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char word[64], path[64], own[4096];
static const char *other;
static const char *kind;
static volatile int go;

static int is(const char *name) { return strcmp(kind, name) == 0; }

static void point(const char *to) {
    unlink("next");
    if (symlink(to, "next") == 0) rename("next", "link");
}

static void copy(const char *from) {
    unlink("other");
    if (link(from, "other") == 0) rename("other", "file");
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}

/* It stays covered for as long as the kernel took to uncover it: on a busy machine milliseconds. */
static void cover(const char *with) {
    static long took = 50000;
    long since = now();
    while (umount2("/usr/bin/true", MNT_DETACH) == 0) {}
    if (!with) { took = now() - since; return; }
    if (mount(with, "/usr/bin/true", 0, MS_BIND, 0)) _exit(9);
    for (since = now(); now() - since < took;) {}
}

/* Half of the time each: not so short that nobody could see it. */
static void put(volatile char *at, const char *text) {
    for (int i = 0; text[i]; i++) at[i] = text[i];
    at[strlen(text)] = 0;
    for (volatile int wait = 0; wait < 200; wait++) {}
}

static void *change(void *unused) {
    while (1) {
        if (is("argument")) { put(word, "through"); put(word, "fine"); }
        if (is("path")) { put(path, "/usr/bin/id"); put(path, "/usr/bin/true"); }
        if (is("link")) { point("/usr/bin/id"); point("/usr/bin/true"); }
        if (is("file")) { copy("evil"); copy("good"); }
        if (is("directory")) {
            if (chdir(own) || chdir(other)) _exit(9);
        }
        if (is("mount")) { cover("/usr/bin/id"); cover(0); }
        go = 1;
    }
    return unused;
}

static void script(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    if (!file) exit(3);
    fputs(text, file);
    fclose(file);
    syscall(SYS_chmod, name, 0755);
}

int main(int count, char **given) {
    if (count < 3) return 2;
    kind = given[1];
    other = given[3];
    if (!getcwd(own, sizeof own) || (is("directory") && (count < 4 || chdir(other)))) return 2;
    int rounds = atoi(given[2]), ran = 0, refused = 0, killed = 0;
    if (!is("directory")) {
        script("good", "#!/usr/bin/true\n");
        script("evil", "#!/usr/bin/id\n");
        copy("good");
        point("/usr/bin/true");
    }
    /* On a busy machine so many may all come to the same: what is to be seen of both is waited for. */
    int round = 0;
    for (; round < rounds || (round < rounds * 50 && (!ran || (!is("directory") && !refused && !killed))); round++) {
        int pipes[2];
        if (pipe(pipes)) return 3;
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            strcpy(word, "fine");
            strcpy(path, is("argument") ? "/usr/bin/echo" : is("link") ? "./link" : is("file") ? "./file" : "/usr/bin/true");
            dup2(pipes[1], 1);
            if (pthread_create(&thread, 0, change, 0)) _exit(9);
            while (!go) {}
            /* Not always in step with the changes: on a busy machine each round would come to the same. */
            for (volatile int wait = round % 50 * 20000; wait > 0; wait--) {}
            char *arguments[] = {"echo", is("argument") ? word : 0, 0};
            if (is("directory")) {
                strcpy(path, "/usr/bin/python3");
                arguments[0] = "python3";
                arguments[1] = "tool.py";
            }
            char *none[] = {0};
            execve(path, arguments, none);
            _exit(7);
        }
        close(pipes[1]);
        char text[256];
        ssize_t length = read(pipes[0], text, sizeof text - 1);
        close(pipes[0]);
        text[length > 0 ? length : 0] = 0;
        if (strstr(text, "through") || strstr(text, "uid=")) puts("through");
        int status;
        if (waitpid(child, &status, 0) != child) return 3;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 9) return 4;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 7) refused++;
        else if (WIFSIGNALED(status)) killed++;
        else ran++;
    }
    printf("%d rounds: %d ran, %d refused, %d ended by a signal\n", round, ran, refused, killed);
    return 0;
}
