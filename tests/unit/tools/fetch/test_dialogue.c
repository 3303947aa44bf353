/* Conversations of the client of Remote Mail, whole and one octet at a time: what it says, what it
 * asks its caller, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/fetch/dialogue.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ONE         "5259d46a49644bf76792231ef7315b5293677c49ddd7e69d95557013e10320d4"
#define ID_A        "0123456789abcdef0123456789abcdef"
#define ID_B        "fedcba9876543210fedcba9876543210"
#define HELLO       "RM/1 test/1 id=0123456789abcdef\r\n"
#define AUTH        "AUTH PLAIN AGFubmEAc2VjcmV0\r\n"
#define GREETED     "+ RM/1 host SIZE=1000 WAIT=1740 PUSH\r\n"
#define WELCOME     GREETED "+ 1 messages 5 octets\r\n"
#define FRAME       "M 0000beef.7 5 0\r\none\r\n\r\nS 0000beef.7 " ONE "\r\n"
#define STEPS       6

struct upload {
    const char *id, *body;
    bool begun;
    uint64_t announced; /* where not strlen(body) */
};

struct row {
    const char *name;
    bool one_flight, no_sync, watch;
    struct upload uploads[2];
    const char *part;       /* uid that a part is there of */
    uint64_t offset;        /* of it */
    const char *stored;     /* uid of a message stored earlier, to be acknowledged */
    int whole;              /* what whole() returns */
    const char *in[STEPS];  /* each after what was said before it */
    const char *out, *told; /* all that was said; and asked of the caller */
    int result;
    const char *words;
};

struct side {
    const struct row *row;
    FILE *told;
    bool logged_in;
    unsigned stage[2]; /* of uploads: 0 to ask, 1 to be sent, 2 sent */
    uint64_t offset[2];
    size_t reading, at;
    bool acked, parted, stored_new, acked_new;
};

static int side_greeted(void *context, uint64_t limit_bytes)
{
    struct side *side = context;

    fprintf(side->told, "size %llu\n", (unsigned long long)limit_bytes);
    return 0;
}

static int side_logged_in(void *context, uint64_t messages, uint64_t octets)
{
    struct side *side = context;

    side->logged_in = true;
    fprintf(side->told, "%llu messages %llu\n", (unsigned long long)messages,
            (unsigned long long)octets);
    return 0;
}

static bool side_where(void *context, struct remote_uid *ret_uid, uint64_t *ret_offset)
{
    struct side *side = context;
    const char *uid = side->row->part && !side->parted ? side->row->part
                      : side->row->stored              ? side->row->stored
                                                       : "0";

    assert_true(remote_uid_parse(span_of_text(uid), true, ret_uid));
    *ret_offset = side->row->offset;
    return side->row->part && !side->parted;
}

static int side_no_such_part(void *context)
{
    struct side *side = context;

    side->parted = true;
    fprintf(side->told, "no such part\n");
    return 0;
}

static int side_new_epoch(void *context)
{
    struct side *side = context;

    side->parted = true;
    fprintf(side->told, "new epoch\n");
    return 0;
}

static int side_frame(void *context, const struct remote_frame *frame)
{
    struct side *side = context;

    fprintf(side->told, "frame %llu %llu %llu\n", (unsigned long long)frame->uid.number,
            (unsigned long long)frame->octets, (unsigned long long)frame->offset);
    return 0;
}

static int side_octets(void *context, struct span octets)
{
    struct side *side = context;

    for (size_t i = 0; i < octets.size; i++)
        fprintf(side->told, "%02x", octets.data[i]);
    return 0;
}

static int side_whole(void *context, struct remote_uid uid, struct span digest)
{
    struct side *side = context;

    fprintf(side->told, "\nwhole %llu %.4s\n", (unsigned long long)uid.number,
            (const char *)digest.data);
    return side->row->whole;
}

static int side_pulled(void *context)
{
    struct side *side = context;

    side->stored_new = true;
    fprintf(side->told, "pulled\n");
    return 0;
}

