/* Telling TLS from text by a client's first octets. Happy path: the first octet decides. Nothing
 * here can fail. */
#include "proxy/detect.h"

#define TLS_HANDSHAKE      0x16
#define SSLV2_HEADER_BIT   0x80
#define SSLV2_CLIENT_HELLO 1
#define LATE_FACTOR        3 /* a client that was late is given three times the wait (guessed) */

enum detect_result detect_first(struct span first)
{
    if (first.size == 0)
        return DETECT_MORE;
    if (first.data[0] == TLS_HANDSHAKE)
        return DETECT_TLS;
    if (!(first.data[0] & SSLV2_HEADER_BIT))
        return DETECT_TEXT;
    /* Two octets of length, then the type of the message; no text begins with the high bit set and
     * has 1 there. */
    if (first.size < DETECT_OCTETS_MAX)
        return DETECT_MORE;
    return first.data[2] == SSLV2_CLIENT_HELLO ? DETECT_SSLV2 : DETECT_TEXT;
}

struct span detect_sslv2_alert(void)
{
    /* Record: alert, TLS 1.0 (what such a client can read), 2 octets: fatal, protocol_version. RFC
     * 5246 section 7.2. */
    static const unsigned char alert[] = { 0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46 };

    return span_of(alert, sizeof(alert));
}

uint32_t detect_wait_ms(bool implicit_tls, uint32_t wait_ms, enum hint hint)
{
    switch (hint) {
    case HINT_PLAIN:
        return implicit_tls ? wait_ms : 0;
    case HINT_TLS_LATE:
        return wait_ms > UINT32_MAX / LATE_FACTOR ? UINT32_MAX : wait_ms * LATE_FACTOR;
    case HINT_NONE:
    case HINT_TLS:
        break;
    }
    return wait_ms;
}
