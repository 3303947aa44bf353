/* A relayed SMTP session: conversations in tables. C and S say what passes as it is; CX and SX what
 * comes of it. */
#include "tests/lib/inspect_talk.h"

#pragma GCC diagnostic ignored "-Woverlength-strings" /* the longest lines stand in the table */

#define MAIL     "MAIL FROM:<a@a.example>\r\n"
#define RCPT     "RCPT TO:<b@b.example>\r\n"
#define OK       "250 2.0.0 Ok\r\n"
#define GO       "354 Go ahead\r\n"
#define GARBAGE  "421 4.4.2 The mail server answered what cannot be understood\r\n"
#define TOO_MANY "421 4.7.0 Too many errors\r\n"
#define UNKNOWN  "500 5.5.1 Unknown command\r\n"
#define SPOILED  "500 5.5.2 A line must end in CRLF and hold no other CR, LF or NUL\r\n"
#define TOO_LONG "500 5.5.2 Line too long\r\n"
#define BARE_WORDS                                                                                 \
    "550 5.5.2 Bare newline in message\r\n421 4.5.2 Bare newline in message, closing\r\n"
#define READY_TLS "220 2.0.0 Ready to start TLS\r\n"

#define X10(text) text text text text text text text text text text
#define X100(text)                                                                                 \
    X10(text)                                                                                      \
    X10(text) X10(text) X10(text) X10(text) X10(text) X10(text) X10(text) X10(text) X10(text)
#define X500(text)  X100(text) X100(text) X100(text) X100(text) X100(text)
#define X2000(text) X500(text) X500(text) X500(text) X500(text)

static const struct talk plain_sailing[] = {
    { .name = "a message",
      .steps = { C(MAIL), S(OK), C(RCPT), S(OK), C("DATA\r\n"), S(GO),
                 C("Subject: a\r\n\r\nb\r\n.\r\n"), S(OK), C("QUIT\r\n"), S("221 Bye\r\n") },
      .messages = 1,
      .quit = true },
    { .name = "all that passes",
      .steps = { C("NOOP\r\nRSET\r\nVRFY a\r\nEXPN b\r\nETRN c\r\nHELP\r\nhelp me\r\nRcpt "
                   "to:<>\r\n"),
                 S(OK OK OK OK OK OK OK "503 5.5.1 no\r\n") } },
    { .name = "replies of several lines",
      .steps = { C("HELP\r\nNOOP\r\n"), S("214-a\r\n214-b\r\n214 c\r\n"), S(OK) } },
    { .name = "a reply without text", .steps = { C("NOOP\r\nRSET\r\n"), S("250\r\n250 \r\n") } },
    { .name = "a reply with bare LF passes as it is",
      .steps = { C("NOOP\r\nHELP\r\n"), S("250 ok\n214-a\n214 b\n") } },
    { .name = "a reply with a NUL and eight bits",
      .steps = { C("NOOP\r\n"), S("250 \0\xff\r\n") } },
    { .name = "the longest reply line",
      .steps = { C("NOOP\r\n"), S("250 " X2000("a") X10("abcd") "ab\r\n") } },
    { .name = "an empty message",
      .steps = { C(MAIL RCPT "DATA\r\n"), S(OK OK GO), C(".\r\n"), S(OK) },
      .messages = 1 },
    { .name = "a message that is refused",
      .steps = { C(MAIL RCPT "DATA\r\n"), S(OK OK GO), C("a\r\n.\r\n"), S("554 5.7.1 Spam\r\n") } },
    { .name = "two messages",
      .steps = { C(MAIL RCPT "DATA\r\n"), S(OK OK GO), C("a\r\n.\r\n" MAIL RCPT "DATA\r\n"), S(OK),
                 S(OK OK GO), C("b\r\n.\r\n"), S(OK) },
      .messages = 2 },
    { .name = "commands behind the final dot",
      .steps = { C(MAIL RCPT "DATA\r\n"), S(OK OK GO), C("a\r\n.\r\nRSET\r\nQUIT\r\n"), S(OK OK),
                 S("221 Bye\r\n") },
      .messages = 1,
      .quit = true },
    { .name = "QUIT, and the server closes",
      .steps = { C("QUIT\r\n"), S("221 Bye\r\n") },
      .quit = true },
    { .name = "a client that talks on behind QUIT",
      .steps = { CX("QUIT\r\nNOOP\r\n", "QUIT\r\n", ""), S("221 Bye\r\n") },
      .quit = true,
      .end = INSPECT_CLOSE },
    { .name = "a server that talks on behind QUIT",
      .steps = { C("QUIT\r\n"), SX("221 Bye\r\n220 again\r\n", "", "221 Bye\r\n") },
      .quit = true,
      .end = INSPECT_CLOSE },
    { .name = "QUIT that is refused",
      .steps = { C("QUIT\r\n"), S("500 What?\r\n"), C("NOOP\r\n"), S(OK) },
      .quit = true },
};