static bool side_next_ack(void *context, struct remote_uid *ret_uid)
{
    struct side *side = context;

    if (side->row->stored && !side->acked) {
        side->acked = true;
        return remote_uid_parse(span_of_text(side->row->stored), false, ret_uid);
    }
    if (!side->stored_new || side->acked_new)
        return false;
    side->acked_new = true;
    *ret_uid = (struct remote_uid){ 0xbeef, 7 };
    return true;
}

static int side_synced(void *context)
{
    struct side *side = context;

    fprintf(side->told, "synced\n");
    return 0;
}

static bool side_next_have(void *context, size_t *ret_index, struct span *ret_id)
{
    struct side *side = context;

    for (size_t i = 0; i < COUNT(side->stage); i++)
        if (side->row->uploads[i].begun && side->stage[i] == 0) {
            side->stage[i] = 3;
            *ret_index = i;
            *ret_id = span_of_text(side->row->uploads[i].id);
            return true;
        }
    return false;
}

static int side_next_push(void *context, struct dialogue_push *ret_push)
{
    struct side *side = context;
    bool hold = false;

    for (size_t i = 0; i < COUNT(side->stage); i++) {
        const struct upload *upload = &side->row->uploads[i];

        hold = hold || (upload->id && (side->stage[i] == 3 || side->stage[i] == 0));
        if (!upload->id || !side->logged_in || side->stage[i] == 2 || side->stage[i] == 3)
            continue;
        side->stage[i] = 2;
        side->reading = i;
        side->at = side->offset[i];
        *ret_push = (struct dialogue_push){
            .index = i,
            .id = span_of_text(upload->id),
            .digest = SPAN_LIT(ONE),
            .envelope = SPAN_LIT("FROM:<a@b>\nTO:<c@d>\n"),
            .octets = upload->announced ? upload->announced : strlen(upload->body),
            .offset = side->offset[i],
        };
        return DIALOGUE_PUSH;
    }
    return hold ? DIALOGUE_HOLD : DIALOGUE_NONE;
}

static int side_read(void *context, unsigned char *into, size_t room, size_t *ret_size)
{
    struct side *side = context;
    const struct upload *upload = &side->row->uploads[side->reading];
    struct span rest = span_skip(span_of_text(upload->body), side->at);

    assert_true(room > 0);
    if (upload->announced > strlen(upload->body)) { /* as many x as there must be */
        memset(into, 'x', room);
        *ret_size = room;
        return 0;
    }
    rest = span_first(rest, room < 3 ? room : 3);
    if (rest.size > 0)
        memcpy(into, rest.data, rest.size);
    side->at += rest.size;
    *ret_size = rest.size;
    return 0;
}

static int side_had(void *context, size_t index, bool done, uint64_t octets)
{
    struct side *side = context;

    fprintf(side->told, "had %zu %s %llu\n", index, done ? "done" : "part",
            (unsigned long long)octets);
    side->stage[index] = done ? 2 : 1;
    side->offset[index] = octets;
    return 0;
}

static int side_pushed(void *context, size_t index)
{
    struct side *side = context;

    fprintf(side->told, "pushed %zu\n", index);
    return 0;
}

static int side_refused(void *context, size_t index, struct span code, struct span words)
{
    struct side *side = context;

    side->stage[index] = 2;
    fprintf(side->told, "refused %zu %.*s: %.*s\n", index, (int)code.size, (const char *)code.data,
            (int)words.size, (const char *)words.data);
    return 0;
}

static bool side_more_uploads(void *context)
{
    (void)context;
    return false;
}

static void side_waiting(void *context, bool begins)
{
    struct side *side = context;

    fprintf(side->told, "wait %s\n", begins ? "begins" : "ends");
}

static const struct dialogue_caller caller = {
    .greeted = side_greeted,
    .logged_in = side_logged_in,
    .where = side_where,
    .no_such_part = side_no_such_part,
    .new_epoch = side_new_epoch,
    .frame = side_frame,
    .octets = side_octets,
    .whole = side_whole,
    .pulled = side_pulled,
    .next_ack = side_next_ack,
    .synced = side_synced,
    .next_have = side_next_have,
    .next_push = side_next_push,
    .read = side_read,
    .had = side_had,
    .pushed = side_pushed,
    .refused = side_refused,
    .more_uploads = side_more_uploads,
    .waiting = side_waiting,
};

