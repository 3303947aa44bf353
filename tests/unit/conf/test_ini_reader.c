/* Tests of conf/ini_reader.c: which settings a text gives, and which lines are refused.
 *
 * Each row's text is read; what is told is noted as "[section]", "key=value" and "key+=value" (more
 * of the value), each followed by @line:column. The rows that are refused are the traps of inih 55:
 * text that it would silently take for something else than what is seen. */
#include "conf/ini_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/conf/topics.h"

#define TEN     "xxxxxxxxxx"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

struct row {
    const char *name;
    const char *text;
    const char *told;
    const char *diagnostics;
    size_t size; /* 0: that of the text, which holds no NUL */
};

static const struct row rows[] = {
    /* what is read */
    { "an empty file", "", "", "", 0 },
    { "only blank lines and comments", "\n  \n# a\n; b\n\t# c\n", "", "", 0 },
    { "a section without settings", "[a]\n", "[a]@1:1 ", "", 0 },
    { "a setting", "[a]\nk = v\n", "[a]@1:1 k=v@2:5 ", "", 0 },
    { "no line end at the end", "[a]\nk = v", "[a]@1:1 k=v@2:5 ", "", 0 },
    { "no blanks", "[a]\nk=v\n", "[a]@1:1 k=v@2:3 ", "", 0 },
    { "many blanks", "[a]\nk\t=   v  w \t\n", "[a]@1:1 k=v  w@2:7 ", "", 0 },
    { "CRLF", "[a]\r\nk = v\r\n\r\n", "[a]@1:1 k=v@2:5 ", "", 0 },
    { "a byte order mark", "\xef\xbb\xbf[a]\nk = v\n", "[a]@1:1 k=v@2:5 ", "", 0 },
    { "a byte order mark alone", "\xef\xbb\xbf", "", "", 0 },
    { "an empty value", "[a]\nk =\n", "[a]@1:1 k=@2:4 ", "", 0 },
    { "a comment in place of a value", "[a]\nk = ; v\n", "[a]@1:1 k=@2:5 ", "", 0 },
    { "a comment behind a value", "[a]\nk = v ; w\n", "[a]@1:1 k=v@2:5 ", "", 0 },
    { "a comment behind a section", "[a] ; b\nk = v\n[c] # d\n", "[a]@1:1 k=v@2:5 [c]@3:1 ", "",
      0 },
    { "a ; without a blank belongs to the value", "[a]\nk = v;w\n", "[a]@1:1 k=v;w@2:5 ", "", 0 },
    { "a # behind a value belongs to it", "[a]\nk = v # w\n", "[a]@1:1 k=v # w@2:5 ", "", 0 },
    { "= and : in a value", "[a]\nk = v=w:x\n", "[a]@1:1 k=v=w:x@2:5 ", "", 0 },
    { "a blank in a section's name is kept", "[a  b]\nk = v\n", "[a  b]@1:1 k=v@2:5 ", "", 0 },
    { "the same section twice", "[a]\n[b]\n[a]\n", "[a]@1:1 [b]@2:1 [a]@3:1 ", "", 0 },
    { "Latin-1 in a comment", "[a]\n# M\xfcller\nk = v\n", "[a]@1:1 k=v@3:5 ", "", 0 },
    { "UTF-8 in a value", "[a]\nk = \xc3\xa4\n", "[a]@1:1 k=\xc3\xa4@2:5 ", "", 0 },
    { "an indented line goes on with the value", "[a]\nk = v,\n  w\n\tx ; y\n",
      "[a]@1:1 k=v,@2:5 k+=w@3:3 k+=x@4:2 ", "", 0 },
    { "blank lines and comments between continued lines", "[a]\nk =\n\n  v\n# c\n  ; d\n  w\n",
      "[a]@1:1 k=@2:4 k+=v@4:3 k+=w@7:3 ", "", 0 },
    { "a : in a continued line", "[a]\nk = v,\n  ::\n", "[a]@1:1 k=v,@2:5 k+=::@3:3 ", "", 0 },
    { "an IPv6 address with a port in a continued line",
      "[a]\nk = v,\n  [2001:db8::1]:25,\n [::]:1\n",
      "[a]@1:1 k=v,@2:5 k+=[2001:db8::1]:25,@3:3 k+=[::]:1@4:2 ", "", 0 },
    { "a path with an = in a continued line", "[a]\nk = v,\n  unix:/a=b\n",
      "[a]@1:1 k=v,@2:5 k+=unix:/a=b@3:3 ", "", 0 },
    { "a line of 198 octets", "[a]\nk=" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxxxx\n",
      "[a]@1:1 k=" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxxxx@2:3 ", "", 0 },
    { "a section's name of 49 octets", "[" TEN TEN TEN TEN "xxxxxxxxx]\n",
      "[" TEN TEN TEN TEN "xxxxxxxxx]@1:1 ", "", 0 },
    { "a long comment: its tail is no setting",
      "[a]\n# " HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxxxxk = v\nl = w\n",
      "[a]@1:1 l=w@3:5 ", "", 0 },
    { "a long comment of many buffers", "[a]\n;" HUNDRED HUNDRED HUNDRED HUNDRED "\n[b]\n",
      "[a]@1:1 [b]@3:1 ", "", 0 },
    { "a long indented comment", "[a]\nk = v\n  ; " HUNDRED HUNDRED "\nl = w\n",
      "[a]@1:1 k=v@2:5 l=w@4:5 ", "", 0 },
    { "a key longer than inih remembers", "[a]\n" TEN TEN TEN TEN TEN TEN " = v\n",
      "[a]@1:1 " TEN TEN TEN TEN TEN TEN "=v@2:64 ", "", 0 },
    /* what is refused */
    { "a line of 199 octets: inih would cut it",
      "[a]\nk=" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxxxxx\nl = w\n", "[a]@1:1 l=w@3:5 ",
      "f:2: error: the line is too long: at most 198 octets (a list may go on in indented lines)\n"
      "    k=" HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxxxx\n"
      "    "
      "                                                  "
      "                                                  "
      "                                                  "
      "                                                "
      "^\n",
      0 },
    { "a continued line that is too long", "[a]\nk = v\n " HUNDRED HUNDRED "\n", "[a]@1:1 k=v@2:5 ",
      "f:3: error: the line is too long: at most 198 octets (a list may go on in indented lines)\n"
      "     " HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxxxxx\n"
      "    "
      "                                                  "
      "                                                  "
      "                                                  "
      "                                                "
      "^\n",
      0 },
    { "a section's name of 50 octets: inih would cut it", "[" TEN TEN TEN TEN TEN "]\nk = v\n", "",
      "f:1: error: a section's name has at most 49 octets\n    [" TEN TEN TEN TEN TEN "]\n"
      "    "
      "                                                  "
      "^\n",
      0 },
    { "a setting before the first section", "k = v\n[a]\nl = w\n", "[a]@2:1 l=w@3:5 ",
      "f:1: error: a setting stands before the first [section]\n    k = v\n    ^\n", 0 },
    { "text behind a section's ]: inih would drop it", "[a] k = v\nl = w\n[b]\n", "[b]@3:1 ",
      "f:1: error: nothing may follow a section's ] in its line\n    [a] k = v\n        ^\n", 0 },
    { "two sections in a line", "[a][b]\n", "",
      "f:1: error: nothing may follow a section's ] in its line\n    [a][b]\n       ^\n", 0 },
    { "no ]: its settings are not those of the section above", "[a]\n[b\nk = v\n[c]\nl = w\n",
      "[a]@1:1 [c]@4:1 l=w@5:5 ", "f:2: error: the section's ] is missing\n    [b\n      ^\n", 0 },
    { "a comment before the ]", "[a ;]\nk = v\n", "",
      "f:1: error: the section's ] is missing\n    [a ;]\n       ^\n", 0 },
    { "no =", "[a]\nk\nl = w\n", "[a]@1:1 l=w@3:5 ",
      "f:2: error: a setting is written as key = value; here the = is missing\n    k\n     ^\n",
      0 },
    { "an = in a comment only", "[a]\nk ; = v\n", "[a]@1:1 ",
      "f:2: error: a setting is written as key = value; here the = is missing\n    k ; = v\n      "
      "^\n",
      0 },
    { "key: value", "[a]\nk: v\n", "[a]@1:1 ",
      "f:2: error: a key and its value are joined by =, not by :\n    k: v\n     ^\n", 0 },
    { "the = forgotten before a value with :", "[a]\naddress unix:/x=y\n", "[a]@1:1 ",
      "f:2: error: a key and its value are joined by =, not by :\n    address unix:/x=y\n          "
      "      ^\n",
      0 },
    { "no key", "[a]\n= v\n", "[a]@1:1 ",
      "f:2: error: a key is missing before the =\n    = v\n    ^\n", 0 },
    { "an indented setting: inih would add it to the value above", "[a]\nk = v\n  l = w\n",
      "[a]@1:1 k=v@2:5 ",
      "f:3: error: a setting begins at the start of its line; an indented line goes on with the "
      "value above\n      l = w\n      ^\n",
      0 },
    { "an indented setting behind a section", "[a]\n  l = w\n", "[a]@1:1 ",
      "f:2: error: a setting begins at the start of its line; an indented line goes on with the "
      "value above\n      l = w\n      ^\n",
      0 },
    { "an indented section: inih would add it to the value above", "[a]\nk = v\n [b]\n",
      "[a]@1:1 k=v@2:5 ",
      "f:3: error: a section begins at the start of its line\n     [b]\n     ^\n", 0 },
    { "an indented section with a : behind it", "[a]\nk = v\n [b] :\n [c\n [ d]:\n",
      "[a]@1:1 k=v@2:5 ",
      "f:3: error: a section begins at the start of its line\n     [b] :\n     ^\n"
      "f:4: error: a section begins at the start of its line\n     [c\n     ^\n"
      "f:5: error: a section begins at the start of its line\n     [ d]:\n     ^\n",
      0 },
    { "an indented section: its settings are not those of the section above",
      "[a]\n [b]\nk = v\n[c]\nl = w\n", "[a]@1:1 [c]@4:1 l=w@5:5 ",
      "f:2: error: a section begins at the start of its line\n     [b]\n     ^\n", 0 },
    { "an indented line behind a section", "[a]\n  v\n", "[a]@1:1 ",
      "f:2: error: an indented line goes on with a setting, but there is none above it\n      v\n  "
      "    ^\n",
      0 },
    { "an indented line in the next section", "[a]\nk = v\n[b]\n  w\n", "[a]@1:1 k=v@2:5 [b]@3:1 ",
      "f:4: error: an indented line goes on with a setting, but there is none above it\n      w\n  "
      "    ^\n",
      0 },
    { "an indented line at the beginning", "  v\n", "",
      "f:1: error: an indented line goes on with a setting, but there is none above it\n      v\n  "
      "    ^\n",
      0 },
    { "below a refused line, an indented one is neither taken nor told", "[a]\nk = v\nl\n  w\n",
      "[a]@1:1 k=v@2:5 ",
      "f:3: error: a setting is written as key = value; here the = is missing\n    l\n     ^\n",
      0 },
    { "a NUL: inih would end the line there", "[a]\nk = v\0w\nl = w\n", "[a]@1:1 l=w@3:5 ",
      "f:2: error: the line holds a NUL; a settings file is plain text in UTF-8\n    k = v\n       "
      "  ^\n",
      18 },
    { "a NUL in a comment", "[a]\n# v\0w\n", "[a]@1:1 ",
      "f:2: error: the line holds a NUL; a settings file is plain text in UTF-8\n    # v\n       "
      "^\n",
      10 },
    { "UTF-16: told once", "\xff\xfe[\0a\0]\0\n\0k\0", "",
      "f:1: error: the file is UTF-16; save it as UTF-8\n", 12 },
    { "UTF-16, the other way round", "\xfe\xff\0[\0a\0]", "",
      "f:1: error: the file is UTF-16; save it as UTF-8\n", 8 },
    { "UTF-16 without a mark", "[\0a\0]\0", "",
      "f:1: error: the line holds a NUL; a settings file is plain text in UTF-8\n    [\n     ^\n",
      6 },
    { "Latin-1 in a value", "[a]\nk = M\xfcller\nl = w\n", "[a]@1:1 l=w@3:5 ",
      "f:2: error: the line is not UTF-8 from here on\n    k = M?ller\n         ^\n", 0 },
    { "Latin-1 in a section", "[\xe4]\nk = v\n", "",
      "f:1: error: the line is not UTF-8 from here on\n    [?]\n     ^\n", 0 },
    { "Latin-1 in a continued line", "[a]\nk = v,\n  \xe4\n", "[a]@1:1 k=v,@2:5 ",
      "f:3: error: the line is not UTF-8 from here on\n      ?\n      ^\n", 0 },
    { "Latin-1 in a comment behind a value", "[a]\nk = v ; \xe4\n", "[a]@1:1 ",
      "f:2: error: the line is not UTF-8 from here on\n    k = v ; ?\n            ^\n", 0 },
    { "half a character at the end of the file", "[a]\nk = \xc3", "[a]@1:1 ",
      "f:2: error: the line is not UTF-8 from here on\n    k = ?\n        ^\n", 0 },
    { "a slash in two octets",
      "[a]\nk = \xc0\xaf"
      "etc\n",
      "[a]@1:1 ",
      "f:2: error: the line is not UTF-8 from here on\n    k = ?"
      "?etc\n        ^\n",
      0 },
    { "a CR within a line", "[a]\nk = v\rl = w\n", "[a]@1:1 ",
      "f:2: error: a CR stands within the line; lines end with LF or CRLF\n    k = v?l = w\n       "
      "  ^\n",
      0 },
    { "two CRs before the LF", "[a]\nk = v\r\r\n", "[a]@1:1 ",
      "f:2: error: a CR stands within the line; lines end with LF or CRLF\n    k = v?\n         "
      "^\n",
      0 },
    { "an escape", "[a]\nk = \x1b[31m\n", "[a]@1:1 ",
      "f:2: error: the line holds a control character\n    k = ?[31m\n        ^\n", 0 },
    { "a form feed as a blank", "[a]\n\fk = v\n", "[a]@1:1 ",
      "f:2: error: the line holds a control character\n    ?k = v\n    ^\n", 0 },
    { "a byte order mark in the second line", "[a]\n\xef\xbb\xbfk = v\n", "[a]@1:1 ",
      "f:2: error: the line begins with a byte order mark, which is not seen; only the first line "
      "may\n    \xef\xbb\xbfk = v\n    ^\n",
      0 },
    { "a byte order mark before a section in a later line", "[a]\n\xef\xbb\xbf[b]\nk = v\n",
      "[a]@1:1 ",
      "f:2: error: the line begins with a byte order mark, which is not seen; only the first line "
      "may\n    \xef\xbb\xbf[b]\n    ^\n",
      0 },
    { "a byte order mark alone in the last line", "[a]\n\xef\xbb\xbf", "[a]@1:1 ",
      "f:2: error: the line begins with a byte order mark, which is not seen; only the first line "
      "may\n    \xef\xbb\xbf\n    ^\n",
      0 },
    { "two byte order marks", "\xef\xbb\xbf\xef\xbb\xbf[a]\n", "",
      "f:1: error: the line begins with a byte order mark, which is not seen; only the first line "
      "may\n    \xef\xbb\xbf[a]\n    ^\n",
      0 },
    { "CR alone ends no line", "[a]\rk = v\rl = w\r", "",
      "f:1: error: a CR stands within the line; lines end with LF or CRLF\n    [a]?k = v?l = w\n   "
      "    ^\n",
      0 },
    { "several refused lines are all told", "[a]\nk\nl: v\n= w\nm = x\n", "[a]@1:1 m=x@5:5 ",
      "f:2: error: a setting is written as key = value; here the = is missing\n    k\n     ^\n"
      "f:3: error: a key and its value are joined by =, not by :\n    l: v\n     ^\n"
      "f:4: error: a key is missing before the =\n    = w\n    ^\n",
      0 },
};

static void note_section(void *user, const char *name, const struct diagnostic_place *place)
{
    fprintf(user, "[%s]@%u:%u ", name, place->line, place->column);
}

static void note_entry(void *user, const struct ini_entry *entry)
{
    fprintf(user, "%s%s=%s@%u:%u ", entry->key, entry->continued ? "+" : "", entry->value,
            entry->place.line, entry->value_column);
}

static void judge_row(const struct row *row)
{
    size_t size = row->size ? row->size : strlen(row->text), told_size, printed_size;
    struct diagnostics diagnostics;
    char *told, *printed, *exact = malloc(size ? size : 1); /* the address sanitizer sees its end */
    FILE *told_out = open_memstream(&told, &told_size);
    FILE *printed_out = open_memstream(&printed, &printed_size);
    struct ini_listener listener = { told_out, note_section, note_entry };
    int result;

    assert_true(exact && told_out && printed_out);
    memcpy(exact, row->text, size);
    diagnostics_init(&diagnostics);
    result = ini_reader_read(exact, size, "f", &listener, &diagnostics);
    diagnostics_print(&diagnostics, printed_out);
    fclose(told_out);
    fclose(printed_out);
    assert_int_equal(topics_drop(printed), diagnostics.errors);
    if (strcmp(told, row->told) != 0 || strcmp(printed, row->diagnostics) != 0 ||
        (result == 0) != !*row->diagnostics)
        fail_msg("%s: result %d, told \"%s\", printed\n%s", row->name, result, told, printed);
    diagnostics_deinit(&diagnostics);
    free(exact);
    free(told);
    free(printed);
}

static void each_text_gives_what_is_seen_or_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        judge_row(&rows[i]);
}

