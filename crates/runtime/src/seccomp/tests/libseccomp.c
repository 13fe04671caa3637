/*
 * Builds a seccomp filter with libseccomp from the lines of stdin and writes its BPF to stdout:
 *
 *     DEFAULT
 *     arch NAME
 *     rule SYSCALL ACTION [INDEX OPERATOR VALUE VALUE_TWO]...
 *
 * Actions are the kernel's values. Names that libseccomp doesn't know go to stderr.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-result));
        exit(1);
    }
}

static void add_rule(scmp_filter_ctx filter, char *line)
{
    char *name = strtok(line, " \n");
    uint32_t action = strtoul(strtok(NULL, " \n"), NULL, 10);
    struct scmp_arg_cmp args[6];
    unsigned count = 0;
    char *word;

    while ((word = strtok(NULL, " \n")) != NULL && count < 6) {
        args[count].arg = strtoul(word, NULL, 10);
        args[count].op = strtoul(strtok(NULL, " \n"), NULL, 10);
        args[count].datum_a = strtoull(strtok(NULL, " \n"), NULL, 10);
        args[count].datum_b = strtoull(strtok(NULL, " \n"), NULL, 10);
        count++;
    }
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) {
        fprintf(stderr, "%s\n", name);
        return;
    }
    check(seccomp_rule_add_array(filter, action, number, count, args), name);
}

int main(void)
{
    char line[512];

    if (!fgets(line, sizeof line, stdin))
        return 2;
    scmp_filter_ctx filter = seccomp_init(strtoul(line, NULL, 10));
    if (!filter)
        return 3;
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "arch ", 5))
            check(seccomp_arch_add(filter, seccomp_arch_resolve_name(strtok(line + 5, "\n"))), line);
        else
            add_rule(filter, line + 5);
    }
    check(seccomp_export_bpf(filter, 1), "export");
    return 0;
}
