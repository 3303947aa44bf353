/* A relayed POP3 session: conversations in tables. C and S say what passes as it is; CX and SX what
 * comes of it. */
#include "tests/lib/inspect_talk.h"

#pragma GCC diagnostic ignored "-Woverlength-strings" /* the longest lines stand in the table */

#define OK       "+OK\r\n"
#define ERR      "-ERR no\r\n"
#define GARBAGE  "-ERR [SYS/TEMP] The mail server answered what cannot be understood\r\n"
#define UNKNOWN  "-ERR Unknown command\r\n"
#define SYNTAX   "-ERR Syntax error\r\n"
#define TOO_MANY "-ERR Too many errors\r\n"
#define TLS_HINT "-ERR [AUTH] Turn on TLS: use port 995, or STLS on port 110\r\n"
#define MASKED   "+OK Capability list follows\r\n"
#define OURS     "RESP-CODES\r\nAUTH-RESP-CODE\r\n"

#define X10(text) text text text text text text text text text text
#define X100(text)                                                                                 \
    X10(text)                                                                                      \
    X10(text) X10(text) X10(text) X10(text) X10(text) X10(text) X10(text) X10(text) X10(text)
#define X1000(text)                                                                                \
    X100(text)                                                                                     \
    X100(text)                                                                                     \
    X100(text) X100(text) X100(text) X100(text) X100(text) X100(text) X100(text) X100(text)

static const struct talk plain_sailing[] = {
    { .name = "a session",
      .steps = { C("PASS x\r\n"), S(OK), C("STAT\r\n"), S("+OK 1 5\r\n"), C("UIDL\r\n"),
                 S("+OK\r\n1 a\r\n.\r\n"), C("RETR 1\r\n"), S("+OK 5\r\na\r\n\r\nb\r\n.\r\n"),
                 C("DELE 1\r\n"), S(OK), C("QUIT\r\n"), S("+OK bye\r\n") },
      .user = "joe",
      .login = "joe",
      .messages = 1,
      .quit = true },
    { .name = "an empty body",
      .steps = { C("RETR 1\r\n"), S("+OK\r\n.\r\n"), C("NOOP\r\n"), S(OK) },
      .messages = 1 },
    { .name = "a body refused", .steps = { C("RETR 1\r\nNOOP\r\n"), S("-ERR\r\n" OK) } },
    { .name = "stuffed dots",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\n..\r\n..a\r\n...\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "a body with lines that look like replies",
      .steps = { C("RETR 1\r\n"), S("+OK\r\n-ERR a\r\n+OK b\r\nxyz\r\n"), S(".\r\n"), C("NOOP\r\n"),
                 S(OK) },
      .messages = 1 },
    { .name = "a body with NULs and eight bits",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\na\0\xff\r\n.\0\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "a body in parts",
      .steps = { C("TOP 1 0\r\n"), S("+OK\r\na\r\n"), S("."), S("\r"), S("\n"), C("NOOP\r\n"),
                 S(OK) } },
    { .name = "a body line of 10 kB",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\n" X1000("0123456789") "\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "what has a body and what has none",
      .steps = { C("LIST\r\nLIST 1\r\nUIDL\r\nUIDL 1\r\nTOP 1 1\r\nSTAT\r\nDELE "
                   "1\r\nRSET\r\nNOOP\r\nLAST\r\n"),
                 S("+OK\r\n1 5\r\n.\r\n+OK 1 5\r\n+OK\r\n1 a\r\n.\r\n+OK 1 "
                   "a\r\n+OK\r\nb\r\n.\r\n" OK OK OK OK OK) } },
    { .name = "LANG and UTF8",
      .steps = { C("LANG\r\nLANG de\r\nUTF8\r\nUTF8 USER\r\n"),
                 S("+OK\r\nen\r\n.\r\n+OK de\r\n+OK\r\n-ERR\r\n") } },
    { .name = "a blank behind a verb is no argument",
      .steps = { CX("LIST \r\nuidl\t\r\nLANG  \r\n", "LIST\r\nuidl\r\nLANG\r\n", ""),
                 S("+OK\r\n.\r\n+OK\r\n.\r\n+OK\r\n.\r\n") } },
    { .name = "a reply in another case",
      .steps = { C("NOOP\r\nNOOP\r\nRETR 1\r\n"), S("+ok\r\n-err\r\n+Ok\r\n.\r\n") },
      .messages = 1 },
    { .name = "replies that end in bare LF",
      .steps = { C("NOOP\r\nDELE 1\r\n"), S("+OK a\n-ERR b\n") } },
    { .name = "QUIT, and the server closes",
      .steps = { C("QUIT\r\n"), S("+OK\r\n") },
      .quit = true },
    { .name = "QUIT that failed",
      .steps = { CX("QUIT\r\nNOOP\r\n", "QUIT\r\n", ""), S("-ERR some were not removed\r\n") },
      .quit = true,
      .end = INSPECT_CLOSE },
    { .name = "a server that talks on behind QUIT",
      .steps = { C("QUIT\r\n"), SX("+OK\r\n+OK\r\n", "", "+OK\r\n") },
      .quit = true,
      .end = INSPECT_CLOSE },
};