static void ignore_section(void *user, const char *name, const struct diagnostic_place *place)
{
    (void)user, (void)name, (void)place;
}

static void refuse_live_tail(void *user, const struct ini_entry *entry)
{
    *(bool *)user |= strcmp(entry->key, "live") == 0;
}

/* Wherever a buffer may end: "# xxx...live = 1" with every number of x up to several buffers. */
static void no_length_of_a_comment_makes_its_tail_a_setting(void **state)
{
    char text[1200] = "[a]\n# ";
    struct diagnostics diagnostics;
    bool live = false;
    struct ini_listener listener = { &live, ignore_section, refuse_live_tail };

    (void)state;
    for (size_t padding = 0; padding < 1000; padding++) {
        memset(text + 6, 'x', padding);
        strcpy(text + 6 + padding, "live = 1\n");
        diagnostics_init(&diagnostics);
        assert_int_equal(ini_reader_read(text, strlen(text), "f", &listener, &diagnostics), 0);
        assert_false(live);
        diagnostics_deinit(&diagnostics);
    }
}

/* The same for a setting: it is refused, whole. */
static void no_length_of_a_value_makes_its_tail_a_setting(void **state)
{
    char text[1200] = "[a]\nk = ";
    struct diagnostics diagnostics;
    bool live = false;
    struct ini_listener listener = { &live, ignore_section, refuse_live_tail };

    (void)state;
    for (size_t padding = 0; padding < 1000; padding++) {
        memset(text + 8, 'x', padding);
        strcpy(text + 8 + padding, "live = 1\n");
        diagnostics_init(&diagnostics);
        assert_int_equal(ini_reader_read(text, strlen(text), "f", &listener, &diagnostics),
                         4 + padding + 8 > INI_LINE_MAX ? -EINVAL : 0);
        assert_false(live);
        diagnostics_deinit(&diagnostics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_text_gives_what_is_seen_or_is_refused),
        cmocka_unit_test(no_length_of_a_comment_makes_its_tail_a_setting),
        cmocka_unit_test(no_length_of_a_value_makes_its_tail_a_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
