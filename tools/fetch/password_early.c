/* A password from a descriptor only. */
#include <errno.h>
#include <unistd.h>

#include "tools/fetch/password.h"

int password_ask(const char *prompt, char *into, struct text *words)
{
    (void)prompt;
    (void)into;
    text_puts(words, "use --password-fd");
    return -ENXIO;
}

int password_from_descriptor(int fd, char *into, struct text *words)
{
    ssize_t size = read(fd, into, PASSWORD_ROOM - 1);

    close(fd);
    if (size <= 0) {
        text_puts(words, "nothing came from the descriptor");
        return -ENODATA;
    }
    into[size] = '\0';
    into[strcspn(into, "\n")] = '\0';
    return 0;
}

int password_from_command(const char *command, char *into, struct text *words)
{
    return password_ask(command, into, words);
}
