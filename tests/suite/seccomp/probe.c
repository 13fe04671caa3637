/*
 * Makes system calls and prints what the kernel returned, one line a call:
 *
 *     probe ABI:NUMBER[:ARGUMENT]...
 *
 * ABI is 64 (the instruction `syscall`) or 32 (`int 0x80`, the table of i386); x32 is 64 with bit 30 in the number.
 * Numbers and arguments are C's (0x…). The argument "name" is the address of the text "probe-name".
 *
 * Built without libc, so that it needs no call beyond those it is asked for, `write` and `exit`.
 */
static long call64(long number, const long *a)
{
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long call32(long number, const long *a)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "r8", "r9", "r10", "r11", "memory");
    /* The upper half is not part of an i386 result. */
    return (int)result;
}

static const char name[] = "probe-name";

static int is_digit(char letter, int base)
{
    return (letter >= '0' && letter <= '9') || (base == 16 && letter >= 'a' && letter <= 'f');
}

/* Reads one number, or "name", up to a colon or the end. */
static long value(const char **text)
{
    unsigned long sum = 0;
    int base = 10;

    if (**text == 'n') {
        *text += 4;
        return (long)name;
    }
    if ((*text)[0] == '0' && (*text)[1] == 'x') {
        base = 16;
        *text += 2;
    }
    while (is_digit(**text, base)) {
        sum = sum * base + (**text <= '9' ? **text - '0' : **text - 'a' + 10);
        (*text)++;
    }
    return (long)sum;
}

static void print(long number)
{
    char line[32];
    int at = sizeof line;
    unsigned long rest = number < 0 ? -(unsigned long)number : (unsigned long)number;

    line[--at] = '\n';
    do {
        line[--at] = '0' + rest % 10;
        rest /= 10;
    } while (rest);
    if (number < 0)
        line[--at] = '-';
    long arguments[6] = {1, (long)&line[at], (long)sizeof line - at};
    call64(1, arguments);
}

__attribute__((used)) void run(long *stack)
{
    long count = stack[0];
    char **words = (char **)(stack + 1);

    for (long word = 1; word < count; word++) {
        const char *text = words[word];
        long arguments[6] = {0};
        long abi = value(&text);
        text++;
        long number = value(&text);
        for (int index = 0; index < 6 && *text == ':'; index++) {
            text++;
            arguments[index] = value(&text);
        }
        print(abi == 32 ? call32(number, arguments) : call64(number, arguments));
    }
    long arguments[6] = {0};
    call64(231, arguments);
    __builtin_unreachable();
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n");
