/* POP3 conversations, whole and one octet at a time, with a maildrop in memory on the caller's
 * side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "backends/pop3_session.h"
#include "proxy/base/text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

#define GREETING "+OK mail.example.org POP3 ready\r\n"
#define NAMED    "+OK Now the password\r\n"
#define IN       "USER anna\r\nPASS open sesame\r\n"
#define LOGGED   GREETING NAMED "+OK 3 messages (600 octets)\r\n"
#define WRONG    "-ERR [AUTH] Wrong name or password\r\n"
#define NO_TLS   "-ERR [AUTH] Turn on TLS: passwords are not taken without it\r\n"
#define UNKNOWN  "-ERR Unknown command\r\n"
#define WORDS    "-ERR Wrong number of arguments\r\n"
#define NUMBER   "-ERR A message number is a number\r\n"
#define NONE     "-ERR No such message, there are 3\r\n"
#define TOO_LONG "-ERR Line too long\r\n"
#define EARLY    "-ERR Log in first\r\n"
#define LATE     "-ERR You are logged in already\r\n"
#define BYE      "+OK Goodbye\r\n"
#define TEN      "0123456789"
#define HUNDRED  TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define CAPABILITIES(login)                                                                        \
    "+OK Capabilities follow\r\nTOP\r\nUIDL\r\n" login "RESP-CODES\r\nAUTH-RESP-CODE\r\n"          \
    "PIPELINING\r\nEXPIRE NEVER\r\nIMPLEMENTATION Gatepost\r\n.\r\n"

/* ---- the caller's side ---- */

struct side {
    struct maildrop_message messages[3];
    int login_result;           /* instead of POP3_LOGIN_DONE */
    int open_error, send_error; /* of open_text, send_text */
    int update_error, write_error;
    unsigned logins, updates, deleted; /* deleted: at the update, a bit for each message */
    size_t opened;                     /* number of the message that is open, from 1 */
    char out[8192];
    struct text replies;
};

static int side_login(void *context, struct span name, struct span password,
                      struct maildrop_message **ret_messages, size_t *ret_count)
{
    struct side *side = context;

    side->logins++;
    if (!span_equal(name, SPAN_LIT("anna")) || !span_equal(password, SPAN_LIT("open sesame")))
        return POP3_LOGIN_WRONG;
    if (side->login_result)
        return side->login_result;
    *ret_messages = side->messages;
    *ret_count = COUNT(side->messages);
    return POP3_LOGIN_DONE;
}

static int side_open_text(void *context, size_t index)
{
    struct side *side = context;

    assert_in_range(index, 0, COUNT(side->messages) - 1);
    if (side->open_error == 0)
        side->opened = index + 1;
    return side->open_error;
}

static int side_send_text(void *context, bool limited, uint64_t lines)
{
    struct side *side = context;

    assert_in_range(side->opened, 1, COUNT(side->messages));
    text_printf(&side->replies, "<text %zu", side->opened);
    if (limited)
        text_printf(&side->replies, ", %llu lines", (unsigned long long)lines);
    text_puts(&side->replies, ">\r\n");
    side->opened = 0;
    return side->send_error;
}

static int side_update(void *context)
{
    struct side *side = context;

    side->updates++;
    for (unsigned i = 0; i < COUNT(side->messages); i++)
        side->deleted |= (unsigned)side->messages[i].deleted << i;
    return side->update_error;
}

static int side_write(void *context, struct span octets)
{
    struct side *side = context;

    if (side->write_error)
        return side->write_error;
    text_put(&side->replies, octets);
    return 0;
}

static const struct pop3_caller caller = { side_login, side_open_text, side_send_text, side_update,
                                           side_write };

static void side_init(struct side *side)
{
    memset(side, 0, sizeof(*side));
    side->replies = TEXT_OVER(side->out);
    for (unsigned i = 0; i < COUNT(side->messages); i++) {
        side->messages[i].octets = 100 * (i + 1);
        side->messages[i].uid[0] = (char)('a' + i);
    }
}