static const struct talk rule_15[] = {
    { .name = "rule 15: nothing behind DATA passes before 354",
      .steps = { CX(MAIL RCPT "DATA\r\nhello\r\n.\r\nQUIT\r\n", MAIL RCPT "DATA\r\n", ""), S(OK OK),
                 SX(GO, "hello\r\n.\r\nQUIT\r\n", GO), S(OK "221 Bye\r\n") },
      .messages = 1,
      .quit = true },
    { .name = "rule 15: DATA refused makes what follows commands",
      .steps = { CX(MAIL "DATA\r\nRSET\r\n.\r\nNOOP\r\n", MAIL "DATA\r\n", ""),
                 SX(OK "503 5.5.1 no\r\n", "RSET\r\n", OK "503 5.5.1 no\r\n"),
                 SX(OK, "NOOP\r\n", OK UNKNOWN), S(OK) },
      .errors = 1 },
    { .name = "rule 15: DATA and 250 makes what follows commands",
      .steps = { CX("DATA\r\nRSET\r\n", "DATA\r\n", ""), SX(OK, "RSET\r\n", OK), S(OK) } },
    { .name = "rule 15: DATA and 354 of two lines",
      .steps = { CX("DATA\r\na\r\n.\r\n", "DATA\r\n", ""), S("354-Go\r\n"),
                 SX("354 on\r\n", "a\r\n.\r\n", "354 on\r\n"), S(OK) },
      .messages = 1 },
    { .name = "rule 15: EHLO is a synchronisation point",
      .steps = { CX("EHLO a\r\nNOOP\r\n", "EHLO a\r\n", ""),
                 SX("250 a\r\n", "NOOP\r\n", "250-gate.example\r\n250 STARTTLS\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 15: HELO is a synchronisation point",
      .steps = { CX("HELO a\r\nNOOP\r\n", "HELO a\r\n", ""),
                 SX("250 a\r\n", "NOOP\r\n", "250 a\r\n"), S(OK) } },
    { .name = "rule 15: AUTH is a synchronisation point",
      .steps = { CX("AUTH PLAIN AGEAYg==\r\nNOOP\r\n", "AUTH PLAIN AGEAYg==\r\n", ""),
                 SX("235 in\r\n", "NOOP\r\n", "235 in\r\n"), S(OK) },
      .login = "a" },
    { .name = "rule 15: QUIT is a synchronisation point",
      .steps = { CX("QUIT\r\nNOOP\r\n", "QUIT\r\n", "") },
      .quit = true,
      .waits = true,
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 15: STARTTLS waits for the queue to empty",
      .steps = { CX("NOOP\r\nSTARTTLS\r\n", "NOOP\r\n", ""), SX(OK, "", OK READY_TLS) },
      .end = INSPECT_TLS },
    { .name = "rule 15: our own answers keep the order",
      .steps = { CX("NOOP\r\nFOO\r\nRSET\r\n", "NOOP\r\n", ""), SX(OK, "RSET\r\n", OK UNKNOWN),
                 S(OK) },
      .errors = 1 },
    { .name = "rule 15: a spoiled line waits for its turn",
      .steps = { CX("NOOP\r\na\rb\r\nRSET\r\n", "NOOP\r\n", ""), SX(OK, "RSET\r\n", OK SPOILED),
                 S(OK) },
      .errors = 1 },
    { .name = "rule 15: a server without PIPELINING hears one command at a time",
      .steps = { CX(MAIL RCPT "NOOP\r\n", MAIL, ""), SX(OK, RCPT, OK), SX(OK, "NOOP\r\n", OK),
                 S(OK) },
      .no_pipelining = true },
    { .name = "rule 15: without PIPELINING nothing follows the final dot",
      .steps = { C("DATA\r\n"), S(GO), CX("a\r\n.\r\nQUIT\r\n", "a\r\n.\r\n", ""),
                 SX(OK, "QUIT\r\n", OK) },
      .no_pipelining = true,
      .messages = 1,
      .quit = true,
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 15: half a command waits for nothing",
      .steps = { CX("NOOP\r\nRS", "NOOP\r\n", ""), S(OK), CX("ET\r\n", "RSET\r\n", ""), S(OK) } },
    { .name = "rule 15: 128 replies may be outstanding",
      .steps = { CX(X100("NOOP\r\n") X10("NOOP\r\n") X10("NOOP\r\n") X10("NOOP\r\n"),
                    X100("NOOP\r\n") X10("NOOP\r\n")
                        X10("NOOP\r\n") "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNO"
                                        "OP\r\n",
                    ""),
                 SX(OK, "NOOP\r\n", OK), SX(OK, "NOOP\r\n", OK) },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 15: a reply that nobody asked for",
      .steps = { SX(OK, "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: one reply too many",
      .steps = { C("NOOP\r\n"), SX(OK OK, "", OK GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: a reply inside a message",
      .steps = { C("DATA\r\n"), S(GO), C("a\r\n"), SX("552 5.3.4 big\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: a second banner",
      .steps = { SX("220 again\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: 421 that nobody asked for passes and ends it",
      .steps = { SX("421 4.3.2 down\r\n", "", "421 4.3.2 down\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: 421 of two lines",
      .steps = { SX("421-a\r\n421 b\r\n", "", "421-a\r\n421 b\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: 421 to a command",
      .steps = { C("NOOP\r\n"), SX("421 4.3.2 down\r\nxx\r\n", "", "421 4.3.2 down\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: 421 inside a message",
      .steps = { C("DATA\r\n"), S(GO), C("a\r\n"), S("421 4.4.2 Timeout\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: 421 to EHLO",
      .steps = { C("EHLO a\r\n"), S("421 4.3.2 down\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
};

static const struct talk rule_24[] = {
    { .name = "rule 24: no digits",
      .steps = { C("NOOP\r\n"), SX("hello\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: two digits",
      .steps = { C("NOOP\r\n"), SX("25\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: four digits",
      .steps = { C("NOOP\r\n"), SX("2500 a\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: an empty line",
      .steps = { C("NOOP\r\n"), SX("\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a code that begins with 1",
      .steps = { C("NOOP\r\n"), SX("150 a\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a code that begins with 6",
      .steps = { C("NOOP\r\n"), SX("650 a\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: another mark behind the code",
      .steps = { C("NOOP\r\n"), SX("250+a\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: two codes in one reply",
      .steps = { C("NOOP\r\n"), SX("250-a\r\n251 b\r\n", "", "250-a\r\n" GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a whole reply before garbage passes",
      .steps = { C("NOOP\r\nNOOP\r\n"), SX(OK "xyz\r\n", "", OK GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a reply line of one octet too many",
      .steps = { C("NOOP\r\n"), SX("250 " X2000("a") X10("abcd") "abc\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a reply line without an end",
      .steps = { C("NOOP\r\n"), SX("250 " X2000("a") X100("a"), "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: 354 to what is not DATA",
      .steps = { C(MAIL), SX(GO, "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: 354 to the end of data",
      .steps = { C("DATA\r\n"), S(GO), C(".\r\n"), SX(GO, "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: 334 to what is not AUTH",
      .steps = { C("NOOP\r\n"), SX("334 \r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: 334 to DATA",
      .steps = { C("DATA\r\n"), SX("334 \r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: 354 to AUTH",
      .steps = { C("AUTH X\r\n"), SX(GO, "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: EHLO of 101 lines",
      .steps = { C("EHLO a\r\n"), SX(X100("250-X\r\n") "250 X\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: EHLO of more than 16 KiB",
      .steps = { C("EHLO a\r\n"), SX(X10("250-" X2000("a") "\r\n"), "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: EHLO of two codes",
      .steps = { C("EHLO a\r\n"), SX("250-a\r\n220 b\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: nothing passes behind the last word",
      .steps = { SX("xyz\r\n", "", GARBAGE), CX("NOOP\r\n", "", ""), SX(OK, "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
};

static const struct talk rule_2[] = {
    { .name = "rule 2: a bare LF ends no line, and is told at once",
      .steps = { CX("NOOP\n", "", SPOILED) },
      .errors = 1,
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "rule 2: what follows a bare LF is void up to CRLF",
      .steps = { CX("NOOP\nRSET\r\nNOOP\r\n", "NOOP\r\n", SPOILED), S(OK) },
      .errors = 1 },
    { .name = "rule 2: a bare CR",
      .steps = { CX("NO\rOP\r\nNOOP\r\n", "NOOP\r\n", SPOILED), S(OK) },
      .errors = 1 },
    { .name = "rule 2: CR CR LF",
      .steps = { CX("NOOP\r\r\nNOOP\r\n", "NOOP\r\n", SPOILED), S(OK) },
      .errors = 1 },
    { .name = "rule 2: a NUL",
      .steps = { CX("NO\0OP\r\nNOOP\r\n", "NOOP\r\n", SPOILED), S(OK) },
      .errors = 1 },
    { .name = "rule 2: a NUL at the end",
      .steps = { CX("NOOP\0\r\nNOOP\r\n", "NOOP\r\n", SPOILED), S(OK) },
      .errors = 1 },
    { .name = "rule 2: the longest line", .steps = { C("NOOP " X500("a") "abcde\r\n"), S(OK) } },
    { .name = "rule 2: a line of one octet too many",
      .steps = { CX("NOOP " X500("a") "abcdef\r\nNOOP\r\n", "NOOP\r\n", TOO_LONG), S(OK) },
      .errors = 1 },
    { .name = "rule 2: the longest MAIL",
      .steps = { C("MAIL FROM:" X2000("a") X10("abc") "abcdef\r\n"), S("501 no\r\n") } },
    { .name = "rule 2: a MAIL of one octet too many",
      .steps = { CX("MAIL FROM:" X2000("a") X10("abc") "abcdefg\r\n", "", TOO_LONG) },
      .errors = 1,
      .secret = true },
    { .name = "rule 2: the longest RCPT",
      .steps = { C("RCPT TO:" X2000("a") X10("abc") "abcdefgh\r\n"), S("501 no\r\n") } },
    { .name = "rule 2: the longest AUTH",
      .steps = { C("AUTH XOAUTH " X2000("a") X2000("a") X2000("a") X2000("a") X2000("a") X2000("a")
                       X100("a") X100("a") X10("abcdef") "abcdefghijklmn\r\n"),
                 S("535 no\r\n") },
      .failed = 1,
      .secret = true },
    { .name = "rule 2: an AUTH of one octet too many",
      .steps = { CX("AUTH XOAUTH " X2000("a") X2000("a") X2000("a") X2000("a") X2000("a") X2000("a")
                        X100("a") X100("a") X10("abcdef") "abcdefghijklmno\r\nNOOP\r\n",
                    "NOOP\r\n", TOO_LONG),
                 S(OK) },
      .errors = 1 },
    { .name = "rule 2: a line of 100 kB",
      .steps = { CX(X2000(X10("abcde")) "\r\nNOOP\r\n", "NOOP\r\n", TOO_LONG), S(OK) },
      .errors = 1 },
    { .name = "rule 2: ten bad commands end it",
      .steps = { CX(X10("FOO\r\n") "NOOP\r\n", "", X10(UNKNOWN) TOO_MANY) },
      .errors = 10,
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: bad commands before count",
      .steps = { CX("FOO\r\nNOOP\r\n", "", UNKNOWN TOO_MANY) },
      .errors_before = 9,
      .errors = 1,
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: nine do not end it",
      .steps = { CX(X10("FOO\r\n") "NOOP\r\n", "NOOP\r\n", X10(UNKNOWN)) },
      .errors = 10,
      .max_errors = 11,
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER,
      .secret = true },
    { .name = "rule 2: a server's refusal is no bad command",
      .steps = { C("VRFY a\r\n"), S("502 5.5.1 no\r\n") },
      .max_errors = 1 },
    { .name = "rule 2: GET",
      .steps = { CX("GET / HTTP/1.1\r\nHost: a\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: POST",
      .steps = { CX("POST / HTTP/1.1\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: PUT",
      .steps = { CX("put / HTTP/1.1\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: HEAD",
      .steps = { CX("HEAD / HTTP/1.1\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: OPTIONS",
      .steps = { CX("OPTIONS *\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: CONNECT",
      .steps = { CX("CONNECT a:25\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: GET behind commands",
      .steps = { CX("NOOP\r\nGET /\r\n", "NOOP\r\n", ""), S(OK) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "a blank before a command",
      .steps = { CX(" DATA\r\n\tDATA\r\n", "",
                    "500 5.5.2 Syntax error\r\n500 5.5.2 Syntax error\r\n") },
      .errors = 2,
      .secret = true },
    { .name = "an empty line",
      .steps = { CX("\r\n", "", "500 5.5.2 Syntax error\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "verbs that nobody understands",
      .steps = { CX("TURN\r\nATRN a\r\nXEXCH50 4 5\r\nDATA:\r\nRETR 1\r\n", "",
                    UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN) },
      .errors = 5,
      .secret = true },
};

static const struct talk rule_10[] = {
    { .name = "rule 10: STARTTLS",
      .steps = { CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS },
    { .name = "rule 10: STARTTLS with an argument",
      .steps = { CX("STARTTLS a\r\n", "", "501 5.5.4 No argument is allowed\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS under TLS",
      .steps = { CX("STARTTLS\r\n", "", "503 5.5.1 TLS is on already\r\n") },
      .tls = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS without TLS on this port",
      .steps = { CX("STARTTLS\r\n", "", "502 5.5.1 TLS is not available on this port\r\n") },
      .no_tls = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS before EHLO",
      .steps = { CX("STARTTLS\r\n", "", "503 5.5.1 Send EHLO first\r\n") },
      .no_hello = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 10: EHLO, then STARTTLS",
      .steps = { C("EHLO a\r\n"), SX("250 a\r\n", "", "250-gate.example\r\n250 STARTTLS\r\n"),
                 CX("STARTTLS\r\n", "", READY_TLS) },
      .no_hello = true,
      .end = INSPECT_TLS },
    { .name = "rule 10: STARTTLS inside a transaction",
      .steps = { C(MAIL), S(OK),
                 CX("STARTTLS\r\n", "",
                    "503 5.5.1 STARTTLS is not allowed inside a transaction\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS behind MAIL that is outstanding",
      .steps = { CX(MAIL "STARTTLS\r\n", MAIL, ""),
                 SX(OK, "", OK "503 5.5.1 STARTTLS is not allowed inside a transaction\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS behind MAIL that was refused",
      .steps = { C(MAIL), S("550 no\r\n"), CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS },
    { .name = "rule 10: STARTTLS behind RSET",
      .steps = { C(MAIL "RSET\r\n"), S(OK OK), CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS },
    { .name = "rule 10: STARTTLS behind RSET that was refused",
      .steps = { C(MAIL "RSET\r\n"), S(OK "500 no\r\n"),
                 CX("STARTTLS\r\n", "",
                    "503 5.5.1 STARTTLS is not allowed inside a transaction\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS behind HELO",
      .steps = { C(MAIL), S(OK), C("HELO a\r\n"), S(OK), CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS },
    { .name = "rule 10: STARTTLS behind a message",
      .steps = { C(MAIL "DATA\r\n"), S(OK GO), C(".\r\n"), S(OK),
                 CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS,
      .messages = 1 },
    { .name = "rule 10: STARTTLS behind BDAT LAST",
      .steps = { C(MAIL "BDAT 0 LAST\r\n"), S(OK OK), CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS,
      .messages = 1 },
    { .name = "rule 10: STARTTLS behind BDAT",
      .steps = { C(MAIL "BDAT 0\r\n"), S(OK OK),
                 CX("STARTTLS\r\n", "",
                    "503 5.5.1 STARTTLS is not allowed inside a transaction\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 10: STARTTLS inside AUTH is an answer",
      .steps = { C("AUTH X\r\n"), S("334 \r\n"), C("STARTTLS\r\n"), S("501 no\r\n") },
      .secret = true },
    { .name = "rule 3: what stands behind STARTTLS is not taken",
      .steps = { CX("STARTTLS\r\n" MAIL, "", READY_TLS) },
      .end = INSPECT_TLS },
};

static const struct talk rule_12_and_14[] = {
    { .name = "rule 12: TLS required",
      .steps = { CX(MAIL "AUTH PLAIN\r\nVRFY a\r\nRSET\r\nFOO\r\n", "",
                    "530 5.7.0 Must issue a STARTTLS command first\r\n"
                    "530 5.7.0 Must issue a STARTTLS command first\r\n530 5.7.0 Must issue a "
                    "STARTTLS command first\r\n"
                    "530 5.7.0 Must issue a STARTTLS command first\r\n530 5.7.0 Must issue a "
                    "STARTTLS command first\r\n") },
      .require_tls = REQUIRE_TLS_YES,
      .errors = 5,
      .secret = true },
    { .name = "rule 12: what works before TLS",
      .steps = { C("NOOP\r\nHELP\r\n"), S(OK "214 a\r\n"), CX("STARTTLS\r\n", "", READY_TLS) },
      .require_tls = REQUIRE_TLS_YES,
      .end = INSPECT_TLS },
    { .name = "rule 12: all works under TLS",
      .steps = { C(MAIL), S(OK) },
      .require_tls = REQUIRE_TLS_YES,
      .tls = true },
    { .name = "rule 12: AUTH before TLS",
      .steps = { CX("AUTH PLAIN AGEAYg==\r\n" MAIL, MAIL,
                    "538 5.7.11 Encryption is required to log in: use STARTTLS first\r\n"),
                 S(OK) },
      .require_tls = REQUIRE_TLS_AUTH,
      .errors = 1,
      .in_clear = true },
    { .name = "rule 12: AUTH under TLS",
      .steps = { C("AUTH PLAIN AGEAYg==\r\n"), S("235 in\r\n") },
      .require_tls = REQUIRE_TLS_AUTH,
      .tls = true,
      .login = "a",
      .secret = true },
    { .name = "rule 12: a refused AUTH is a secret all the same",
      .steps = { CX("AUTH PLAIN AGEAYg==\r\n", "",
                    "538 5.7.11 Encryption is required to log in: use STARTTLS first\r\n") },
      .require_tls = REQUIRE_TLS_AUTH,
      .errors = 1,
      .secret = true,
      .in_clear = true },
    { .name = "rule 12: a refused BDAT ends it",
      .steps = { CX("BDAT 6\r\nNOOP\r\n", "",
                    "530 5.7.0 Must issue a STARTTLS command first\r\n") },
      .require_tls = REQUIRE_TLS_YES,
      .errors = 1,
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 14: MAIL before the login",
      .steps = { CX(MAIL, "", "530 5.7.0 Authentication required\r\n") },
      .require_auth = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 14: MAIL behind the login",
      .steps = { C("AUTH PLAIN AGEAYg==\r\n"), S("235 in\r\n"), C(MAIL), S(OK) },
      .require_auth = true,
      .login = "a" },
    { .name = "rule 14: MAIL behind a failed login",
      .steps = { C("AUTH PLAIN AGEAYg==\r\n"), S("535 no\r\n"),
                 CX(MAIL, "", "530 5.7.0 Authentication required\r\n") },
      .require_auth = true,
      .failed = 1,
      .errors = 1,
      .secret = true },
    { .name = "rule 14: MAIL behind a login that is outstanding",
      .steps = { CX("AUTH PLAIN AGEAYg==\r\n" MAIL, "AUTH PLAIN AGEAYg==\r\n", ""),
                 SX("454 no\r\n", "", "454 no\r\n530 5.7.0 Authentication required\r\n") },
      .require_auth = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 17: a size above the limit",
      .steps = { CX("MAIL FROM:<a> BODY=8BITMIME size=1001\r\n", "",
                    "552 5.3.4 Message size exceeds the limit\r\n") },
      .size_limit = 1000,
      .secret = true },
    { .name = "rule 17: a size at the limit",
      .steps = { C("MAIL FROM:<a> SIZE=1000 X=Y\r\n"), S(OK) },
      .size_limit = 1000 },
    { .name = "rule 17: a size that is no number is the server's to judge",
      .steps = { C("MAIL FROM:<a> SIZE=x\r\n"), S("501 no\r\n") },
      .size_limit = 1000 },
    { .name = "rule 18: XCLIENT and XFORWARD",
      .steps = { CX("XCLIENT ADDR=1.2.3.4\r\nxforward NAME=a\r\n", "",
                    "550 5.7.0 Not allowed\r\n550 5.7.0 Not allowed\r\n") },
      .errors = 2,
      .secret = true },
};

static const struct talk rule_16[] = {
    { .name = "rule 16: bare newlines are made CRLF",
      .steps = { C("DATA\r\n"), S(GO), CX("a\n.\nb\r.\r\n.\r\n", "a\r\n..\r\nb\r\n..\r\n.\r\n", ""),
                 S(OK) },
      .messages = 1,
      .bare = true },
    { .name = "rule 16: no command is smuggled",
      .steps = { C("DATA\r\n"), S(GO),
                 CX("a\r\n.\nMAIL FROM:<x>\r\n.\r\n", "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n", ""),
                 S(OK) },
      .messages = 1,
      .bare = true },
    { .name = "rule 16: bare newlines are refused",
      .steps = { C("DATA\r\n"), S(GO), CX("ok\r\na\nb\r\n.\n.\r", "ok\r\na", ""),
                 CX("\nc\r\n.", "", ""), CX("\r\nNOOP\r\n", "", BARE_WORDS) },
      .bare_newline = BARE_NEWLINE_REJECT,
      .end = INSPECT_CLOSE,
      .violation = true,
      .bare = true },
    { .name = "rule 16: a refused message without an end",
      .steps = { C("DATA\r\n"), S(GO), CX("a\nb\r\n", "a", "") },
      .bare_newline = BARE_NEWLINE_REJECT,
      .bare = true,
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 16: CRLF.LF is refused",
      .steps = { C("DATA\r\n"), S(GO), CX("a\r\n.\nb\r\n.\r\n", "a\r\n", BARE_WORDS) },
      .bare_newline = BARE_NEWLINE_REJECT,
      .end = INSPECT_CLOSE,
      .violation = true,
      .bare = true },
    { .name = "rule 16: a clean message passes where bare newlines are refused",
      .steps = { C("DATA\r\n"), S(GO), C("a\r\n..\r\n.\r\n"), S(OK) },
      .bare_newline = BARE_NEWLINE_REJECT,
      .messages = 1 },
    { .name = "rule 16: all octets pass",
      .steps = { C("DATA\r\n"), S(GO), C("a\n.\nb\r.\r\n.\n.\r\r\n\r\n.\r\n"), S(OK) },
      .bare_newline = BARE_NEWLINE_PASS,
      .messages = 1 },
    { .name = "rule 16: half an end is none",
      .steps = { C("DATA\r\n"), S(GO), CX("a\r\n.", "a\r\n", "") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 16: the end in parts",
      .steps = { C("DATA\r\n"), S(GO), CX("a\r", "a", ""), CX("\n", "\r\n", ""), CX(".", "", ""),
                 CX("\r", "", ""), CX("\n", ".\r\n", "") },
      .phase = INSPECT_PHASE_FINAL,
      .client_end = INSPECT_END_FLUSH },
    { .name = "rule 16: BDAT passes as it is",
      .steps = { C("BDAT 9\r\na\n.\r\nb\r\0\xff"
                   "BDAT 3 LAST\r\n.\r\n"),
                 S(OK), S(OK) },
      .messages = 1 },
    { .name = "rule 16: BDAT 0 LAST",
      .steps = { C("BDAT 3\r\nabcBDAT 0 LAST\r\nNOOP\r\n"), S(OK OK), S(OK) },
      .messages = 1 },
    { .name = "rule 16: chunks are not awaited",
      .steps = { C("BDAT 3\r\nabc"), C("BDAT 3\r\nab"), C("c"), S(OK OK) } },
    { .name = "rule 16: without PIPELINING a chunk follows its command",
      .steps = { CX("BDAT 3\r\nabcBDAT 2 LAST\r\nde", "BDAT 3\r\nabc", ""),
                 SX(OK, "BDAT 2 LAST\r\nde", OK), S(OK) },
      .no_pipelining = true,
      .messages = 1 },
    { .name = "rule 16: counting goes on after an error",
      .steps = { C("BDAT 6\r\nNO"), S("503 5.5.1 no\r\n"), C("OP\r\n"), C("NOOP\r\n"), S(OK) } },
    { .name = "rule 16: a chunk that is refused before its octets come",
      .steps = { C("BDAT 6 LAST\r\n"), S("552 no\r\n"), C("NOOP\r\n"), C("RSET\r\n"), S(OK) } },
    { .name = "rule 16: BDAT is passed as it was understood",
      .steps = { CX("bdat  010\tlast \r\n0123456789", "BDAT 10 LAST\r\n0123456789", ""), S(OK) },
      .messages = 1 },
    { .name = "rule 16: BDAT in another case",
      .steps = { C("Bdat 1 Last\r\na"), S(OK) },
      .messages = 1 },
    { .name = "rule 16: the largest chunk",
      .steps = { C("BDAT 9223372036854775808\r\nabc") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 16: a chunk above 2^63",
      .steps = { CX("BDAT 9223372036854775809\r\nabc", "",
                    "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: a chunk above 2^64",
      .steps = { CX("BDAT 18446744073709551617\r\na", "",
                    "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT without a size",
      .steps = { CX("BDAT\r\n", "", "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT LAST without a size",
      .steps = { CX("BDAT LAST\r\n", "", "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT with a sign",
      .steps = { CX("BDAT +5\r\n", "", "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT with a hexadecimal size",
      .steps = { CX("BDAT 0x10\r\n", "", "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT with another word",
      .steps = { CX("BDAT 5 FIRST\r\n", "", "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT with one word too many",
      .steps = { CX("BDAT 5 LAST LAST\r\n", "", "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: a bad BDAT waits for its turn",
      .steps = { CX("NOOP\r\nBDAT x\r\nRSET\r\n", "NOOP\r\n", ""),
                 SX(OK, "", OK "501 5.5.4 BDAT needs a number of octets\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: BDAT that was not offered",
      .steps = { CX("BDAT 6\r\nNOOP\r\n", "", "502 5.5.1 BDAT is not offered\r\n") },
      .no_chunking = true,
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 16: HELO takes CHUNKING and PIPELINING back",
      .steps = { C("HELO a\r\n"), S(OK), CX("NOOP\r\nNOOP\r\n", "NOOP\r\n", ""),
                 SX(OK, "NOOP\r\n", OK), S(OK),
                 CX("BDAT 1\r\na", "", "502 5.5.1 BDAT is not offered\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
};

static const struct talk rule_13[] = {
    { .name = "rule 13: PLAIN with an initial response",
      .steps = { C("AUTH PLAIN AGpvZQBwYXNz\r\n"), S("235 2.7.0 in\r\n") },
      .login = "joe",
      .secret = true },
    { .name = "rule 13: PLAIN with an authorisation name",
      .steps = { C("auth plain Ym9zcwBqb2UAcGFzcw==\r\n"), S("235 2.7.0 in\r\n") },
      .login = "joe",
      .secret = true },
    { .name = "rule 13: PLAIN in two steps",
      .steps = { C("AUTH PLAIN\r\n"), S("334 \r\n"), C("AGpvZQBwYXNz\r\n"), S("235 in\r\n"),
                 C("NOOP\r\n"), S(OK) },
      .login = "joe" },
    { .name = "rule 13: LOGIN",
      .steps = { C("AUTH LOGIN\r\n"), S("334 VXNlcm5hbWU6\r\n"), C("am9l\r\n"),
                 S("334 UGFzc3dvcmQ6\r\n"), C("cGFzcw==\r\n"), S("235 in\r\n") },
      .login = "joe",
      .secret = true },
    { .name = "rule 13: LOGIN with an initial response",
      .steps = { C("AUTH LOGIN am9l\r\n"), S("334 UGFzc3dvcmQ6\r\n"), C("cGFzcw==\r\n"),
                 S("235 in\r\n") },
      .login = "joe",
      .secret = true },
    { .name = "rule 13: CRAM-MD5",
      .steps = { C("AUTH CRAM-MD5\r\n"), S("334 PDFAYT4=\r\n"),
                 C("am9lIGRvZSAwMTIzNDU2Nzg5YWJjZGVm\r\n"), S("235 in\r\n") },
      .login = "joe doe",
      .secret = true },
    { .name = "rule 13: a mechanism whose name is not looked for",
      .steps = { C("AUTH XOAUTH2 abcd\r\n"), S("235 in\r\n") },
      .secret = true },
    { .name = "rule 13: an empty initial response",
      .steps = { C("AUTH PLAIN =\r\n"), S("535 no\r\n") },
      .failed = 1,
      .secret = true },
    { .name = "rule 13: an answer that is no base64",
      .steps = { C("AUTH PLAIN\r\n"), S("334 \r\n"), C("!!!\r\n"), S("235 in\r\n") },
      .secret = true },
    { .name = "rule 13: PLAIN without NULs",
      .steps = { C("AUTH PLAIN am9l\r\n"), S("235 in\r\n") },
      .secret = true },
    { .name = "rule 13: PLAIN with one NUL",
      .steps = { C("AUTH PLAIN AGpvZQ==\r\n"), S("235 in\r\n") },
      .secret = true },
    { .name = "rule 13: a long name is cut",
      .steps = { C("AUTH LOGIN "
                   "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
                   "hYWFhYWFhYWFhYWFh\r\n"),
                 S("235 in\r\n") },
      .login = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      .secret = true },
    { .name = "rule 13: a failed login",
      .steps = { C("AUTH PLAIN AGpvZQBwYXNz\r\n"), S("535 5.7.8 no\r\n"),
                 C("AUTH PLAIN AGpvZQBwYXNz\r\n"), S("535 5.7.8 no\r\n") },
      .failed = 2,
      .secret = true },
    { .name = "rule 13: a login behind a failed one",
      .steps = { C("AUTH PLAIN AGpvZQBwYXNz\r\n"), S("535 no\r\n"), C("AUTH LOGIN YW5u\r\n"),
                 S("334 \r\n"), C("eA==\r\n"), S("235 in\r\n") },
      .failed = 1,
      .login = "ann",
      .secret = true },
    { .name = "rule 13: 454 is no failed login",
      .steps = { C("AUTH PLAIN AGpvZQBwYXNz\r\n"), S("454 later\r\n") },
      .secret = true },
    { .name = "rule 13: 504 is no failed login",
      .steps = { C("AUTH FOO\r\n"), S("504 what?\r\n") },
      .secret = true },
    { .name = "rule 13: a star cancels",
      .steps = { C("AUTH LOGIN\r\n"), S("334 \r\n"), C("*\r\n"), S("501 cancelled\r\n"),
                 C("NOOP\r\n"), S(OK) } },
    { .name = "rule 13: an answer is no command",
      .steps = { C("AUTH X\r\n"), S("334 \r\n"), C("QUIT\r\n"), S("501 no\r\n") },
      .secret = true },
    { .name = "rule 13: an empty answer",
      .steps = { C("AUTH X\r\n"), S("334 \r\n"), C("\r\n"), S("235 in\r\n") },
      .secret = true },
    { .name = "rule 13: one answer at a time",
      .steps = { CX("AUTH X\r\na\r\nb\r\nNOOP\r\n", "AUTH X\r\n", ""),
                 SX("334 \r\n", "a\r\n", "334 \r\n"), SX("334 \r\n", "b\r\n", "334 \r\n"),
                 SX("235 in\r\n", "NOOP\r\n", "235 in\r\n"), S(OK) } },
    { .name = "rule 13: a spoiled answer cancels",
      .steps = { C("AUTH X\r\n"), S("334 \r\n"), CX("a\0b\r\n", "*\r\n", ""),
                 S("501 cancelled\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 13: a spoiled answer too many",
      .steps = { C("AUTH X\r\n"), S("334 \r\n"), CX("a\0b\r\n", "", SPOILED TOO_MANY) },
      .errors_before = 9,
      .errors = 1,
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 13: the client's turn in AUTH",
      .steps = { C("AUTH X\r\n"), S("334 \r\n") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "rule 13: AUTH whose reply is outstanding",
      .steps = { C("AUTH X\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "rule 13: half an AUTH is a secret",
      .steps = { CX("AUTH PLAIN AGp", "", "") },
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "rule 13: what does not work through a proxy",
      .steps = { CX("AUTH GSSAPI\r\nAUTH gss-spnego\r\nAUTH NTLM\r\nAUTH DIGEST-MD5\r\nAUTH "
                    "EXTERNAL =\r\n"
                    "AUTH SCRAM-SHA-256-PLUS a\r\nNOOP\r\n",
                    "NOOP\r\n",
                    "504 5.5.4 This mechanism is not offered\r\n504 5.5.4 This mechanism is not "
                    "offered\r\n"
                    "504 5.5.4 This mechanism is not offered\r\n504 5.5.4 This mechanism is not "
                    "offered\r\n504 5.5.4 This mechanism is not offered\r\n"
                    "504 5.5.4 This mechanism is not offered\r\n"),
                 S(OK) },
      .errors = 6 },
    { .name = "rule 13: AUTH without a mechanism",
      .steps = { CX("AUTH\r\n", "", "501 5.5.4 An argument is missing\r\n") },
      .errors = 1,
      .secret = true },
};

static const struct talk rule_9[] = {
    { .name = "rule 9: EHLO is masked",
      .steps = { C("EHLO a\r\n"), SX("250-srv\r\n250-XCLIENT NAME\r\n250-SIZE "
                                     "1000\r\n250-X-FOO\r\n250-AUTH PLAIN NTLM\r\n250 8BITMIME\r\n",
                                     "",
                                     "250-gate.example\r\n250-STARTTLS\r\n250-SIZE "
                                     "1000\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n") } },
    { .name = "rule 9: EHLO under TLS",
      .steps = { C("EHLO a\r\n"), SX("250-srv\r\n250-STARTTLS\r\n250 PIPELINING\r\n", "",
                                     "250-gate.example\r\n250 PIPELINING\r\n") },
      .tls = true },
    { .name = "rule 9: EHLO of one line",
      .steps = { C("EHLO a\r\n"), SX("250 srv\r\n", "", "250 gate.example\r\n") },
      .no_tls = true },
    { .name = "rule 9: EHLO with bare LF",
      .steps = { C("EHLO a\r\n"),
                 SX("250-srv\n250 SIZE\n", "", "250-gate.example\r\n250 SIZE\r\n") },
      .no_tls = true },
    { .name = "rule 9: EHLO that is refused passes",
      .steps = { C("EHLO a\r\n"), S("502-no\r\n502 EHLO\r\n"), C("HELO a\r\n"), S("250 a\r\n") } },
    { .name = "rule 9: EHLO takes PIPELINING and CHUNKING back",
      .steps = { C("EHLO a\r\n"), SX("250 srv\r\n", "", "250 gate.example\r\n"),
                 CX("NOOP\r\nBDAT 1\r\na", "NOOP\r\n", ""),
                 SX(OK, "", OK "502 5.5.1 BDAT is not offered\r\n") },
      .no_tls = true,
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 9: EHLO gives PIPELINING and CHUNKING",
      .steps = { C("EHLO a\r\n"),
                 SX("250-srv\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "",
                    "250-gate.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
                 C("NOOP\r\nBDAT 1\r\na"), S(OK OK) },
      .no_tls = true,
      .no_pipelining = true,
      .no_chunking = true },
    { .name = "rule 9: commands before and behind EHLO",
      .steps = { CX("NOOP\r\nEHLO a\r\nNOOP\r\n", "NOOP\r\nEHLO a\r\n", ""),
                 SX(OK "250-srv\r\n250 PIPELINING\r\n", "NOOP\r\n",
                    OK "250-gate.example\r\n250 PIPELINING\r\n"),
                 S(OK) },
      .tls = true },
    { .name = "rule 9: EHLO again is RSET",
      .steps = { C(MAIL), S(OK), C("EHLO a\r\n"),
                 SX("250 a\r\n", "", "250-gate.example\r\n250 STARTTLS\r\n"),
                 CX("STARTTLS\r\n", "", READY_TLS) },
      .end = INSPECT_TLS },
    { .name = "rule 9: a positive reply to EHLO that is none",
      .steps = { C("EHLO a\r\n"), SX("220 srv\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 9: HELO passes as it is",
      .steps = { C("HELO a\r\n"), S("250-srv\r\n250 X-FOO\r\n") } },
};

static const struct talk rule_6[] = {
    { .name = "rule 6: an end between commands",
      .steps = { C("NOOP\r\n"), S(OK) },
      .client_end = INSPECT_END_IDLE },
    { .name = "rule 6: an end before a reply",
      .steps = { C("NOOP\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 6: an end inside a line",
      .steps = { CX("QUI", "", "") },
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end inside a line that is outlasted",
      .steps = { CX("NOOP\r\nQUI", "NOOP\r\n", "") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end at a CR",
      .steps = { CX("QUIT\r", "", "") },
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end before 354",
      .steps = { C("DATA\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 6: an end behind 354",
      .steps = { C("DATA\r\n"), S(GO) },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end inside a message",
      .steps = { C("DATA\r\n"), S(GO), C("a\r\n") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end behind the final dot",
      .steps = { C("DATA\r\n"), S(GO), C("a\r\n.\r\n") },
      .phase = INSPECT_PHASE_FINAL,
      .client_end = INSPECT_END_FLUSH },
    { .name = "rule 6: an end behind the final dot and QUIT",
      .steps = { C("DATA\r\n"), S(GO), C("a\r\n.\r\nQUIT\r\n") },
      .phase = INSPECT_PHASE_FINAL,
      .client_end = INSPECT_END_FLUSH,
      .quit = true },
    { .name = "rule 6: an end behind the final dot and half a line",
      .steps = { C("DATA\r\n"), S(GO), CX("a\r\n.\r\nQU", "a\r\n.\r\n", "") },
      .phase = INSPECT_PHASE_FINAL,
      .client_end = INSPECT_END_FLUSH },
    { .name = "rule 6: an end inside a chunk",
      .steps = { C("BDAT 5\r\nabc") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end inside the last chunk",
      .steps = { C("BDAT 5 LAST\r\nabc") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end inside a chunk that was refused",
      .steps = { C("BDAT 5 LAST\r\nabc"), S("552 no\r\n") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end behind a chunk",
      .steps = { C("BDAT 5\r\nabcde") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 6: an end behind the last chunk",
      .steps = { C("BDAT 5 LAST\r\nabcde") },
      .phase = INSPECT_PHASE_FINAL,
      .client_end = INSPECT_END_FLUSH },
    { .name = "rule 6: an end inside a chunk behind a whole message",
      .steps = { C("BDAT 1 LAST\r\na" MAIL RCPT "BDAT 5 LAST\r\nabc") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_FLUSH },
};

static void a_message_passes_and_replies_are_counted(void **state)
{
    (void)state;
    PLAY(plain_sailing, false);
}

static void rule_15_order_and_synchronisation(void **state)
{
    (void)state;
    PLAY(rule_15, false);
}

static void rule_24_a_server_that_sends_no_reply_ends_the_session(void **state)
{
    (void)state;
    PLAY(rule_24, false);
}

static void rule_2_bad_lines_never_reach_the_server(void **state)
{
    (void)state;
    PLAY(rule_2, false);
}

static void rule_10_starttls_where_it_is_allowed(void **state)
{
    (void)state;
    PLAY(rule_10, false);
}

static void rules_12_14_17_18_what_the_port_does_not_allow(void **state)
{
    (void)state;
    PLAY(rule_12_and_14, false);
}

static void rule_16_messages_and_chunks(void **state)
{
    (void)state;
    PLAY(rule_16, false);
}

static void rule_13_auth_is_watched(void **state)
{
    (void)state;
    PLAY(rule_13, false);
}

static void rule_9_ehlo_is_masked(void **state)
{
    (void)state;
    PLAY(rule_9, false);
}

static void rule_6_what_a_clients_end_means(void **state)
{
    (void)state;
    PLAY(rule_6, false);
}

static struct inspect_start usual_start(struct dialogue_rule *rule)
{
    *rule = (struct dialogue_rule){ .protocol = PROTOCOL_SMTP,
                                    .hostname = "gate.example",
                                    .max_errors = 10 };
    return (struct inspect_start){
        .rule = rule, .said_hello = true, .pipelining = true, .chunking = true
    };
}

static void what_stands_together_passes_as_one_piece(void **state)
{
    struct dialogue_rule rule;
    struct inspect_start start = usual_start(&rule);
    struct drive drive;

    (void)state;
    drive_start(&drive, false, &start, SIZE_MAX);
    drive_client(&drive,
                 SPAN_LIT(MAIL RCPT "BDAT 5\r\nabcdeBDAT 3 LAST\r\nfgh" MAIL RCPT "DATA\r\n"));
    assert_int_equal(drive.pieces, 1);
    drive_server(&drive, SPAN_LIT(OK OK OK OK OK OK GO));
    assert_int_equal(drive.pieces, 2);
    drive_client(&drive, SPAN_LIT("Subject: a\r\n\r\n..\r\nb\r\n.\r\nNOOP\r\n"));
    assert_int_equal(drive.pieces, 4); /* the message, then commands */
    drive_stop(&drive);
}

static void small_pieces_of_a_message_pass_together(void **state)
{
    static unsigned char message[40000], expected[80000];
    struct dialogue_rule rule;
    struct inspect_start start = usual_start(&rule);
    size_t sizes[] = { SIZE_MAX, 65, 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(message); i += 2) { /* "a" and a bare LF, 20,000 times */
        memcpy(message + i, "a\n", 2);
        memcpy(expected + i / 2 * 3, "a\r\n", 3);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct drive drive;

        drive_start(&drive, false, &start, sizes[i]);
        drive_client(&drive, SPAN_LIT("DATA\r\n"));
        drive_server(&drive, SPAN_LIT(GO));
        drive.to_server.size = drive.pieces = 0;
        drive_client(&drive, span_of(message, sizeof(message)));
        if (sizes[i] == SIZE_MAX)
            assert_true(drive.pieces < 10);
        assert_int_equal(drive.to_server.size, 60000);
        assert_memory_equal(drive.to_server.data, expected, 60000);
        drive_stop(&drive);
    }
}

static void nothing_is_held_between_commands(void **state)
{
    struct dialogue_rule rule;
    struct inspect_start start = usual_start(&rule);
    struct drive drive;

    (void)state;
    assert_true(sizeof(struct inspect_smtp) < 700);
    drive_start(&drive, false, &start, 3);
    drive_client(&drive, SPAN_LIT("EHLO a\r\n"));
    drive_server(&drive, SPAN_LIT("250-a\r\n250 b\r\n"));
    drive_client(&drive, SPAN_LIT("NOOP\r\n"));
    drive_server(&drive, SPAN_LIT(OK));
    drive.step = SIZE_MAX;
    drive_client(&drive, SPAN_LIT("NOOP\r\n")); /* lets go of what was lent last */
    drive_server(&drive, SPAN_LIT(OK));
    assert_null(drive.smtp.collect);
    assert_null(drive.smtp.own.data);
    assert_null(drive.smtp.line.held);
    assert_null(drive.smtp.reply.held);
    drive_stop(&drive);
}

#define AUTH   "AUTH PLAIN AGpvZQBwYXNz\r\n"
#define FAILED "535 5.7.8 no\r\n"
#define IN     "235 2.7.0 welcome\r\n"

static const struct talk hand_back[] = {
    { .name = "the login that chose this server passes",
      .steps = { C(AUTH), S(IN), C("NOOP\r\n"), S(OK) },
      .hands_back = true,
      .login = "joe" },
    { .name = "a login behind one that failed",
      .steps = { C(AUTH), S(FAILED), CX(AUTH, "", AUTH) },
      .hands_back = true,
      .failed = 1,
      .end = INSPECT_HAND_BACK },
    { .name = "a mechanism that nobody reads, and none at all",
      .steps = { C("NOOP\r\n"), S(OK), CX("auth CRAM-MD5\r\n", "", "auth CRAM-MD5\r\n") },
      .hands_back = true,
      .end = INSPECT_HAND_BACK },
    { .name = "a login behind mail that needed none",
      .steps = { C(MAIL), S(OK), C("RSET\r\n"), S(OK), CX(AUTH, "", AUTH) },
      .hands_back = true,
      .end = INSPECT_HAND_BACK },
    { .name = "a login waits for what is outstanding",
      .steps = { C("NOOP\r\n"), S(OK), CX("NOOP\r\n" AUTH, "NOOP\r\n", ""), SX(OK, "", OK AUTH) },
      .hands_back = true,
      .end = INSPECT_HAND_BACK },
    { .name = "EHLO and HELO, for what they are answered depends on the login",
      .steps = { C("NOOP\r\n"), S(OK), CX("ehlo me\r\n", "", "ehlo me\r\n") },
      .hands_back = true,
      .end = INSPECT_HAND_BACK },
    { .name = "HELO inside a transaction, which it ends",
      .steps = { C(MAIL), S(OK), CX("HELO me\r\n", "", "HELO me\r\n") },
      .hands_back = true,
      .end = INSPECT_HAND_BACK },
    { .name = "a login inside a transaction is refused here",
      .steps = { C(MAIL), S(OK),
                 CX(AUTH, "", "503 5.5.1 AUTH is not allowed inside a transaction\r\n"), C(RCPT),
                 S(OK) },
      .hands_back = true,
      .errors = 1 },
    { .name = "a login behind a MAIL that was refused",
      .steps = { C(MAIL), S("550 no\r\n"), CX(AUTH, "", AUTH) },
      .hands_back = true,
      .end = INSPECT_HAND_BACK },
    { .name = "after a login all passes",
      .steps = { C(AUTH), S(IN), C(AUTH), S("503 already\r\n"), C("HELO me\r\n"), S(OK) },
      .hands_back = true,
      .login = "joe" },
    { .name = "a line that is too long is no login",
      .steps = { C("NOOP\r\n"), S(OK), CX("EHLO " X100("123456") "\r\n", "", TOO_LONG) },
      .hands_back = true,
      .secret = true,
      .errors = 1 },
    { .name = "where logins are not handed back they pass",
      .steps = { C(AUTH), S(FAILED), C(AUTH), S(IN) },
      .secret = true,
      .failed = 1,
      .login = "joe" },
};

static void rule_13_a_login_is_handed_back_where_it_chooses_the_server(void **state)
{
    (void)state;
    PLAY(hand_back, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_passes_and_replies_are_counted),
        cmocka_unit_test(rule_15_order_and_synchronisation),
        cmocka_unit_test(rule_24_a_server_that_sends_no_reply_ends_the_session),
        cmocka_unit_test(rule_2_bad_lines_never_reach_the_server),
        cmocka_unit_test(rule_10_starttls_where_it_is_allowed),
        cmocka_unit_test(rules_12_14_17_18_what_the_port_does_not_allow),
        cmocka_unit_test(rule_16_messages_and_chunks),
        cmocka_unit_test(rule_13_auth_is_watched),
        cmocka_unit_test(rule_13_a_login_is_handed_back_where_it_chooses_the_server),
        cmocka_unit_test(rule_9_ehlo_is_masked),
        cmocka_unit_test(rule_6_what_a_clients_end_means),
        cmocka_unit_test(what_stands_together_passes_as_one_piece),
        cmocka_unit_test(small_pieces_of_a_message_pass_together),
        cmocka_unit_test(nothing_is_held_between_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
