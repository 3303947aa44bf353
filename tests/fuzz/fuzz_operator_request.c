/* Any octets as a request: texts end where they must, what changes something has said so, and kick
 * always names somebody. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/operator_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#define ENDS(array) memchr((array), '\0', sizeof(array))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct operator_request request;
    const struct child_selection *selection = &request.selection;
    char room[160];
    struct text words = TEXT_OVER(room);
    int r;

    memset(&request, 0xff, sizeof(request));
    r = operator_request_read(span_of(data, size), &request, &words);
    if (r < 0) {
        REQUIRE(words.size > 0 && !words.overflow);
        return 0;
    }
    REQUIRE(request.command < OPERATOR_COMMANDS && operator_command_name(request.command));
    REQUIRE(ENDS(selection->id) && ENDS(selection->user) && ENDS(selection->port) &&
            ENDS(selection->from));
    REQUIRE(request.worker >= -1 && request.level >= -1 && request.level <= LOG_LEVEL_DEBUG);
    if (request.command == OPERATOR_KICK)
        REQUIRE(!operator_only_looks(&request) && (selection->id[0] || selection->user[0] ||
                                                   selection->port[0] || selection->from[0]));
    if (request.command != OPERATOR_KICK && request.command != OPERATOR_WHO)
        REQUIRE(!selection->id[0] && !selection->user[0] && !selection->port[0] &&
                !selection->from[0]);
    return 0;
}