/* ---- conversations ---- */

static const struct row {
    const char *name, *in, *out;
    bool ended; /* by the session */
    bool no_passwords;
    unsigned deleted; /* by an update, a bit for each message */
    int login_result, open_error, update_error;
} rows[] = {
    { "the greeting offers no APOP", "", GREETING, .ended = false },
    { "QUIT before login", "QUIT\r\n", GREETING BYE, .ended = true },
    { "nothing is taken behind QUIT", "QUIT\r\nCAPA\r\nNOOP\r\n", GREETING BYE, .ended = true },
    { "capabilities", "CAPA\r\n", GREETING CAPABILITIES("USER\r\nSASL PLAIN\r\n"), .ended = false },
    { "capabilities after login", IN "CAPA\r\n", LOGGED CAPABILITIES("USER\r\nSASL PLAIN\r\n"),
      .ended = false },
    { "capabilities without TLS", "CAPA\r\n", GREETING CAPABILITIES(""), .ended = false,
      .no_passwords = true },
    { "NOOP", "NOOP\r\n" IN "NOOP\r\n",
      GREETING "+OK\r\n" NAMED "+OK 3 messages (600 octets)\r\n+OK\r\n", .ended = false },

    /* logging in */
    { "login", IN, LOGGED, .ended = false },
    { "commands in small letters", "user anna\r\npass open sesame\r\nsTaT\r\n",
      LOGGED "+OK 3 600\r\n", .ended = false },
    { "lines that end in LF alone", "USER anna\nPASS open sesame\nSTAT\n", LOGGED "+OK 3 600\r\n",
      .ended = false },
    { "a wrong password", "USER anna\r\nPASS open\r\n", GREETING NAMED WRONG, .ended = false },
    { "an unknown user is told no sooner", "USER bert\r\nPASS open sesame\r\n",
      GREETING NAMED WRONG, .ended = false },
    { "a password with a space before it is another", "USER anna\r\nPASS  open sesame\r\n",
      GREETING NAMED WRONG, .ended = false },
    { "a password with a space behind it is another", "USER anna\r\nPASS open sesame \r\n",
      GREETING NAMED WRONG, .ended = false },
    { "a password with a CR is another", "USER anna\r\nPASS open sesame\r\r\n",
      GREETING NAMED WRONG, .ended = false },
    { "spaces around a name are none of it", "USER  anna \r\nPASS open sesame\r\n", LOGGED,
      .ended = false },
    { "PASS without USER", "PASS open sesame\r\n", GREETING "-ERR USER comes first\r\n",
      .ended = false },
    { "PASS without a password", "USER anna\r\nPASS\r\nPASS \r\nPASS open sesame\r\n",
      GREETING NAMED "-ERR PASS needs a password\r\n-ERR PASS needs a password\r\n"
                     "+OK 3 messages (600 octets)\r\n",
      .ended = false },
    { "USER without a name", "USER\r\nUSER \r\nUSER   \r\n",
      GREETING "-ERR USER needs a name\r\n-ERR USER needs a name\r\n-ERR USER needs a name\r\n",
      .ended = false },
    { "the later USER counts", "USER bert\r\n" IN,
      GREETING NAMED NAMED "+OK 3 messages (600 octets)\r\n", .ended = false },
    { "a wrong password forgets the name", "USER anna\r\nPASS x\r\nPASS open sesame\r\n",
      GREETING NAMED WRONG "-ERR USER comes first\r\n", .ended = false },
    { "a second try", "USER anna\r\nPASS x\r\n" IN,
      GREETING NAMED WRONG NAMED "+OK 3 messages (600 octets)\r\n", .ended = false },
    { "no login twice", IN "USER anna\r\nPASS open sesame\r\nAUTH PLAIN\r\n", LOGGED LATE LATE LATE,
      .ended = false },
    { "the maildrop is locked", IN "STAT\r\n",
      GREETING NAMED "-ERR [IN-USE] Another session has this mailbox open\r\n" EARLY,
      .ended = false, .login_result = POP3_LOGIN_IN_USE },
    { "the store cannot be read", IN,
      GREETING NAMED "-ERR [SYS/TEMP] The mail store cannot be read now, please try again\r\n",
      .ended = false, .login_result = POP3_LOGIN_TEMPORARY },
    { "the store is out of order", IN,
      GREETING NAMED
      "-ERR [SYS/PERM] The mail store is out of order, please tell its administrator\r\n",
      .ended = false, .login_result = POP3_LOGIN_PERMANENT },
    { "no password without TLS", "USER anna\r\nPASS open sesame\r\nAUTH\r\nAUTH PLAIN\r\n",
      GREETING NO_TLS NO_TLS NO_TLS NO_TLS, .ended = false, .no_passwords = true },

    /* AUTH (RFC 5034) */
    { "AUTH alone lists the mechanisms", "AUTH\r\n",
      GREETING "+OK Mechanisms follow\r\nPLAIN\r\n.\r\n", .ended = false },
    { "AUTH PLAIN with an initial response", "AUTH PLAIN AGFubmEAb3BlbiBzZXNhbWU=\r\n",
      GREETING "+OK 3 messages (600 octets)\r\n", .ended = false },
    { "AUTH PLAIN with a challenge", "auth plain\r\nAGFubmEAb3BlbiBzZXNhbWU=\r\n",
      GREETING "+ \r\n+OK 3 messages (600 octets)\r\n", .ended = false },
    { "authzid is the user", "AUTH PLAIN YW5uYQBhbm5hAG9wZW4gc2VzYW1l\r\n",
      GREETING "+OK 3 messages (600 octets)\r\n", .ended = false },
    { "authzid is another", "AUTH PLAIN YmVydABhbm5hAG9wZW4gc2VzYW1l\r\n",
      GREETING "-ERR [AUTH] Nobody can act for another user here\r\n", .ended = false },
    { "the client cancels", "AUTH PLAIN\r\n*\r\nNOOP\r\n",
      GREETING "+ \r\n-ERR Cancelled\r\n+OK\r\n", .ended = false },
    { "a star is no initial response", "AUTH PLAIN *\r\n", GREETING "-ERR This is no base64\r\n",
      .ended = false },
    { "a wrong password in AUTH", "AUTH PLAIN AGFubmEAeA==\r\n", GREETING WRONG, .ended = false },
    { "an empty initial response", "AUTH PLAIN =\r\n",
      GREETING "-ERR This is no PLAIN response\r\n", .ended = false },
    { "an empty answer", "AUTH PLAIN\r\n\r\n", GREETING "+ \r\n-ERR This is no PLAIN response\r\n",
      .ended = false },
    { "no base64", "AUTH PLAIN AGFubmEAb3BlbiBzZXNhbWU\r\n", GREETING "-ERR This is no base64\r\n",
      .ended = false },
    { "a command is no answer", "AUTH PLAIN\r\nQUIT!\r\n",
      GREETING "+ \r\n-ERR This is no base64\r\n", .ended = false },
    { "no user", "AUTH PLAIN AABvcGVuIHNlc2FtZQ==\r\n",
      GREETING "-ERR This is no PLAIN response\r\n", .ended = false },
    { "one NUL only", "AUTH PLAIN YW5uYQBvcGVuIHNlc2FtZQ==\r\n",
      GREETING "-ERR This is no PLAIN response\r\n", .ended = false },
    { "three NULs", "AUTH PLAIN AGFubmEAb3BlbiBzZXNhbWUA\r\n",
      GREETING "-ERR This is no PLAIN response\r\n", .ended = false },
    { "another mechanism", "AUTH CRAM-MD5\r\nAUTH LOGIN\r\n",
      GREETING "-ERR PLAIN is the only mechanism here\r\n-ERR PLAIN is the only mechanism here\r\n",
      .ended = false },
    { "too many words", "AUTH PLAIN a b\r\n", GREETING WORDS, .ended = false },
    { "AUTH forgets USER", "USER anna\r\nAUTH PLAIN\r\n*\r\nPASS open sesame\r\n",
      GREETING NAMED "+ \r\n-ERR Cancelled\r\n-ERR USER comes first\r\n", .ended = false },

    /* syntax */
    { "an unknown command", "XYZZY\r\n", GREETING UNKNOWN, .ended = false },
    { "commands that are not here",
      "APOP anna c4c9334bac560ecc979e58001b3e22fb\r\nSTLS\r\nUTF8\r\n",
      GREETING UNKNOWN UNKNOWN UNKNOWN, .ended = false },
    { "an empty line", "\r\n", GREETING UNKNOWN, .ended = false },
    { "a space before a command", " NOOP\r\n", GREETING UNKNOWN, .ended = false },
    { "a tab behind a command", "NOOP\t\r\n", GREETING UNKNOWN, .ended = false },
    { "a beginning of a command", "QUI\r\nQUITT\r\n", GREETING UNKNOWN UNKNOWN, .ended = false },
    { "a space behind a command", "NOOP \r\n", GREETING "+OK\r\n", .ended = false },
    { "a CR within a command", "NO\rOP\r\n", GREETING UNKNOWN, .ended = false },
    { "arguments that do not belong there",
      "CAPA x\r\nQUIT x\r\n" IN "STAT 1\r\nRSET 1\r\nNOOP 1\r\n",
      GREETING WORDS WORDS NAMED "+OK 3 messages (600 octets)\r\n" WORDS WORDS WORDS,
      .ended = false },
    { "before login", "STAT\r\nLIST\r\nRETR 1\r\nDELE 1\r\nTOP 1 1\r\nUIDL\r\nRSET\r\n",
      GREETING EARLY EARLY EARLY EARLY EARLY EARLY EARLY, .ended = false },
    { "the longest line", "XX" HUNDRED HUNDRED TEN TEN TEN TEN TEN "x\r\n", GREETING UNKNOWN,
      .ended = false },
    { "one octet more", "XX" HUNDRED HUNDRED TEN TEN TEN TEN TEN "xx\r\nNOOP\r\n",
      GREETING TOO_LONG "+OK\r\n", .ended = false },
    { "much more", "XX" HUNDRED HUNDRED HUNDRED HUNDRED "\nNOOP\r\n", GREETING TOO_LONG "+OK\r\n",
      .ended = false },
    { "an answer to AUTH may be longer",
      "AUTH PLAIN\r\n" HUNDRED HUNDRED HUNDRED HUNDRED "\r\nNOOP\r\n",
      GREETING "+ \r\n-ERR This is no PLAIN response\r\n+OK\r\n", .ended = false },
    { "a line behind it may not", "AUTH PLAIN\r\n*\r\n" HUNDRED HUNDRED HUNDRED "\r\n",
      GREETING "+ \r\n-ERR Cancelled\r\n" TOO_LONG, .ended = false },
    { "the tenth error is the last",
      "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nH\r\nI\r\nNOOP\r\nJ\r\nNOOP\r\n",
      GREETING UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN
      "+OK\r\n-ERR Too many errors\r\n",
      .ended = true },
    { "errors before and after login count together",
      "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nH\r\nI\r\n" IN "DELE 1\r\nJ\r\nQUIT\r\n",
      GREETING UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN NAMED
      "+OK 3 messages (600 octets)\r\n+OK Message 1 deleted\r\n-ERR Too many errors\r\n",
      .ended = true, .deleted = 0 },

    /* messages */
    { "STAT, LIST, UIDL", IN "STAT\r\nLIST\r\nUIDL\r\n",
      LOGGED "+OK 3 600\r\n+OK 3 messages (600 octets)\r\n1 100\r\n2 200\r\n3 300\r\n.\r\n"
             "+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n",
      .ended = false },
    { "LIST and UIDL of one", IN "LIST 2\r\nUIDL 3\r\nLIST 02\r\n",
      LOGGED "+OK 2 200\r\n+OK 3 c\r\n+OK 2 200\r\n", .ended = false },
    { "RETR", IN "RETR 2\r\n", LOGGED "+OK 200 octets\r\n<text 2>\r\n.\r\n", .ended = false },
    { "TOP", IN "TOP 2 10\r\nTOP 3 0\r\n",
      LOGGED "+OK\r\n<text 2, 10 lines>\r\n.\r\n+OK\r\n<text 3, 0 lines>\r\n.\r\n",
      .ended = false },
    { "no such message", IN "RETR 4\r\nRETR 0\r\nDELE 4\r\nLIST 4\r\nUIDL 4\r\nTOP 4 1\r\n",
      LOGGED NONE NONE NONE NONE NONE NONE, .ended = false },
    { "a number that is none",
      IN "RETR x\r\nRETR -1\r\nDELE 1x\r\nLIST +1\r\nUIDL 1.0\r\nTOP x 1\r\n",
      LOGGED NUMBER NUMBER NUMBER NUMBER NUMBER NUMBER, .ended = false },
    { "a number that is larger than any",
      IN "RETR 18446744073709551616\r\nRETR 18446744073709551615\r\n", LOGGED NUMBER NONE,
      .ended = false },
    { "RETR without or with two numbers", IN "RETR\r\nRETR 1 2\r\nLIST 1 2\r\n",
      LOGGED WORDS WORDS WORDS, .ended = false },
    { "TOP needs both numbers", IN "TOP 1\r\nTOP\r\nTOP 1 x\r\nTOP 1 2 3\r\nTOP 1 -1\r\n",
      LOGGED WORDS WORDS "-ERR TOP needs a message number and a number of lines\r\n" WORDS
                         "-ERR TOP needs a message number and a number of lines\r\n",
      .ended = false },
    { "a message is gone", IN "RETR 1\r\nTOP 1 1\r\n",
      LOGGED "-ERR Another program has removed this message\r\n"
             "-ERR Another program has removed this message\r\n",
      .ended = false, .open_error = -ENOENT },
    { "a message cannot be read", IN "RETR 1\r\n",
      LOGGED "-ERR [SYS/TEMP] This message cannot be read now\r\n", .ended = false,
      .open_error = -EIO },
    { "a wrong number is no error that is counted",
      IN
      "RETR 9\r\nRETR 9\r\nRETR 9\r\nRETR 9\r\nRETR 9\r\nRETR 9\r\nRETR 9\r\nRETR 9\r\nRETR 9\r\n"
      "RETR 9\r\nNOOP\r\n",
      LOGGED NONE NONE NONE NONE NONE NONE NONE NONE NONE NONE "+OK\r\n", .ended = false },

    /* deleting */
    { "DELE and QUIT", IN "DELE 1\r\nDELE 3\r\nQUIT\r\n",
      LOGGED "+OK Message 1 deleted\r\n+OK Message 3 deleted\r\n" BYE, .ended = true,
      .deleted = 5 },
    { "a deleted message is out of all lists", IN "DELE 2\r\nSTAT\r\nLIST\r\nUIDL\r\n",
      LOGGED
      "+OK Message 2 deleted\r\n+OK 2 400\r\n+OK 2 messages (400 octets)\r\n1 100\r\n3 300\r\n.\r\n"
      "+OK\r\n1 a\r\n3 c\r\n.\r\n",
      .ended = false },
    { "a deleted message cannot be had",
      IN "DELE 2\r\nRETR 2\r\nDELE 2\r\nLIST 2\r\nUIDL 2\r\nTOP 2 0\r\n",
      LOGGED
      "+OK Message 2 deleted\r\n-ERR Message 2 is deleted\r\n-ERR Message 2 is deleted\r\n"
      "-ERR Message 2 is deleted\r\n-ERR Message 2 is deleted\r\n-ERR Message 2 is deleted\r\n",
      .ended = false },
    { "RSET", IN "DELE 1\r\nDELE 2\r\nRSET\r\nDELE 3\r\nQUIT\r\n",
      LOGGED "+OK Message 1 deleted\r\n+OK Message 2 deleted\r\n+OK 3 600\r\n+OK Message 3 "
             "deleted\r\n" BYE,
      .ended = true, .deleted = 4 },
    { "QUIT deletes nothing of itself", IN "QUIT\r\n", LOGGED BYE, .ended = true },
    { "an update that fails", IN "DELE 1\r\nQUIT\r\n",
      LOGGED
      "+OK Message 1 deleted\r\n-ERR [SYS/TEMP] Some deleted messages could not be removed\r\n",
      .ended = true, .deleted = 1, .update_error = -EROFS },
    { "p3 without QUIT nothing is deleted", IN "DELE 1\r\n", LOGGED "+OK Message 1 deleted\r\n",
      .ended = false },
    { "p3 half a QUIT deletes nothing", IN "DELE 1\r\nQUIT", LOGGED "+OK Message 1 deleted\r\n",
      .ended = false },
    { "p3 QUIT with a CR alone deletes nothing", IN "DELE 1\r\nQUIT\r",
      LOGGED "+OK Message 1 deleted\r\n", .ended = false },
};

