/* The dialogue with a server before a client is relayed to it, and the one that learns what it can
 * do: each row whole and one octet at a time. What the server says under TLS stands behind SECURE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "proxy/greet.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEST_FROM   "MAIL FROM:<>\r\n"
#define TEST_RCPT   "RCPT TO:<relay-test@example.invalid>\r\n"
#define TEST        TEST_FROM TEST_RCPT "RSET\r\n"
#define SECURE      "\x01"
#define OWN         "EHLO us\r\n"
#define TELL        "XCLIENT ADDR=192.0.2.1\r\n"
#define LINES_10                                                                                   \
    "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n"

static const struct greet_row {
    const char *name;
    enum port_protocol protocol;
    enum greet_purpose purpose;
    const char *hello, *server; /* all that the server says */
    int verdict;                /* the last */
    const char *sent;           /* to the server */
    const char *refusal;        /* NULL: none */
    size_t left;                /* octets of the server that nobody asked for */
    const char *offers;         /* a keyword of the list; NULL: there is no list */
    bool open_relay, told;
    bool starttls, xclient, unavailable;
    const char *fault; /* NULL: none */
} rows[] = {
    { "nothing has come", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "", GREET_MORE, .sent = "" },
    { "half a banner", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r", GREET_MORE, .sent = "" },
    { "banner, EHLO", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220-b\r\n220 b\r\n250-b\r\n250 DSN\r\n", GREET_READY, .sent = "EHLO a\r\n",
      .offers = "DSN" },
    { "lines that end in LF alone", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\n250-b\n250 DSN\n", GREET_READY, .sent = "EHLO a\r\n", .offers = "DSN" },
    { "codes without text", PROTOCOL_SMTP, GREET_SESSION, "HELO a", "220\r\n250\r\n", GREET_READY,
      .sent = "HELO a\r\n", .offers = "" },
    { "HELO offers nothing", PROTOCOL_SMTP, GREET_SESSION, "HELO a",
      "220 b\r\n250-b\r\n250 DSN\r\n", GREET_READY, .sent = "HELO a\r\n", .offers = "" },
    { "no hello to replay", PROTOCOL_SMTP, GREET_SESSION, "", "220 b\r\n", GREET_READY,
      .sent = "" },
    { "it speaks on unasked", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r\n250 b\r\n250 x\r\n",
      GREET_READY, .sent = "EHLO a\r\n", .left = 7, .offers = "" },
    { "a banner that refuses", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "554-no\r\n554 no\r\n",
      GREET_REFUSED, .sent = "", .refusal = "554-no\r\n554 no\r\n" },
    { "a banner that is a 354", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "354 go on\r\n",
      GREET_REFUSED, .sent = "", .refusal = "354 go on\r\n" },
    { "EHLO is refused for now", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r\n421 busy\r\n",
      GREET_REFUSED, .sent = "EHLO a\r\n", .refusal = "421 busy\r\n", .unavailable = true },
    { "a server older than EHLO", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n500 what\r\n250 b\r\n", GREET_READY, .sent = "EHLO a\r\nHELO a\r\n", .offers = "" },
    { "no digits", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "hello\r\n", -EPROTO, .sent = "" },
    { "an empty line", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "\r\n", -EPROTO, .sent = "" },
    { "a fourth digit", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "2200 b\r\n", -EPROTO, .sent = "" },
    { "garbage inside a reply", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220-b\r\nb\r\n", -EPROTO,
      .sent = "" },
    { "a banner of POP3", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "+OK b\r\n", -EPROTO,
      .sent = "" },
    { "a banner of 10 lines and more", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", LINES_10 "220 b\r\n",
      -EPROTO, .sent = "", .fault = "sends a reply of too many lines" },
    { "learning", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 DSN\r\n250 ok\r\n550 no\r\n250 ok\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "DSN", .told = true },
    { "rule_26: it relays for a stranger", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 DSN\r\n250 ok\r\n250 ok\r\n250 ok\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "DSN", .open_relay = true, .told = true },
    { "rule_26: it would relay later", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n451 later\r\n250 ok\r\n", GREET_MORE,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "", .told = true },
    { "MAIL needs a login", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n530 login\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST_FROM "QUIT\r\n", .offers = "", .told = true },
    { "the list alone is not the relay test", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n", GREET_MORE, .sent = "EHLO me\r\n" TEST_FROM TEST_RCPT,
      .offers = "" },
    { "learning HELO", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n502 what\r\n250 b\r\n250 ok\r\n550 no\r\n250 ok\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\nHELO me\r\n" TEST "QUIT\r\n", .offers = "", .told = true },
    { "neither EHLO nor HELO", PROTOCOL_SMTP, GREET_LEARN, "me", "220 b\r\n502 x\r\n502 y\r\n",
      GREET_REFUSED, .sent = "EHLO me\r\nHELO me\r\n", .refusal = "502 y\r\n" },
    { "a banner of POP3 is one line", PROTOCOL_POP3, GREET_BANNER, "", "+OK <1@b>\r\n", GREET_READY,
      .sent = "" },
    { "USER is replayed", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n+OK\r\n", GREET_READY,
      .sent = "USER a\r\n" },
    { "USER is replayed, the banner came before", PROTOCOL_POP3, GREET_REPLAY, "USER a", "+OK\r\n",
      GREET_READY, .sent = "USER a\r\n" },
    { "nothing to replay", PROTOCOL_POP3, GREET_REPLAY, "", "", GREET_READY, .sent = "" },
    { "USER is refused", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n-ERR who\r\n",
      GREET_REFUSED, .sent = "USER a\r\n", .refusal = "-ERR who\r\n" },
    { "a banner of POP3 that refuses", PROTOCOL_POP3, GREET_SESSION, "USER a", "-ERR busy\r\n",
      GREET_REFUSED, .sent = "", .refusal = "-ERR busy\r\n", .unavailable = true },
    { "a banner of SMTP", PROTOCOL_POP3, GREET_SESSION, "USER a", "220 b\r\n", -EPROTO,
      .sent = "" },
    { "learning CAPA", PROTOCOL_POP3, GREET_LEARN, "me", "+OK b\r\n+OK\r\nUIDL\r\n.\r\n+OK\r\n",
      GREET_READY, .sent = "CAPA\r\nQUIT\r\n", .offers = "UIDL", .told = true },
    { "learning CAPA, lines that end in LF alone", PROTOCOL_POP3, GREET_LEARN, "me",
      "+OK b\n+OK\nUIDL\n.\n+OK\n", GREET_READY, .sent = "CAPA\r\nQUIT\r\n", .offers = "UIDL",
      .told = true },
    { "no CAPA", PROTOCOL_POP3, GREET_LEARN, "me", "+OK b\r\n-ERR what\r\n+OK\r\n", GREET_READY,
      .sent = "CAPA\r\nQUIT\r\n", .offers = "", .told = true },
    { "half a list", PROTOCOL_POP3, GREET_LEARN, "me", "+OK b\r\n+OK\r\nUIDL\r\n.", GREET_MORE,
      .sent = "CAPA\r\n" },

    { "421 for a banner", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "421 full\r\n", GREET_REFUSED,
      .sent = "", .refusal = "421 full\r\n", .unavailable = true },
    { "another 4xx for a banner", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "450 no\r\n",
      GREET_REFUSED, .sent = "", .refusal = "450 no\r\n" },
    { "4210 is no 421", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "4210 full\r\n", -EPROTO,
      .sent = "" },
    { "a banner that begins before the server has made up its mind", PROTOCOL_SMTP, GREET_SESSION,
      "EHLO a", "220-wait\r\n521 no\r\n", GREET_REFUSED, .sent = "", .refusal = "521 no\r\n" },
    { "the same, and it is too busy", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220-wait\r\n421 busy\r\n", GREET_REFUSED, .sent = "", .refusal = "421 busy\r\n",
      .unavailable = true },
    { "a list that ends by another code", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-DSN\r\n450 no\r\n", GREET_REFUSED, .sent = "EHLO a\r\n",
      .refusal = "450 no\r\n" },
    { "a list that begins by another code", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n550-DSN\r\n250 no\r\n", -EPROTO, .sent = "EHLO a\r\n" },
    { "HELO is refused for now", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n500 x\r\n421 busy\r\n", GREET_REFUSED, .sent = "EHLO a\r\nHELO a\r\n",
      .refusal = "421 busy\r\n", .unavailable = true },
    { "learning: 421 to EHLO", PROTOCOL_SMTP, GREET_LEARN, "me", "220 b\r\n421 busy\r\n",
      GREET_REFUSED, .sent = "EHLO me\r\n", .refusal = "421 busy\r\n", .unavailable = true },
    { "learning: 421 to MAIL", PROTOCOL_SMTP, GREET_LEARN, "me", "220 b\r\n250 b\r\n421 busy\r\n",
      GREET_REFUSED, .sent = "EHLO me\r\n" TEST_FROM, .refusal = "421 busy\r\n", .offers = "",
      .unavailable = true },
    { "learning: 421 to RCPT", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n421 busy\r\n", GREET_REFUSED,
      .sent = "EHLO me\r\n" TEST_FROM TEST_RCPT, .refusal = "421 busy\r\n", .offers = "",
      .unavailable = true },
    { "learning: 421 to RSET", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n550 no\r\n421-busy\r\n421 busy\r\n", GREET_REFUSED,
      .sent = "EHLO me\r\n" TEST, .refusal = "421-busy\r\n421 busy\r\n", .offers = "",
      .unavailable = true },
    { "learning: 421 to QUIT is a goodbye", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n550 no\r\n250 ok\r\n421 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "", .told = true },
    { "learning: a banner of POP3 that refuses", PROTOCOL_POP3, GREET_LEARN, "me",
      "-ERR [SYS/TEMP] no\r\n", GREET_REFUSED, .sent = "", .refusal = "-ERR [SYS/TEMP] no\r\n",
      .unavailable = true },

    { "STARTTLS", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250-HELP\r\n250 starttls\r\n220 go\r\n" SECURE "250-b\r\n250 DSN\r\n",
      GREET_READY, .sent = OWN "STARTTLS\r\n" SECURE "EHLO a\r\n", .offers = "DSN",
      .starttls = true },
    { "STARTTLS, and nothing has come under TLS", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n" SECURE, GREET_MORE,
      .sent = OWN "STARTTLS\r\n" SECURE "EHLO a\r\n", .starttls = true },
    { "STARTTLS, HELO", PROTOCOL_SMTP, GREET_SESSION, "HELO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220\r\n" SECURE "250 b\r\n", GREET_READY,
      .sent = OWN "STARTTLS\r\n" SECURE "HELO a\r\n", .offers = "", .starttls = true },
    { "STARTTLS, no hello", PROTOCOL_SMTP, GREET_SESSION, "",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220-go\r\n220 go\r\n" SECURE, GREET_READY,
      .sent = OWN "STARTTLS\r\n" SECURE, .starttls = true },
    { "p1_what was said in clear is forgotten", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250-DSN\r\n250 STARTTLS\r\n220 go\r\n" SECURE "250 b\r\n530 no\r\n",
      GREET_MORE, .sent = OWN "STARTTLS\r\n" SECURE "EHLO me\r\n" TEST_FROM "QUIT\r\n",
      .offers = "", .told = true, .starttls = true },
    { "p1_an injection behind the 220 of STARTTLS is left", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n250 b\r\n" SECURE "250 b\r\n", GREET_TLS,
      .sent = OWN "STARTTLS\r\n" SECURE, .left = 7, .offers = "STARTTLS", .starttls = true },
    { "p1_one octet of it", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\n\n" SECURE "250 b\r\n", GREET_TLS,
      .sent = OWN "STARTTLS\r\n" SECURE, .left = 1, .offers = "STARTTLS", .starttls = true },
    { "the handshake has not ended", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n", GREET_TLS, .sent = OWN "STARTTLS\r\n" SECURE,
      .offers = "STARTTLS", .starttls = true },
    { "no STARTTLS is offered", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250-XSTARTTLS\r\n250 STARTTL\r\n220 go\r\n", -ENOTSUP, .sent = OWN,
      .left = 8, .offers = "XSTARTTLS", .starttls = true, .fault = "offers no STARTTLS" },
    { "a reply of one line", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r\n250 STARTTLS\r\n",
      -ENOTSUP, .sent = OWN, .offers = "", .starttls = true, .fault = "offers no STARTTLS" },
    { "STARTTLS is refused", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n502 no\r\n", -ENOTSUP, .sent = OWN "STARTTLS\r\n",
      .offers = "STARTTLS", .starttls = true, .fault = "refuses STARTTLS" },
    { "STARTTLS is refused for now", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n454 no\r\n", -ENOTSUP, .sent = OWN "STARTTLS\r\n",
      .offers = "STARTTLS", .starttls = true, .fault = "refuses STARTTLS" },
    { "STARTTLS is answered by another 2xx", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n250 ok\r\n", -ENOTSUP, .sent = OWN "STARTTLS\r\n",
      .offers = "STARTTLS", .starttls = true, .fault = "refuses STARTTLS" },
    { "STARTTLS is answered by 220 and then not", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220-go\r\n554 no\r\n", -ENOTSUP,
      .sent = OWN "STARTTLS\r\n", .offers = "STARTTLS", .starttls = true,
      .fault = "refuses STARTTLS" },
    { "STARTTLS is answered by 421", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n421 busy\r\n", GREET_REFUSED, .sent = OWN "STARTTLS\r\n",
      .refusal = "421 busy\r\n", .offers = "STARTTLS", .unavailable = true, .starttls = true },
    { "STARTTLS is answered by garbage", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n\x16\x03\x03\n", -EPROTO, .sent = OWN "STARTTLS\r\n",
      .offers = "STARTTLS", .starttls = true },
    { "STARTTLS, a server older than EHLO", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n500 what\r\n", -ENOTSUP, .sent = OWN, .starttls = true,
      .fault = "refuses EHLO, so it has no STARTTLS" },
    { "our EHLO is refused for now", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r\n450 no\r\n",
      GREET_REFUSED, .sent = OWN, .refusal = "450 no\r\n", .starttls = true },
    { "our EHLO is answered by 421", PROTOCOL_SMTP, GREET_LEARN, "me", "220 b\r\n421 no\r\n",
      GREET_REFUSED, .sent = OWN, .refusal = "421 no\r\n", .unavailable = true, .starttls = true },
    { "our EHLO is answered by no list", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n220-b\r\n220 STARTTLS\r\n", -EPROTO, .sent = OWN, .starttls = true },
    { "a banner that refuses, no STARTTLS is tried", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "554 no\r\n", GREET_REFUSED, .sent = "", .refusal = "554 no\r\n", .starttls = true },
    { "a new banner under TLS is no reply to EHLO", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n" SECURE "220 b\r\n", -EPROTO,
      .sent = OWN "STARTTLS\r\n" SECURE "EHLO a\r\n", .starttls = true },
    { "under TLS the hello is refused", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n" SECURE "421 no\r\n", GREET_REFUSED,
      .sent = OWN "STARTTLS\r\n" SECURE "EHLO a\r\n", .refusal = "421 no\r\n", .unavailable = true,
      .starttls = true },
    { "STLS", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n+OK go\r\n" SECURE "+OK\r\n",
      GREET_READY, .sent = "STLS\r\n" SECURE "USER a\r\n", .starttls = true },
    { "STLS, learning", PROTOCOL_POP3, GREET_LEARN, "me",
      "+OK b\r\n+OK go\r\n" SECURE "+OK\r\nUIDL\r\n.\r\n+OK\r\n", GREET_READY,
      .sent = "STLS\r\n" SECURE "CAPA\r\nQUIT\r\n", .offers = "UIDL", .told = true,
      .starttls = true },
    { "STLS, learning, no CAPA", PROTOCOL_POP3, GREET_LEARN, "me",
      "+OK b\r\n+OK go\r\n" SECURE "-ERR\r\n+OK\r\n", GREET_READY,
      .sent = "STLS\r\n" SECURE "CAPA\r\nQUIT\r\n", .offers = "", .told = true, .starttls = true },
    { "STLS, nothing to replay", PROTOCOL_POP3, GREET_SESSION, "", "+OK b\r\n+OK go\r\n" SECURE,
      GREET_READY, .sent = "STLS\r\n" SECURE, .starttls = true },
    { "STLS is refused", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n-ERR no\r\n", -ENOTSUP,
      .sent = "STLS\r\n", .starttls = true, .fault = "refuses STLS" },
    { "STLS is answered by another word", PROTOCOL_POP3, GREET_SESSION, "USER a",
      "+OK b\r\n+ go\r\n", -EPROTO, .sent = "STLS\r\n", .starttls = true },
    { "p1_an injection behind the +OK of STLS is left", PROTOCOL_POP3, GREET_LEARN, "me",
      "+OK b\r\n+OK go\r\n+OK\r\nUIDL\r\n.\r\n" SECURE "-ERR\r\n", GREET_TLS,
      .sent = "STLS\r\n" SECURE, .left = 14, .starttls = true },
    { "a banner of POP3 that refuses, no STLS is tried", PROTOCOL_POP3, GREET_SESSION, "USER a",
      "-ERR no\r\n", GREET_REFUSED, .sent = "", .refusal = "-ERR no\r\n", .unavailable = true,
      .starttls = true },
    { "rule_19: an APOP banner is kept over STLS", PROTOCOL_POP3, GREET_BANNER, "",
      "+OK <1@b>\r\n+OK go\r\n" SECURE, GREET_READY, .sent = "STLS\r\n" SECURE, .starttls = true },
    { "rule_19: an APOP server refuses STLS", PROTOCOL_POP3, GREET_BANNER, "",
      "+OK <1@b>\r\n-ERR no\r\n", -ENOTSUP, .sent = "STLS\r\n", .starttls = true,
      .fault = "refuses STLS" },
    { "rule_19: what was taken before has no STLS again", PROTOCOL_POP3, GREET_REPLAY, "USER a",
      "+OK\r\n", GREET_READY, .sent = "USER a\r\n", .starttls = true },

    { "rule_18: XCLIENT, then the hello", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250-HELP\r\n250 XCLIENT ADDR\r\n220 b\r\n250-b\r\n250 DSN\r\n",
      GREET_READY, .sent = OWN TELL "EHLO a\r\n", .offers = "DSN", .xclient = true },
    { "rule_18: the greeting of XCLIENT has lines", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 xclient addr\r\n220-b\r\n220\r\n250 b\r\n", GREET_READY,
      .sent = OWN TELL "EHLO a\r\n", .offers = "", .xclient = true },
    { "rule_18: a HELO client", PROTOCOL_SMTP, GREET_SESSION, "HELO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR PROTO\r\n220 b\r\n250 b\r\n", GREET_READY,
      .sent = OWN "XCLIENT PROTO=SMTP ADDR=192.0.2.1\r\nHELO a\r\n", .offers = "",
      .xclient = true },
    { "rule_18: no hello", PROTOCOL_SMTP, GREET_SESSION, "",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220 b\r\n", GREET_READY, .sent = OWN TELL,
      .xclient = true },
    { "rule_18: the server has not greeted anew", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220-b\r\n", GREET_MORE, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true },
    { "rule_18: learning", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR HELO\r\n220 b\r\n250-b\r\n250 DSN\r\n250 ok\r\n"
      "550 no\r\n250 ok\r\n221 bye\r\n",
      GREET_READY, .sent = OWN "XCLIENT HELO=me ADDR=192.0.2.1\r\nEHLO me\r\n" TEST "QUIT\r\n",
      .offers = "DSN", .told = true, .xclient = true },
    { "rule_26: it relays for a stranger that it was told of", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220 b\r\n250 b\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
      GREET_MORE, .sent = OWN TELL "EHLO me\r\n" TEST "QUIT\r\n", .offers = "", .open_relay = true,
      .told = true, .xclient = true },
    { "rule_18: none is offered", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XFORWARD ADDR\r\n", -ENOTSUP, .sent = OWN, .offers = "XFORWARD",
      .xclient = true, .fault = "offers us no XCLIENT (Postfix: smtpd_authorized_xclient_hosts)" },
    { "rule_18: learning, none is offered", PROTOCOL_SMTP, GREET_LEARN, "me", "220 b\r\n250 b\r\n",
      -ENOTSUP, .sent = OWN, .offers = "", .xclient = true,
      .fault = "offers us no XCLIENT (Postfix: smtpd_authorized_xclient_hosts)" },
    { "rule_18: without an attribute", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT\r\n220 b\r\n", -ENOTSUP, .sent = OWN, .left = 7,
      .offers = "XCLIENT", .xclient = true, .fault = "takes no address by XCLIENT" },
    { "rule_18: without an address", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT NAME DESTADDR ADDRESS\r\n", -ENOTSUP, .sent = OWN,
      .offers = "XCLIENT", .xclient = true, .fault = "takes no address by XCLIENT" },
    { "rule_18: a server older than EHLO", PROTOCOL_SMTP, GREET_SESSION, "HELO a",
      "220 b\r\n502 what\r\n", -ENOTSUP, .sent = OWN, .xclient = true,
      .fault = "refuses EHLO, so it has no XCLIENT" },
    { "rule_18: refused to us", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n550 no\r\n", -ENOTSUP, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true, .fault = "refuses XCLIENT" },
    { "rule_18: refused for its form", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n501 what\r\n", -ENOTSUP, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true, .fault = "refuses XCLIENT" },
    { "rule_18: a client's own values are refused", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n501 Bad ADDR syntax\r\n", GREET_REFUSED,
      .sent = OWN TELL,
      .refusal = "421 4.3.2 The server cannot be told who you are, please try again later\r\n",
      .offers = "XCLIENT", .xclient = true,
      .fault = "does not take this client's address or name by XCLIENT (Postfix, where the address "
               "is IPv6: inet_protocols)" },
    { "rule_18: refused for its time", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n503 not now\r\n", -ENOTSUP, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true, .fault = "refuses XCLIENT" },
    { "rule_18: answered by another 2xx", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n250 ok\r\n", -ENOTSUP, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true, .fault = "refuses XCLIENT" },
    { "rule_18: answered by 220 and then not", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220-b\r\n550 no\r\n", -ENOTSUP, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true, .fault = "refuses XCLIENT" },
    { "rule_18: answered by garbage", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\nfine\r\n", -EPROTO, .sent = OWN TELL,
      .offers = "XCLIENT", .xclient = true },
    { "rule_18: the client is not wanted", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n554 not you\r\n", GREET_REFUSED, .sent = OWN TELL,
      .refusal = "554 not you\r\n", .offers = "XCLIENT", .xclient = true },
    { "rule_18: the client is not wanted now", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n450 not you\r\n", GREET_REFUSED, .sent = OWN TELL,
      .refusal = "450 not you\r\n", .offers = "XCLIENT", .xclient = true },
    { "rule_18: too many connections of the client", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n421 too many\r\n", GREET_REFUSED, .sent = OWN TELL,
      .refusal = "421 too many\r\n", .offers = "XCLIENT", .unavailable = true, .xclient = true },
    { "rule_18: our EHLO is answered by 421", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n421 no\r\n", GREET_REFUSED, .sent = OWN, .refusal = "421 no\r\n",
      .unavailable = true, .xclient = true },
    { "rule_18: EHLO is refused behind XCLIENT", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220 b\r\n550 you\r\n550 still you\r\n", GREET_REFUSED,
      .sent = OWN TELL "EHLO a\r\nHELO a\r\n", .refusal = "550 still you\r\n", .xclient = true },
    { "rule_18: EHLO is refused behind XCLIENT for now", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220 b\r\n450 later\r\n", GREET_REFUSED,
      .sent = OWN TELL "EHLO a\r\n", .refusal = "450 later\r\n", .xclient = true },
    { "rule_18: learning, EHLO is refused behind XCLIENT", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n220 b\r\n421 you\r\n", GREET_REFUSED,
      .sent = OWN TELL "EHLO me\r\n", .refusal = "421 you\r\n", .unavailable = true,
      .xclient = true },
    { "rule_18: POP3 has none", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n+OK\r\n",
      GREET_READY, .sent = "USER a\r\n", .xclient = true },
    { "rule_18: STARTTLS first", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n" SECURE
      "250-b\r\n250 XCLIENT ADDR\r\n220 b\r\n250-b\r\n250 DSN\r\n",
      GREET_READY, .sent = OWN "STARTTLS\r\n" SECURE OWN TELL "EHLO a\r\n", .offers = "DSN",
      .starttls = true, .xclient = true },
    { "rule_18: XCLIENT that is offered in clear alone", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250-XCLIENT ADDR\r\n250 STARTTLS\r\n220 go\r\n" SECURE
      "250-b\r\n250 DSN\r\n",
      -ENOTSUP, .sent = OWN "STARTTLS\r\n" SECURE OWN, .offers = "DSN", .starttls = true,
      .xclient = true, .fault = "offers us no XCLIENT (Postfix: smtpd_authorized_xclient_hosts)" },
    { "rule_18: no XCLIENT is sent in clear in its place", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n250-b\r\n250 XCLIENT ADDR\r\n", -ENOTSUP, .sent = OWN, .offers = "XCLIENT",
      .starttls = true, .xclient = true, .fault = "offers no STARTTLS" },
    { "rule_18: a server that greets anew with STARTTLS gets none", PROTOCOL_SMTP, GREET_SESSION,
      "EHLO a",
      "220 b\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n" SECURE
      "250-b\r\n250-STARTTLS\r\n250 XCLIENT ADDR\r\n220 b\r\n250-b\r\n250 STARTTLS\r\n",
      GREET_READY, .sent = OWN "STARTTLS\r\n" SECURE OWN TELL "EHLO a\r\n", .offers = "STARTTLS",
      .starttls = true, .xclient = true },
};

struct story {
    int verdict;
    char sent[1024], refusal[1024];
    size_t left;
};

/* Lets the dialogue go on with `in`; keeps what it says. */
static void feed(struct greet *greet, struct span *in, struct story *story, struct text *sent,
                 struct text *refusal)
{
    do {
        char room[1024];
        struct text out = TEXT_OVER(room);

        story->verdict = greet_feed(greet, in, &out);
        if (story->verdict == GREET_SEND)
            assert_true(out.size <= 512 && out.size > 2);
        else if (story->verdict != GREET_REFUSED)
            assert_int_equal(out.size, 0);
        text_put(story->verdict == GREET_REFUSED ? refusal : sent, text_span(&out));
    } while (story->verdict == GREET_SEND);
}

/* Gives `server` in pieces of `step` octets until a verdict is final. What is left of the clear
 * part when TLS begins counts, however it comes. */
static void play(struct greet *greet, struct span server, size_t step, struct story *story)
{
    struct text sent = TEXT_OVER(story->sent), refusal = TEXT_OVER(story->refusal);

    do {
        struct span clear = span_first(server, span_find(server, SECURE[0]));
        struct span piece = span_first(clear, step), in = piece;

        feed(greet, &in, story, &sent, &refusal);
        server = span_skip(server, piece.size - in.size);
        story->left = clear.size - (piece.size - in.size);
        if (story->verdict == GREET_TLS) {
            text_puts(&sent, SECURE);
            if (story->left > 0 || server.size == 0)
                break;
            server = span_skip(server, 1);
            greet_tls_done(greet);
            piece = span_of(NULL, 0);
            feed(greet, &piece, story, &sent, &refusal);
        }
    } while (story->verdict == GREET_MORE && server.size > 0 && server.data[0] != SECURE[0]);
    if (story->verdict != GREET_TLS)
        story->left = server.size;
    text_str(&sent);
    text_str(&refusal);
}

/* Whatever comes after a failure, nothing is ready. */
static void check_failed(struct greet *greet)
{
    char room[64];
    struct text out = TEXT_OVER(room);
    struct span in = SPAN_LIT("220 b\r\n+OK\r\n");

    greet_tls_done(greet);
    assert_int_equal(greet_feed(greet, &in, &out), -EPROTO);
    assert_int_equal(out.size, 0);
}

static void check_outcome(const struct greet_row *row, size_t step, const struct greet *greet)
{
    const char *fault = greet->fault ? greet->fault : "";

    if ((greet->list != NULL) != (row->offers != NULL) ||
        (row->offers && row->offers[0] &&
         !capabilities_find(greet->list, span_of_text(row->offers))) ||
        (row->offers && !row->offers[0] && greet->list->count > 0))
        fail_msg("%s, step %zu: the list", row->name, step);
    if (greet->open_relay != row->open_relay || greet->told != row->told)
        fail_msg("%s, step %zu: relay test", row->name, step);
    if (greet->unavailable != row->unavailable)
        fail_msg("%s, step %zu: unavailable", row->name, step);
    if (strcmp(fault, row->fault ? row->fault : "") != 0)
        fail_msg("%s, step %zu: \"%s\"", row->name, step, fault);
}

static void check_row(const struct greet_row *row, size_t step)
{
    struct sockaddr_in client = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(0xc0000201),
                                  .sin_port = htons(1024) };
    struct greet greet;
    struct story story = { 0 };
    struct span server = span_of_text(row->server);

    greet_init(&greet, &(struct greet_plan){ .protocol = row->protocol,
                                             .purpose = row->purpose,
                                             .hello = span_of_text(row->hello),
                                             .hostname = SPAN_LIT("us"),
                                             .starttls = row->starttls,
                                             .xclient = row->xclient,
                                             .client.address = (struct sockaddr *)&client });
    play(&greet, server, step ? step : server.size + 1, &story);
    if (story.verdict != row->verdict || strcmp(story.sent, row->sent) != 0 ||
        strcmp(story.refusal, row->refusal ? row->refusal : "") != 0 || story.left != row->left)
        fail_msg("%s, step %zu: verdict %d, sent \"%s\", refused \"%s\", left %zu", row->name, step,
                 story.verdict, story.sent, story.refusal, story.left);
    check_outcome(row, step, &greet);
    if (row->purpose == GREET_BANNER && row->verdict == GREET_READY)
        assert_true(span_equal(span_of(greet.reply, greet.reply_size),
                               span_first(server, span_find(server, '\n') + 1)));
    if (row->verdict < 0 || row->verdict == GREET_REFUSED)
        check_failed(&greet);
    greet_deinit(&greet);
}

static void rule_9_the_dialogue_goes_step_by_step_however_the_octets_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_row(&rows[i], 0);
        check_row(&rows[i], 1);
    }
}

/* What `greet` says to `count` times `line`, and then to `end`. */
static int verdict_of_many(const char *line, size_t count, const char *end)
{
    struct greet greet;
    struct story story = { 0 };
    int verdict;

    greet_init(&greet, &(struct greet_plan){ .protocol = PROTOCOL_SMTP,
                                             .purpose = GREET_SESSION,
                                             .hello = SPAN_LIT("EHLO a") });
    play(&greet, SPAN_LIT("220 b\r\n"), 100, &story);
    for (size_t i = 0; i < count && story.verdict == GREET_MORE; i++)
        play(&greet, span_of_text(line), 100, &story);
    if (story.verdict == GREET_MORE)
        play(&greet, span_of_text(end), 100, &story);
    verdict = story.verdict;
    greet_deinit(&greet);
    return verdict;
}

static void rule_24_a_reply_has_at_most_100_lines_and_a_line_2048_octets(void **state)
{
    (void)state;
    assert_int_equal(verdict_of_many("250-X\r\n", 99, "250 X\r\n"), GREET_READY);
    assert_int_equal(verdict_of_many("250-X\r\n", 100, "250 X\r\n"), -EPROTO);
    assert_int_equal(verdict_of_many("2", 2046, "\r\n"), -EPROTO); /* whole, and no reply */
    assert_int_equal(verdict_of_many("2", 2048, ""), GREET_MORE);
    assert_int_equal(verdict_of_many("2", 2049, ""), -EPROTO); /* not whole, and too long */
}

/* A server that takes a name that is too long for one command. */
static void rule_18_the_hello_waits_for_both_commands_of_a_long_xclient(void **state)
{
    static const struct {
        const char *second; /* what the server says to the second */
        int verdict;
        bool hello;
    } cases[] = { { "220 b\r\n", GREET_MORE, true },
                  { "", GREET_MORE, false },
                  { "550 no\r\n", -ENOTSUP, false },
                  { "554 no\r\n", GREET_REFUSED, false } };
    char name[5 + 255 + 1], first[] = "XCLIENT HELO=", *found;

    (void)state;
    snprintf(name, sizeof(name), "EHLO %0255d", 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct greet greet;
        struct story story = { 0 };

        greet_init(&greet, &(struct greet_plan){ .protocol = PROTOCOL_SMTP,
                                                 .purpose = GREET_SESSION,
                                                 .hello = span_of_text(name),
                                                 .hostname = SPAN_LIT("us"),
                                                 .xclient = true,
                                                 .client.login = span_of_text(name + 5) });
        play(&greet, SPAN_LIT("220 b\r\n250-b\r\n250 XCLIENT ADDR LOGIN HELO\r\n"), 100, &story);
        assert_int_equal(story.verdict, GREET_MORE);
        found = strstr(story.sent, first);
        assert_non_null(found);
        assert_null(strstr(found, "LOGIN="));
        play(&greet, SPAN_LIT("220 b\r\n"), 100, &story);
        assert_int_equal(story.verdict, GREET_MORE);
        assert_memory_equal(story.sent, "XCLIENT LOGIN=", 14);
        assert_non_null(strstr(story.sent, " ADDR=[UNAVAILABLE]\r\n"));
        play(&greet, span_of_text(cases[i].second), 100, &story);
        assert_int_equal(story.verdict, cases[i].verdict);
        assert_int_equal(strstr(story.sent, "EHLO 0") != NULL, cases[i].hello);
        greet_deinit(&greet);
    }
}

static void tls_that_nobody_asked_for_changes_nothing(void **state)
{
    struct greet greet;
    struct story story = { 0 };

    (void)state;
    greet_init(&greet, &(struct greet_plan){ .protocol = PROTOCOL_POP3,
                                             .purpose = GREET_SESSION,
                                             .hello = SPAN_LIT("USER a"),
                                             .starttls = true });
    greet_tls_done(&greet);
    play(&greet, SPAN_LIT("+OK b\r\n"), 100, &story);
    assert_string_equal(story.sent, "STLS\r\n");
    greet_tls_done(&greet);
    play(&greet, SPAN_LIT("-ERR no\r\n"), 100, &story);
    assert_int_equal(story.verdict, -ENOTSUP);
    greet_deinit(&greet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_9_the_dialogue_goes_step_by_step_however_the_octets_come),
        cmocka_unit_test(rule_18_the_hello_waits_for_both_commands_of_a_long_xclient),
        cmocka_unit_test(tls_that_nobody_asked_for_changes_nothing),
        cmocka_unit_test(rule_24_a_reply_has_at_most_100_lines_and_a_line_2048_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
