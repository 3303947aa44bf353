/* Words for error numbers. */
#include "proxy/base/err.h"

#include <string.h>

const char *err_text(int error)
{
    const char *text = strerrordesc_np(error < 0 ? -error : error);

    return text ? text : "unknown error";
}