/* Feeds pieces of `step` octets, each an allocation of its own, so that nothing is read behind it
 * or later. */
static int feed(struct pop3_session *session, struct span in, size_t step)
{
    int r = POP3_MORE;

    for (; r == POP3_MORE && in.size > 0; in = span_skip(in, step)) {
        struct span part = span_first(in, step);
        unsigned char *piece = malloc(part.size);

        assert_non_null(piece);
        memcpy(piece, part.data, part.size);
        r = pop3_session_feed(session, span_of(piece, part.size));
        free(piece);
    }
    return r;
}

static void run_row(const struct row *row, size_t step)
{
    struct pop3_session session;
    struct side side;
    int r;

    side_init(&side);
    side.login_result = row->login_result;
    side.open_error = row->open_error;
    side.update_error = row->update_error;
    assert_int_equal(
        pop3_session_init(&session, &caller, &side, "mail.example.org", !row->no_passwords, 10), 0);
    r = feed(&session, span_of_text(row->in), step);
    pop3_session_deinit(&session);
    if (strcmp(text_str(&side.replies), row->out) != 0)
        fail_msg("%s, %zu octets at a time: answers\n%s", row->name, step, text_str(&side.replies));
    if (r != (row->ended ? POP3_ENDED : POP3_MORE))
        fail_msg("%s, %zu octets at a time: result %d", row->name, step, r);
    if (side.deleted != row->deleted)
        fail_msg("%s, %zu octets at a time: deleted %x", row->name, step, side.deleted);
    if (row->no_passwords && side.logins > 0)
        fail_msg("%s: a password was looked at", row->name);
}