#define PULLED_ONE                                                                                 \
    "size 1000\n1 messages 5\nframe 7 5 0\n6f6e650d0a\nwhole 7 5259\npulled\nsynced\n"
#define SAID_ONE HELLO AUTH "PULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n"

static const struct row rows[] = {
    { .name = "one message, all in one flight",
      .one_flight = true,
      .in = { WELCOME FRAME "+ PULL 1\r\n", "+ SYNC 1\r\n+ BYE\r\n" },
      .out = SAID_ONE,
      .told = PULLED_ONE,
      .result = DIALOGUE_DONE },
    { .name = "without TLS the password waits for the greeting",
      .in = { GREETED, "+ 1 messages 5 octets\r\n" FRAME "+ PULL 1\r\n", "+ SYNC 1\r\n+ BYE\r\n" },
      .out = SAID_ONE,
      .told = PULLED_ONE,
      .result = DIALOGUE_DONE },
    { .name = "no password for a server that has not greeted",
      .in = { "" },
      .out = HELLO,
      .told = "",
      .result = DIALOGUE_MORE },
    { .name = "mail that is kept",
      .one_flight = true,
      .no_sync = true,
      .in = { WELCOME "+ PULL 0\r\n", "+ BYE\r\n" },
      .out = HELLO AUTH "PULL\r\nACK 0000beef.7\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\npulled\n",
      .result = DIALOGUE_DONE },
    { .name = "what was stored earlier is acknowledged again, first",
      .one_flight = true,
      .stored = "0000beef.3",
      .in = { WELCOME "+ PULL 0\r\n", "+ SYNC 1\r\n+ BYE\r\n" },
      .out = HELLO AUTH "ACK 0000beef.3\r\nPULL 0000beef.3\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\npulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "inside a message",
      .one_flight = true,
      .part = "0000beef.7",
      .offset = 3,
      .in = { WELCOME "M 0000beef.7 5 3\r\n\r\n\r\nS 0000beef.7 " ONE "\r\n+ PULL 1\r\n",
              "+ SYNC 1\r\n+ BYE\r\n" },
      .out = HELLO AUTH "PULL 0000beef.7 3\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\nframe 7 5 3\n0d0a\nwhole 7 5259\npulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "a part that is gone",
      .one_flight = true,
      .part = "0000beef.7",
      .offset = 9,
      .stored = "0000beef.3",
      .in = { WELCOME "- [NOSUCH] offset\r\n", "+ PULL 0\r\n", "+ SYNC 0\r\n+ BYE\r\n" },
      .out = HELLO AUTH "ACK 0000beef.3\r\nPULL 0000beef.7 9\r\nPULL 0000beef.3\r\n"
                        "ACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\nno such part\npulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "another epoch",
      .one_flight = true,
      .part = "0000beef.7",
      .offset = 9,
      .in = { WELCOME "- [NOSUCH] epoch 0000dead\r\n", FRAME "+ PULL 1\r\n",
              "+ SYNC 0\r\n+ BYE\r\n" },
      .out = HELLO AUTH "PULL 0000beef.7 9\r\nPULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\nnew epoch\nframe 7 5 0\n6f6e650d0a\nwhole 7 5259\npulled\n"
              "synced\n",
      .result = DIALOGUE_DONE },
    { .name = "a server that never has it",
      .one_flight = true,
      .in = { WELCOME "- [NOSUCH] offset\r\n", "- [NOSUCH] offset\r\n", "- [NOSUCH] offset\r\n" },
      .out = HELLO AUTH "PULL\r\nPULL\r\nPULL\r\n",
      .told = "size 1000\n1 messages 5\nno such part\nno such part\n",
      .result = -EPROTO,
      .words = "offset" },
    { .name = "two uploads back to back, mail behind them",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", false, 0 }, { ID_B, "two\r\n", false, 0 } },
      .in = { WELCOME, "+ PUSH " ID_A " DONE\r\n+ PUSH " ID_B " DONE\r\n+ PULL 0\r\n",
              "+ SYNC 0\r\n+ BYE\r\n" },
      .out = HELLO AUTH "PUSH " ID_A " 7 " ONE "\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\nhello\r\n"
                        "PUSH " ID_B " 5 " ONE "\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\ntwo\r\n"
                        "PULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\npushed 0\npushed 1\npulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "an upload that was begun goes on",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", true, 0 }, { ID_B, "two\r\n", true, 0 } },
      .in = { WELCOME "+ HAVE " ID_A " 3\r\n+ HAVE " ID_B " DONE\r\n",
              "+ PUSH " ID_A " DONE\r\n+ PULL 0\r\n", "+ SYNC 0\r\n+ BYE\r\n" },
      .out = HELLO AUTH "HAVE " ID_A "\r\nHAVE " ID_B "\r\n"
                        "PUSH " ID_A " 7 " ONE " 3\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\nlo\r\n"
                        "PULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\nhad 0 part 3\nhad 1 done 0\npushed 0\npulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "no octet of mail before the login is answered",
      .one_flight = true,
      .uploads = { { ID_A, "QUIT\r\n", false, 0 } },
      .in = { GREETED },
      .out = HELLO AUTH,
      .told = "size 1000\n",
      .result = DIALOGUE_MORE },
    { .name = "an upload that is refused",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", false, 0 } },
      .in = { WELCOME, "- [PERM] PUSH " ID_A " no such user here: <c@d>\r\n+ PULL 0\r\n",
              "+ SYNC 0\r\n+ BYE\r\n" },
      .out = HELLO AUTH "PUSH " ID_A " 7 " ONE "\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\nhello\r\n"
                        "PULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\nrefused 0 PERM: no such user here: <c@d>\npulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "the answer of another upload, DONE",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", false, 0 } },
      .in = { WELCOME, "+ PUSH " ID_B " DONE\r\n" },
      .out =
          HELLO AUTH "PUSH " ID_A " 7 " ONE "\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\nhello\r\nPULL\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = -EPROTO,
      .words = "+ PUSH " ID_B " DONE" },
    { .name = "the answer of another upload, refused",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", false, 0 } },
      .in = { WELCOME, "- [PERM] PUSH " ID_B " no\r\n" },
      .out =
          HELLO AUTH "PUSH " ID_A " 7 " ONE "\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\nhello\r\nPULL\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = DIALOGUE_REFUSED,
      .words = "PUSH " ID_B " no" },
    { .name = "the answer of another upload, that it has",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", true, 0 } },
      .in = { WELCOME "+ HAVE " ID_B " DONE\r\n" },
      .out = HELLO AUTH "HAVE " ID_A "\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = -EPROTO,
      .words = "+ HAVE " ID_B " DONE" },
    { .name = "more words than there are",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", true, 0 } },
      .in = { WELCOME "+ HAVE " ID_A " DONE DONE\r\n" },
      .out = HELLO AUTH "HAVE " ID_A "\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = -EPROTO,
      .words = "DONE DONE" },
    { .name = "an upload that cannot be looked up now",
      .one_flight = true,
      .uploads = { { ID_A, "hello\r\n", true, 0 } },
      .in = { WELCOME "- [TEMP] uploads cannot be looked up now\r\n", "+ PULL 0\r\n",
              "+ SYNC 0\r\n+ BYE\r\n" },
      .out = HELLO AUTH "HAVE " ID_A "\r\nPULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\nrefused 0 TEMP: uploads cannot be looked up now\n"
              "pulled\nsynced\n",
      .result = DIALOGUE_DONE },
    { .name = "waiting, and new mail",
      .one_flight = true,
      .watch = true,
      .in = { "+ RM/1 host WAIT=60 SIZE=1000 PUSH\r\n+ 1 messages 5 octets\r\n+ PULL 0\r\n",
              "+ SYNC 0\r\n+ NEW\r\n", FRAME "+ PULL 1\r\n", "+ SYNC 1\r\n", "+ NONE\r\n",
              "+ SYNC 1\r\n" },
      .out = HELLO AUTH "PULL\r\nACK 0000beef.7\r\nSYNC\r\nWAIT 60\r\nPULL\r\nSYNC\r\n"
                        "WAIT 60\r\nSYNC\r\nWAIT 60\r\n",
      .told = "size 1000\n1 messages 5\npulled\nwait begins\nsynced\nwait ends\n"
              "frame 7 5 0\n6f6e650d0a\nwhole 7 5259\npulled\nwait begins\nsynced\n"
              "wait ends\nwait begins\nsynced\n",
      .result = DIALOGUE_MORE },
    { .name = "a digest that is wrong",
      .one_flight = true,
      .whole = DIALOGUE_AGAIN,
      .in = { WELCOME FRAME },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n1 messages 5\nframe 7 5 0\n6f6e650d0a\nwhole 7 5259\n",
      .result = DIALOGUE_AGAIN },

    { .name = "a wrong password",
      .one_flight = true,
      .in = { GREETED "- [AUTH] wrong name or password\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n",
      .result = DIALOGUE_LOGIN,
      .words = "wrong name or password" },
    { .name = "a login that is refused for now",
      .one_flight = true,
      .in = { GREETED "- [TEMP] the mailbox cannot be read now\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n",
      .result = DIALOGUE_LATER,
      .words = "the mailbox cannot be read now" },
    { .name = "no passwords without TLS",
      .in = { GREETED, "- [TLS] passwords are not taken without TLS\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n",
      .result = DIALOGUE_REFUSED,
      .words = "passwords are not taken without TLS" },
    { .name = "another version",
      .one_flight = true,
      .in = { "- [SYNTAX] versions: RM/2\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "",
      .result = DIALOGUE_REFUSED,
      .words = "versions: RM/2" },
    { .name = "a pull that is refused for now",
      .one_flight = true,
      .in = { WELCOME "- [TEMP] later\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = DIALOGUE_LATER,
      .words = "later" },
    { .name = "another protocol",
      .in = { "220 host ESMTP\r\n" },
      .out = HELLO,
      .told = "",
      .result = -EPROTO,
      .words = "octets that are no Remote Mail" },
    { .name = "another protocol that begins alike",
      .in = { "+ OK POP3\r\n" },
      .out = HELLO,
      .told = "",
      .result = -EPROTO,
      .words = "+ OK POP3" },
    { .name = "a message before the login is answered",
      .one_flight = true,
      .in = { GREETED FRAME },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n",
      .result = -EPROTO,
      .words = "a message that nobody asked for" },
    { .name = "a message after the pull",
      .one_flight = true,
      .in = { WELCOME "+ PULL 0\r\n", FRAME },
      .out = HELLO AUTH "PULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\npulled\n",
      .result = -EPROTO,
      .words = "a message that nobody asked for" },
    { .name = "fewer messages than it says",
      .one_flight = true,
      .in = { WELCOME "+ PULL 1\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = -EPROTO,
      .words = "1" },
    { .name = "an answer that nobody waits for",
      .one_flight = true,
      .in = { WELCOME "+ PULL 0\r\n", "+ SYNC 0\r\n+ SYNC 0\r\n" },
      .out = HELLO AUTH "PULL\r\nACK 0000beef.7\r\nSYNC\r\nQUIT\r\n",
      .told = "size 1000\n1 messages 5\npulled\nsynced\n",
      .result = -EPROTO,
      .words = "+ SYNC 0" },
    { .name = "a list that nobody asked for",
      .one_flight = true,
      .in = { WELCOME "* 0000beef.7 5\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = -EPROTO,
      .words = "* 0000beef.7 5" },
    { .name = "a refusal without a code",
      .one_flight = true,
      .in = { WELCOME "- no\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n1 messages 5\n",
      .result = -EPROTO,
      .words = "no" },
    { .name = "words for a terminal",
      .one_flight = true,
      .in = { GREETED "- [PERM] \x1b[2J\xff\r\n" },
      .out = HELLO AUTH "PULL\r\n",
      .told = "size 1000\n",
      .result = DIALOGUE_REFUSED,
      .words = "\\x1b[2J\\xff" },
};

/* Takes all the output there is into `said`. */
static void drain(struct dialogue *dialogue, FILE *said, size_t step)
{
    struct span output;

    while ((output = dialogue_output(dialogue)).size > 0) {
        output = span_first(output, step);
        fwrite(output.data, 1, output.size, said);
        dialogue_sent(dialogue, output.size);
    }
}

static void converse(const struct row *row, size_t step)
{
    const struct dialogue_facts facts = {
        .agent = "test/1",
        .mirror = "0123456789abcdef",
        .user = SPAN_LIT("anna"),
        .password = SPAN_LIT("secret"),
        .one_flight = row->one_flight,
        .sync = !row->no_sync,
        .watch = row->watch,
    };
    struct dialogue *dialogue = malloc(sizeof(*dialogue));
    struct side side = { .row = row };
    char *told = NULL, *said = NULL;
    size_t told_size, said_size;
    FILE *out = open_memstream(&said, &said_size);
    int r;

    side.told = open_memstream(&told, &told_size);
    assert_non_null(dialogue);
    dialogue_init(dialogue, &facts, &caller, &side);
    r = dialogue_fill(dialogue);
    drain(dialogue, out, step);
    for (size_t i = 0; r == DIALOGUE_MORE && i < STEPS && row->in[i]; i++) {
        struct span rest = span_of_text(row->in[i]);

        while (r == DIALOGUE_MORE && rest.size > 0) {
            r = dialogue_feed(dialogue, span_first(rest, step));
            rest = span_skip(rest, step);
            if (r == DIALOGUE_MORE)
                r = dialogue_fill(dialogue);
            drain(dialogue, out, step);
        }
    }
    fclose(out);
    fclose(side.told);
    assert_string_equal(said, row->out);
    assert_string_equal(told, row->told);
    assert_int_equal(r, row->result);
    if (row->words)
        assert_string_equal(dialogue->words, row->words);
    dialogue_deinit(dialogue);
    free(dialogue);
    free(told);
    free(said);
}

static void test_conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%s\n", rows[i].name);
        converse(&rows[i], SIZE_MAX / 2);
        converse(&rows[i], 1);
    }
}

/* Says hello, pushes `octets`, and hears `reply` after the first `sent` of them. */
static int refuse_within(uint64_t octets, const char *reply, uint64_t *ret_left)
{
    const struct dialogue_facts facts = { .agent = "test/1",
                                          .mirror = "0123456789abcdef",
                                          .user = SPAN_LIT("anna"),
                                          .password = SPAN_LIT("secret"),
                                          .one_flight = true };
    const struct row row = { .uploads = { { ID_A, "", false, octets } } };
    struct dialogue *dialogue = malloc(sizeof(*dialogue));
    struct side side = { .row = &row, .told = fopen("/dev/null", "w") };
    int r;

    assert_non_null(dialogue);
    dialogue_init(dialogue, &facts, &caller, &side);
    assert_int_equal(dialogue_fill(dialogue), DIALOGUE_MORE);
    dialogue_sent(dialogue, dialogue_output(dialogue).size);
    assert_int_equal(dialogue_feed(dialogue, SPAN_LIT(WELCOME)), DIALOGUE_MORE);
    assert_int_equal(dialogue_fill(dialogue), DIALOGUE_MORE);
    assert_true(dialogue_output(dialogue).size <= DIALOGUE_OUT_BYTES);
    assert_true(dialogue->pushing);
    *ret_left = dialogue->push_left;
    r = dialogue_feed(dialogue, span_of_text(reply));
    dialogue_deinit(dialogue);
    fclose(side.told);
    free(dialogue);
    return r;
}

static void test_a_large_upload_that_is_refused_is_not_sent_to_its_end(void **state)
{
    uint64_t left;

    (void)state;
    assert_int_equal(refuse_within(1 << 20, "- [LIMIT] PUSH " ID_A " too big\r\n", &left),
                     DIALOGUE_MORE);
    assert_true(left <= DIALOGUE_FINISH_MAX);
    assert_int_equal(refuse_within(3 << 20, "- [LIMIT] PUSH " ID_A " too big\r\n", &left),
                     DIALOGUE_AGAIN);
    assert_true(left > DIALOGUE_FINISH_MAX);
    assert_int_equal(refuse_within(3 << 20, "+ PUSH " ID_A " DONE\r\n", &left), DIALOGUE_AGAIN);
    assert_int_equal(refuse_within(3 << 20, "+ PUSH " ID_A " 7\r\n", &left), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_a_large_upload_that_is_refused_is_not_sent_to_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