static const struct talk rule_15[] = {
    { .name = "rule 15: PASS is a synchronisation point",
      .steps = { CX("PASS x\r\nSTAT\r\n", "PASS x\r\n", ""), SX(OK, "STAT\r\n", OK), S(OK) },
      .user = "joe",
      .login = "joe" },
    { .name = "rule 15: APOP is a synchronisation point",
      .steps = { CX("APOP joe 0123\r\nSTAT\r\n", "APOP joe 0123\r\n", ""), SX(OK, "STAT\r\n", OK),
                 S(OK) },
      .apop = true,
      .login = "joe" },
    { .name = "rule 15: AUTH is a synchronisation point",
      .steps = { CX("AUTH PLAIN AGpvZQBwYXNz\r\nSTAT\r\n", "AUTH PLAIN AGpvZQBwYXNz\r\n", ""),
                 SX(OK, "STAT\r\n", OK), S(OK) },
      .login = "joe" },
    { .name = "rule 15: QUIT is a synchronisation point",
      .steps = { CX("QUIT\r\nNOOP\r\n", "QUIT\r\n", "") },
      .quit = true,
      .waits = true,
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 15: USER is none",
      .steps = { CX("USER ann\r\nPASS x\r\nSTAT\r\n", "USER ann\r\nPASS x\r\n", ""),
                 SX(OK OK, "STAT\r\n", OK OK), S(OK) },
      .user = "joe",
      .login = "ann" },
    { .name = "rule 15: STLS waits for the queue to empty",
      .steps = { CX("NOOP\r\nSTLS\r\n", "NOOP\r\n", ""),
                 SX(OK, "", OK "+OK Begin TLS negotiation\r\n") },
      .end = INSPECT_TLS },
    { .name = "rule 15: our own answers keep the order",
      .steps = { CX("RETR 1\r\nXTND\r\nNOOP\r\n", "RETR 1\r\n", ""), S("+OK\r\na\r\n"),
                 SX(".\r\n", "NOOP\r\n", ".\r\n" UNKNOWN), S(OK) },
      .errors = 1,
      .messages = 1 },
    { .name = "rule 15: a server without PIPELINING hears one command at a time",
      .steps = { CX("RETR 1\r\nDELE 1\r\nNOOP\r\n", "RETR 1\r\n", ""), S("+OK\r\na\r\n"),
                 SX(".\r\n", "DELE 1\r\n", ".\r\n"), SX(OK, "NOOP\r\n", OK), S(OK) },
      .no_pipelining = true,
      .messages = 1 },
    { .name = "rule 15: 128 replies may be outstanding",
      .steps = { CX(X100("NOOP\r\n") X10("NOOP\r\n") X10("NOOP\r\n") X10("NOOP\r\n"),
                    X100("NOOP\r\n") X10("NOOP\r\n")
                        X10("NOOP\r\n") "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNO"
                                        "OP\r\n",
                    ""),
                 SX(OK, "NOOP\r\n", OK) },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER,
      .waits = true },
    { .name = "rule 15: a reply that nobody asked for",
      .steps = { SX(OK, "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: one reply too many",
      .steps = { C("NOOP\r\n"), SX(OK OK, "", OK GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: a second end of a body",
      .steps = { C("RETR 1\r\n"), SX("+OK\r\n.\r\n.\r\n", "", "+OK\r\n.\r\n" GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true,
      .messages = 1 },
    { .name = "rule 15: an -ERR that nobody asked for passes and ends it",
      .steps = { S("-ERR Disconnected for inactivity\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 15: the same behind replies",
      .steps = { C("NOOP\r\n"), SX(OK "-ERR bye\r\n-ERR x\r\n", "", OK "-ERR bye\r\n") },
      .end = INSPECT_CLOSE,
      .violation = true },
};

static const struct talk rule_2[] = {
    { .name = "rule 2: a bare LF ends a line, and CRLF is passed",
      .steps = { CX("NOOP\nSTAT\r\nRETR 1\n", "NOOP\r\nSTAT\r\nRETR 1\r\n", ""),
                 S(OK OK "+OK\r\n.\r\n") },
      .messages = 1 },
    { .name = "rule 2: a bare CR",
      .steps = { CX("NO\rOP\r\nNOOP\r\r\n", "", SYNTAX SYNTAX) },
      .errors = 2,
      .secret = true },
    { .name = "rule 2: a NUL",
      .steps = { CX("NOOP\0\r\nPASS a\0b\r\n", "", SYNTAX SYNTAX) },
      .errors = 2,
      .secret = true },
    { .name = "rule 2: the longest line",
      .steps = { C("USER " X100("a") X100("a") X10("abcd") "abcdefgh\r\n"), S(OK) } },
    { .name = "rule 2: a line of one octet too many",
      .steps = { CX("USER " X100("a") X100("a") X10("abcd") "abcdefghi\r\nNOOP\r\n", "NOOP\r\n",
                    "-ERR line too long\r\n"),
                 S(OK) },
      .errors = 1 },
    { .name = "rule 2: a line of 10 kB",
      .steps = { CX(X1000("0123456789") "\nNOOP\r\n", "NOOP\r\n", "-ERR line too long\r\n"),
                 S(OK) },
      .errors = 1 },
    { .name = "rule 2: a long answer inside AUTH",
      .steps = { C("AUTH XOAUTH2\r\n"), S("+ \r\n"),
                 C(X1000("0123456789") X1000("ab") X100("ab") X10("abcdefgh") "abcdef\r\n"),
                 S(OK) },
      .secret = true },
    { .name = "rule 2: an answer that is too long cancels",
      .steps = { C("AUTH XOAUTH2\r\n"), S("+ \r\n"),
                 CX(X1000("0123456789") X1000("ab") X100("ab") X10("abcdefgh") "abcdefg\r\n",
                    "*\r\n", ""),
                 S("-ERR cancelled\r\n") },
      .errors = 1,
      .failed = 1,
      .secret = true },
    { .name = "rule 2: behind AUTH lines are short again",
      .steps = { C("AUTH X\r\n"), S("+ \r\n"), C("a\r\n"), S(OK),
                 CX(X1000("a") "\r\n", "", "-ERR line too long\r\n") },
      .errors = 1,
      .secret = true },
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
    { .name = "rule 2: GET",
      .steps = { CX("GET / HTTP/1.1\r\n", "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 2: POST behind a command",
      .steps = { CX("NOOP\r\nPOST /\r\n", "NOOP\r\n", ""), S(OK) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "a blank before a command",
      .steps = { CX(" RETR 1\r\n\tLIST\r\n\r\n", "", SYNTAX SYNTAX SYNTAX) },
      .errors = 3,
      .secret = true },
    { .name = "verbs that nobody understands",
      .steps = { CX("XTND XMIT\r\nRPOP a\r\nEHLO a\r\nRETR:\r\n", "",
                    UNKNOWN UNKNOWN UNKNOWN UNKNOWN) },
      .errors = 4,
      .secret = true },
};

static const struct talk rule_20[] = {
    { .name = "rule 20: CAPA is masked",
      .steps = { C("CAPA\r\n"),
                 SX("+OK\r\nTOP\r\nX-FOO\r\nSASL PLAIN NTLM\r\nSTLS\r\nUIDL\r\n.\r\n", "",
                    MASKED "TOP\r\nSASL PLAIN\r\nUIDL\r\n" OURS "STLS\r\n.\r\n") } },
    { .name = "rule 20: CAPA under TLS",
      .steps = { C("CAPA\r\n"),
                 SX("+OK\r\nTOP\r\nSTLS\r\n.\r\n", "", MASKED "TOP\r\n" OURS ".\r\n") },
      .tls = true },
    { .name = "rule 20: CAPA behind the login",
      .steps = { C("PASS x\r\n"), S(OK), C("CAPA\r\n"),
                 SX("+OK\r\nTOP\r\nSTLS\r\nIMPLEMENTATION a b\r\n.\r\n", "",
                    MASKED "TOP\r\nIMPLEMENTATION a b\r\n" OURS ".\r\n") },
      .user = "joe",
      .login = "joe" },
    { .name = "rule 20: CAPA between others",
      .steps = { C("NOOP\r\nCAPA\r\nNOOP\r\n"), SX(OK "+OK\r\nTOP\r\n.\r\n" OK, "",
                                                   OK MASKED "TOP\r\n" OURS "STLS\r\n.\r\n" OK) } },
    { .name = "rule 20: CAPA with bare LF",
      .steps = { C("CAPA\r\n"), SX("+OK\nTOP\n.\n", "", MASKED "TOP\r\n" OURS ".\r\n"),
                 C("NOOP\r\n"), S(OK) },
      .no_tls = true },
    { .name = "rule 20: CAPA that is refused passes",
      .steps = { C("CAPA\r\nNOOP\r\n"), S(ERR OK) } },
    { .name = "rule 20: AUTH alone is sifted",
      .steps = { C("AUTH\r\n"),
                 SX("+OK\r\nPLAIN\r\nNTLM\r\nCRAM-MD5\r\nGSSAPI\r\n.\r\n", "",
                    "+OK\r\nPLAIN\r\nCRAM-MD5\r\n.\r\n"),
                 C("NOOP\r\n"), S(OK) } },
    { .name = "rule 20: AUTH alone with a blank",
      .steps = { CX("AUTH \r\n", "AUTH\r\n", ""), S(ERR) } },
    { .name = "rule 24: CAPA of 101 lines",
      .steps = { C("CAPA\r\n"), SX("+OK\r\n" X100("X\r\n"), "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: CAPA of more than 16 KiB",
      .steps = { C("CAPA\r\n"),
                 SX("+OK\r\n" X10(X100("0123456789") X100("0123456789") "\r\n"), "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
};

static const struct talk rule_21[] = {
    { .name = "rule 21: STLS",
      .steps = { CX("STLS\r\n", "", "+OK Begin TLS negotiation\r\n") },
      .end = INSPECT_TLS },
    { .name = "rule 21: STLS with an argument",
      .steps = { CX("STLS a\r\n", "", "-ERR No argument is allowed\r\n") },
      .errors = 1,
      .secret = true },
    { .name = "rule 21: STLS under TLS",
      .steps = { CX("STLS\r\n", "", "-ERR TLS is on already\r\n") },
      .tls = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 21: STLS without TLS on this port",
      .steps = { CX("STLS\r\n", "", "-ERR TLS is not available on this port\r\n") },
      .no_tls = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 21: STLS behind the login",
      .steps = { C("PASS x\r\n"), S(OK),
                 CX("STLS\r\n", "", "-ERR STLS is not allowed after the login\r\n") },
      .user = "joe",
      .login = "joe",
      .errors = 1,
      .secret = true },
    { .name = "rule 21: STLS behind a failed login",
      .steps = { C("PASS x\r\n"), S(ERR), CX("STLS\r\n", "", "+OK Begin TLS negotiation\r\n") },
      .user = "joe",
      .failed = 1,
      .end = INSPECT_TLS },
    { .name = "rule 21: STLS behind a login that is outstanding",
      .steps = { CX("PASS x\r\nSTLS\r\n", "PASS x\r\n", ""),
                 SX(OK, "", OK "-ERR STLS is not allowed after the login\r\n") },
      .login = "joe",
      .user = "joe",
      .errors = 1,
      .secret = true },
    { .name = "rule 21: STLS inside AUTH is an answer",
      .steps = { C("AUTH X\r\n"), S("+ \r\n"), C("STLS\r\n"), S(ERR) },
      .failed = 1,
      .secret = true },
    { .name = "rule 3: what stands behind STLS is not taken",
      .steps = { CX("STLS\r\nUSER a\r\n", "", "+OK Begin TLS negotiation\r\n") },
      .end = INSPECT_TLS },
    { .name = "rule 22: TLS required",
      .steps = { CX("USER a\r\nPASS b\r\nAPOP a b\r\nAUTH PLAIN\r\nAUTH\r\nNOOP\r\n", "NOOP\r\n",
                    TLS_HINT TLS_HINT TLS_HINT TLS_HINT TLS_HINT),
                 S(OK) },
      .require_tls = REQUIRE_TLS_YES,
      .apop = true,
      .errors = 5 },
    { .name = "rule 22: TLS required to log in",
      .steps = { CX("USER a\r\n", "", TLS_HINT) },
      .require_tls = REQUIRE_TLS_AUTH,
      .errors = 1,
      .secret = true },
    { .name = "rule 22: TLS required, and no other port",
      .steps = { CX("USER a\r\n", "", "-ERR [AUTH] Turn on TLS\r\n") },
      .require_tls = REQUIRE_TLS_YES,
      .no_other_ports = true,
      .errors = 1,
      .secret = true },
    { .name = "rule 22: what works before TLS",
      .steps = { C("NOOP\r\nLANG de\r\nUTF8\r\nCAPA\r\n"), S(OK OK OK ERR), C("QUIT\r\n"), S(OK) },
      .require_tls = REQUIRE_TLS_YES,
      .quit = true },
    { .name = "rule 22: all works under TLS",
      .steps = { C("USER a\r\nPASS b\r\n"), S(OK OK) },
      .require_tls = REQUIRE_TLS_YES,
      .tls = true,
      .login = "a",
      .secret = true },
    { .name = "rule 19: APOP where it is not offered",
      .steps = { CX("APOP a 0123\r\n", "", "-ERR There is no APOP here\r\n") },
      .errors = 1,
      .secret = true },
};

static const struct talk rule_23[] = {
    { .name = "rule 23: PASS refused is a failed login",
      .steps = { C("PASS x\r\n"), S("-ERR [AUTH] no\r\n"), C("USER a\r\nPASS x\r\n"),
                 S(OK "-ERR\r\n") },
      .user = "joe",
      .failed = 2,
      .secret = true },
    { .name = "rule 23: IN-USE is none",
      .steps = { C("PASS x\r\n"), S("-ERR [IN-USE] locked\r\n") },
      .user = "joe",
      .secret = true },
    { .name = "rule 23: SYS/TEMP is none",
      .steps = { C("PASS x\r\n"), S("-ERR [sys/temp] later\r\n") },
      .user = "joe",
      .secret = true },
    { .name = "rule 23: SYS/PERM is one",
      .steps = { C("PASS x\r\n"), S("-ERR [SYS/PERM] later\r\n") },
      .user = "joe",
      .failed = 1,
      .secret = true },
    { .name = "rule 23: words behind are not looked at",
      .steps = { C("PASS x\r\n"), S("-ERR no [IN-USE]\r\n") },
      .user = "joe",
      .failed = 1,
      .secret = true },
    { .name = "rule 23: APOP refused",
      .steps = { C("APOP a b\r\n"), S(ERR) },
      .apop = true,
      .failed = 1,
      .secret = true },
    { .name = "rule 23: AUTH refused",
      .steps = { C("AUTH PLAIN\r\n"), S("+ \r\n"), C("AGpvZQBwYXNz\r\n"), S(ERR), C("STAT\r\n"),
                 S(ERR) },
      .failed = 1 },
    { .name = "rule 23: USER refused is none", .steps = { C("USER x\r\n"), S(ERR) } },
    { .name = "AUTH PLAIN",
      .steps = { C("AUTH PLAIN\r\n"), S("+\r\n"), C("AGpvZQBwYXNz\r\n"), S(OK), C("STAT\r\n"),
                 S(OK) },
      .login = "joe" },
    { .name = "AUTH LOGIN",
      .steps = { C("AUTH LOGIN\r\n"), S("+ VXNlcm5hbWU6\r\n"), C("am9l\r\n"),
                 S("+ UGFzc3dvcmQ6\r\n"), C("cGFzcw==\r\n"), S(OK) },
      .login = "joe",
      .secret = true },
    { .name = "an answer with a bare LF",
      .steps = { C("AUTH PLAIN\r\n"), S("+ \r\n"), CX("AGpvZQBwYXNz\n", "AGpvZQBwYXNz\r\n", ""),
                 S(OK) },
      .login = "joe",
      .secret = true },
    { .name = "a star cancels",
      .steps = { C("AUTH PLAIN\r\n"), S("+ \r\n"), C("*\r\n"), S(ERR), C("NOOP\r\n"), S(OK) },
      .failed = 1 },
    { .name = "what does not work through a proxy",
      .steps = { CX("AUTH GSSAPI\r\nAUTH NTLM abc\r\nAUTH SCRAM-SHA-1-PLUS\r\n", "",
                    "-ERR This mechanism is not offered\r\n-ERR This mechanism is not "
                    "offered\r\n-ERR This mechanism is not offered\r\n") },
      .errors = 3,
      .secret = true },
    { .name = "a blank password passes as it is",
      .steps = { C("PASS  \r\n"), S(ERR), C("PASS\r\n"), S(ERR) },
      .failed = 2,
      .secret = true },
    { .name = "blanks of a password pass as they are",
      .steps = { C("PASS  a b \r\n"), S(OK) },
      .user = "joe",
      .login = "joe",
      .secret = true },
    { .name = "half a PASS is a secret",
      .steps = { CX("pass x", "", "") },
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "half a STAT is none",
      .steps = { CX("STAT", "", "") },
      .client_end = INSPECT_END_VANISHED },
};

static const struct talk rule_24[] = {
    { .name = "rule 24: no status",
      .steps = { C("NOOP\r\n"), SX("hello\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: an empty line",
      .steps = { C("NOOP\r\n"), SX("\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a dot",
      .steps = { C("NOOP\r\n"), SX(".\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a challenge to what is not AUTH",
      .steps = { C("PASS a\r\n"), SX("+ \r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true,
      .user = "joe" },
    { .name = "rule 24: a challenge to AUTH alone",
      .steps = { C("AUTH\r\n"), SX("+ \r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a status line of 2048 octets",
      .steps = { C("NOOP\r\n"), S("+OK " X1000("a") X1000("b") X10("abcd") "ab\r\n") } },
    { .name = "rule 24: of one octet more",
      .steps = { C("NOOP\r\n"),
                 SX("+OK " X1000("a") X1000("b") X10("abcd") "abc\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: without an end",
      .steps = { C("NOOP\r\nNOOP\r\n"),
                 SX(OK "+OK " X1000("a") X1000("b") X100("a"), "", OK GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: a list line of more than 2048 octets",
      .steps = { C("CAPA\r\n"), SX("+OK\r\n" X1000("abc") "\r\n.\r\n", "", GARBAGE) },
      .end = INSPECT_CLOSE,
      .violation = true },
    { .name = "rule 24: nothing passes behind the last word",
      .steps = { SX(OK, "", GARBAGE), CX("NOOP\r\n", "", ""), SX(OK, "", "") },
      .end = INSPECT_CLOSE,
      .violation = true },
    /* ends of a body */
    { .name = "LF.CRLF inside a body is no end",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\na\n.\r\nb\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "LF.LF inside a body is no end",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\na\n.\nb\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "CRLF.LF inside a body is no end",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\na\r\n.\nb\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "CR.CR inside a body is no end",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\na\r.\rb\r\n.\r\r\n.\r\n" OK) },
      .messages = 1 },
    { .name = "a server that ends its bodies behind LF",
      .steps = { C("RETR 1\r\n"), S("+OK\r\na\nb\n.\r\n"), C("DELE 1\r\n"), S(OK), C("QUIT\r\n"),
                 S(OK) },
      .messages = 1,
      .no_pipelining = true,
      .quit = true },
    { .name = "a server that knows LF only",
      .steps = { C("LIST\r\n"), S("+OK\n1 5\n.\n"), C("RETR 1\r\n"), S("+OK\na\n.\n"),
                 C("RETR 2\r\n"), S("+OK\n.\n"), C("QUIT\r\n"), S("+OK\n") },
      .messages = 2,
      .quit = true },
    { .name = "a client that speaks before such an end waits",
      .steps = { CX("RETR 1\r\nNOOP\r\n", "RETR 1\r\n", ""), S("+OK\r\na\n"), S("b\n..\r\n") },
      .messages = 1,
      .no_pipelining = true,
      .waits = true,
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "the end of one body is not the end of the next",
      .steps = { C("RETR 1\r\n"), S("+OK\r\na\r\n.\r\n"), C("RETR 2\r\n"), S("+OK\r\n"),
                 C("NOOP\r\n"), S("b\r\n.\r\n"), S(OK) },
      .messages = 2 },
    { .name = "such an end behind other commands is none",
      .steps = { C("RETR 1\r\nNOOP\r\n"), S("+OK\r\na\n.\r\n"), C("NOOP\r\n"), S("b\r\n.\r\n"),
                 S(OK OK) },
      .messages = 1 },
};

static const struct talk rule_6[] = {
    { .name = "rule 6: an end between commands", .steps = { C("NOOP\r\n"), S(OK) } },
    { .name = "rule 6: an end before a reply",
      .steps = { C("NOOP\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER },
    { .name = "rule 6: an end inside a body",
      .steps = { C("RETR 1\r\n"), S("+OK\r\na\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER,
      .messages = 1 },
    { .name = "rule 6: an end inside a line",
      .steps = { CX("QUI", "", "") },
      .client_end = INSPECT_END_VANISHED },
    { .name = "rule 6: an end behind QUIT",
      .steps = { C("QUIT\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER,
      .quit = true },
    { .name = "rule 6: an end inside AUTH",
      .steps = { C("AUTH X\r\n"), S("+ \r\n") },
      .phase = INSPECT_PHASE_MESSAGE,
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "rule 6: an end before AUTH is answered",
      .steps = { C("AUTH X\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_VANISHED,
      .secret = true },
    { .name = "rule 6: an end before PASS is answered",
      .steps = { C("PASS X\r\n") },
      .phase = INSPECT_PHASE_REPLY,
      .client_end = INSPECT_END_ANSWER,
      .secret = true },
};

static void a_mailbox_is_read(void **state)
{
    (void)state;
    PLAY(plain_sailing, true);
}

static void rule_15_order_and_synchronisation(void **state)
{
    (void)state;
    PLAY(rule_15, true);
}

static void rule_2_bad_lines_never_reach_the_server(void **state)
{
    (void)state;
    PLAY(rule_2, true);
}

static void rule_20_lists_are_masked(void **state)
{
    (void)state;
    PLAY(rule_20, true);
}

static void rules_19_21_22_stls_and_what_needs_it(void **state)
{
    (void)state;
    PLAY(rule_21, true);
}

static void rule_23_logins_are_watched(void **state)
{
    (void)state;
    PLAY(rule_23, true);
}

static void rule_24_ends_of_replies_and_garbage(void **state)
{
    (void)state;
    PLAY(rule_24, true);
}

static void rule_6_what_a_clients_end_means(void **state)
{
    (void)state;
    PLAY(rule_6, true);
}

static void what_stands_together_passes_as_one_piece(void **state)
{
    struct dialogue_rule rule = { .protocol = PROTOCOL_POP3,
                                  .hostname = "gate.example",
                                  .max_errors = 10 };
    struct inspect_start start = { .rule = &rule, .pipelining = true };
    struct drive drive;

    (void)state;
    assert_true(sizeof(struct inspect_pop3) < 500);
    drive_start(&drive, true, &start, SIZE_MAX);
    drive_client(&drive, SPAN_LIT("STAT\r\nRETR 1\r\nTOP 2 0\r\nLIST\r\nNOOP\r\n"));
    assert_int_equal(drive.pieces, 1);
    drive_server(&drive, SPAN_LIT(OK "+OK\r\na\r\n.\r\n+OK\r\nb\r\n.\r\n-ERR\r\n" OK));
    assert_int_equal(drive.pieces, 2);
    assert_null(drive.pop3_inspect.own.data);
    assert_null(drive.pop3_inspect.line.held);
    assert_null(drive.pop3_inspect.reply.held);
    drive_stop(&drive);
}

static const struct talk hand_back[] = {
    { .name = "the login that chose this server passes, and all behind it",
      .steps = { C("PASS x\r\n"), S(OK), C("CAPA\r\n"),
                 SX("+OK\r\nTOP\r\n.\r\n", "", MASKED "TOP\r\n" OURS ".\r\n"),
                 C("USER a\r\nLANG de\r\n"), S(ERR OK) },
      .hands_back = true,
      .user = "joe",
      .login = "joe" },
    { .name = "USER behind a login that failed",
      .steps = { C("PASS x\r\n"), S(ERR), CX("USER ann\r\nPASS y\r\n", "", "USER ann\r\n") },
      .hands_back = true,
      .user = "joe",
      .failed = 1,
      .end = INSPECT_HAND_BACK },
    { .name = "PASS again",
      .steps = { C("PASS x\r\n"), S(ERR), CX("PASS y \r\n", "", "PASS y \r\n") },
      .hands_back = true,
      .user = "joe",
      .failed = 1,
      .end = INSPECT_HAND_BACK },
    { .name = "AUTH",
      .steps = { C("PASS x\r\n"), S(ERR), CX("AUTH PLAIN\n", "", "AUTH PLAIN\r\n") },
      .hands_back = true,
      .failed = 1,
      .end = INSPECT_HAND_BACK },
    { .name = "CAPA waits for what is outstanding",
      .steps = { C("PASS x\r\n"), S(ERR), CX("NOOP\r\nCAPA\r\n", "NOOP\r\n", ""),
                 SX(OK, "", OK "CAPA\r\n") },
      .hands_back = true,
      .failed = 1,
      .end = INSPECT_HAND_BACK },
    { .name = "UTF8, which the next server would not know of",
      .steps = { C("PASS x\r\n"), S(ERR), CX("UTF8\r\n", "", "UTF8\r\n") },
      .hands_back = true,
      .failed = 1,
      .end = INSPECT_HAND_BACK },
    { .name = "where TLS is required it is refused here",
      .steps = { C("NOOP\r\n"), S(OK), CX("USER ann\r\n", "", TLS_HINT) },
      .hands_back = true,
      .secret = true,
      .require_tls = REQUIRE_TLS_AUTH,
      .errors = 1 },
    { .name = "NOOP and QUIT pass",
      .steps = { C("PASS x\r\n"), S(ERR), C("NOOP\r\n"), S(OK), C("QUIT\r\n"), S(OK) },
      .hands_back = true,
      .failed = 1,
      .quit = true },
    { .name = "where logins are not handed back they pass",
      .steps = { C("PASS x\r\n"), S(ERR), C("USER ann\r\nPASS y\r\n"), S(OK OK) },
      .user = "joe",
      .secret = true,
      .failed = 1,
      .login = "ann" },
};

static void rule_22_a_login_is_handed_back_where_it_chooses_the_server(void **state)
{
    (void)state;
    PLAY(hand_back, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_22_a_login_is_handed_back_where_it_chooses_the_server),
        cmocka_unit_test(a_mailbox_is_read),
        cmocka_unit_test(rule_15_order_and_synchronisation),
        cmocka_unit_test(rule_2_bad_lines_never_reach_the_server),
        cmocka_unit_test(rule_20_lists_are_masked),
        cmocka_unit_test(rules_19_21_22_stls_and_what_needs_it),
        cmocka_unit_test(rule_23_logins_are_watched),
        cmocka_unit_test(rule_24_ends_of_replies_and_garbage),
        cmocka_unit_test(rule_6_what_a_clients_end_means),
        cmocka_unit_test(what_stands_together_passes_as_one_piece),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