static void conversations_go_as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        run_row(&rows[i], SIZE_MAX / 2);
        run_row(&rows[i], 1);
        run_row(&rows[i], 3);
    }
}

/* AUTH's answer: 12288 octets with its CRLF are taken, one more is too long and ends the exchange.
 */
static void rule_2_the_longest_answer_to_auth(void **state)
{
    for (size_t size = POP3_AUTH_LINE_MAX - 2; size <= POP3_AUTH_LINE_MAX - 1; size++) {
        const char *want = size == POP3_AUTH_LINE_MAX - 2 ? GREETING
                               "+ \r\n-ERR This is no base64\r\n+OK\r\n"
                                                          : GREETING "+ \r\n" TOO_LONG "+OK\r\n";
        struct pop3_session session;
        struct side side;
        char *answer = malloc(size);

        assert_non_null(answer);
        memset(answer, '!', size);
        side_init(&side);
        pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10);
        assert_int_equal(pop3_session_feed(&session, SPAN_LIT("AUTH PLAIN\r\n")), POP3_MORE);
        assert_int_equal(feed(&session, span_of(answer, size), 1000), POP3_MORE);
        assert_int_equal(pop3_session_feed(&session, SPAN_LIT("\r\nNOOP\r\n")), POP3_MORE);
        assert_string_equal(text_str(&side.replies), want);
        pop3_session_deinit(&session);
        free(answer);
    }
    (void)state;
}

static void a_nul_is_no_part_of_a_command_or_password(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10);
    assert_int_equal(feed(&session, SPAN_LIT("NOOP\0\r\nUSER anna\r\nPASS open sesame\0\r\n"), 1),
                     POP3_MORE);
    assert_string_equal(text_str(&side.replies), GREETING UNKNOWN NAMED WRONG);
    pop3_session_deinit(&session);
}

static void the_number_of_errors_is_a_setting(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    pop3_session_init(&session, &caller, &side, "mail.example.org", true, 1);
    assert_int_equal(pop3_session_feed(&session, SPAN_LIT("X\r\nX\r\n")), POP3_ENDED);
    assert_string_equal(text_str(&side.replies), GREETING "-ERR Too many errors\r\n");
    pop3_session_deinit(&session);
}

static void p3_a_client_that_takes_no_reply_is_left_without_update(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10);
    assert_int_equal(pop3_session_feed(&session, SPAN_LIT(IN)), POP3_MORE);
    side.write_error = -EPIPE;
    assert_int_equal(pop3_session_feed(&session, SPAN_LIT("DELE 1\r\nQUIT\r\n")), -EPIPE);
    assert_int_equal(side.updates, 0);
    pop3_session_deinit(&session);
}

/* RFC 1939 section 6: the UPDATE comes before the reply; whether that arrives changes nothing. */
static void quit_updates_though_its_reply_cannot_be_sent(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10);
    assert_int_equal(pop3_session_feed(&session, SPAN_LIT(IN "DELE 1\r\n")), POP3_MORE);
    side.write_error = -EPIPE;
    assert_int_equal(pop3_session_feed(&session, SPAN_LIT("QUIT\r\n")), -EPIPE);
    assert_int_equal(side.updates, 1);
    assert_int_equal(side.deleted, 1);
    pop3_session_deinit(&session);
}

static void p3_an_error_within_a_message_ends_the_session(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    side.send_error = -EIO;
    pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10);
    assert_int_equal(pop3_session_feed(&session, SPAN_LIT(IN "DELE 2\r\nRETR 1\r\nQUIT\r\n")),
                     -EIO);
    assert_int_equal(session.retrieved, 0);
    assert_int_equal(side.updates, 0);
    assert_string_equal(text_str(&side.replies) + strlen(LOGGED),
                        "+OK Message 2 deleted\r\n+OK 100 octets\r\n<text 1>\r\n"); /* and no dot */
    pop3_session_deinit(&session);
}

static void retrieved_messages_are_counted(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10);
    assert_int_equal(
        pop3_session_feed(&session, SPAN_LIT(IN "RETR 1\r\nTOP 1 1\r\nRETR 2\r\nRETR 4\r\n")),
        POP3_MORE);
    assert_int_equal(session.retrieved, 2);
    pop3_session_deinit(&session);
}

static void a_greeting_that_cannot_be_sent_is_told(void **state)
{
    struct pop3_session session;
    struct side side;

    (void)state;
    side_init(&side);
    side.write_error = -EPIPE;
    assert_int_equal(pop3_session_init(&session, &caller, &side, "mail.example.org", true, 10),
                     -EPIPE);
    pop3_session_deinit(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_go_as_written),
        cmocka_unit_test(rule_2_the_longest_answer_to_auth),
        cmocka_unit_test(a_nul_is_no_part_of_a_command_or_password),
        cmocka_unit_test(the_number_of_errors_is_a_setting),
        cmocka_unit_test(p3_a_client_that_takes_no_reply_is_left_without_update),
        cmocka_unit_test(quit_updates_though_its_reply_cannot_be_sent),
        cmocka_unit_test(p3_an_error_within_a_message_ends_the_session),
        cmocka_unit_test(retrieved_messages_are_counted),
        cmocka_unit_test(a_greeting_that_cannot_be_sent_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
