/* Knows how each kind of value is written.
 *
 * Happy path: settings_value_parse() picks the kind's parser, which judges the words and stores the
 * value. A bad value is told in words that say what would be right; running out of memory is the
 * other failure. */
#include "conf/settings_value.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIST_LINE_MAX 100 /* column at which a printed list goes on in the next line */
#define CHOICES_MAX   5

static_assert(sizeof(enum port_protocol) == sizeof(unsigned), "an enum is stored as an unsigned");
static_assert(sizeof(uint32_t) == sizeof(unsigned), "so is a number");

struct unit {
    const char *name;
    uint64_t factor;
};

/* From small to large: the printer takes the largest that divides. */
static const struct unit durations[] = {
    { "ms", 1 },
    { "s", 1000 },
    { "min", 60 * 1000 },
    { "h", 60 * 60 * 1000 },
    { "d", 24 * 60 * 60 * 1000 },
};
static const struct unit sizes[] = {
    { "B", 1 },
    { "KiB", UINT64_C(1) << 10 },
    { "MiB", UINT64_C(1) << 20 },
    { "GiB", UINT64_C(1) << 30 },
};

/* The words of each enum, in the order of its values in settings.h. */
static const char *const choices[][CHOICES_MAX] = {
    [KIND_BOOLEAN] = { "no", "yes" },
    [KIND_PROTOCOL] = { "smtp", "pop3", "remote", "opaque" },
    [KIND_TLS_RULE] = { "starttls", "implicit", "off" },
    [KIND_REQUIRE_TLS] = { "no", "auth", "yes" },
    [KIND_EARLY_TALKER] = { "serve", "refuse" },
    [KIND_IDENTITY] = { "none", "proxy-v1", "proxy-v2", "xclient" },
    [KIND_BARE_NEWLINE] = { "normalize", "reject", "pass" },
    [KIND_LOG_LEVEL] = { "error", "warning", "notice", "info", "debug" },
    [KIND_TLS_VERSION] = { "1.2", "1.3" },
    [KIND_BACKEND_TLS] = { "off", "starttls", "implicit" },
    [KIND_POLICY] = { "failover", "round-robin", "hash-user", "hash-client" },
    [KIND_TLS_PROFILE] = { "default", "compatible", "legacy" },
};

static int fault_at(struct value_fault *fault, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fault_at(struct value_fault *fault, size_t offset, const char *format, ...)
{
    va_list arguments;

    fault->offset = offset;
    va_start(arguments, format);
    vsnprintf(fault->words, sizeof(fault->words), format, arguments);
    va_end(arguments);
    return VALUE_BAD;
}

/* What no value may hold. ; and # are refused because a comment was meant, quotes because they
 * would stay in it. */
static int judge_text(const struct settings_key *key, const char *text, struct value_fault *fault)
{
    if (*text == '"' || *text == '\'')
        return fault_at(fault, 0, "values are written without quotes");
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == ';')
            return fault_at(fault, i, "a comment needs a blank before its ;%s",
                            key->kind == KIND_LIST ? ", and a list has commas" : "");
        if (text[i] == '#' && (i == 0 || isblank((unsigned char)text[i - 1])))
            return fault_at(fault, i, "a comment behind a value begins with ;");
    }
    return VALUE_GOOD;
}

static int parse_text(const struct settings_key *key, const char *text, char **member,
                      struct value_fault *fault)
{
    char *copy;

    if (!*text && *key->initial)
        return fault_at(fault, 0, "%s needs a value", key->name);
    if (strlen(text) > SETTINGS_VALUE_MAX)
        return fault_at(fault, SETTINGS_VALUE_MAX, "the value is too long: at most %d octets",
                        SETTINGS_VALUE_MAX);
    if (key->kind == KIND_PATH && *text && *text != '/')
        return fault_at(fault, 0, "%s needs an absolute path: one that begins with /", key->name);
    copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    free(*member);
    *member = copy;
    return VALUE_GOOD;
}

static void list_deinit(struct settings_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct settings_list){ NULL, 0 };
}

static int list_add(struct settings_list *list, const char *item, size_t size)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

    if (!items)
        return -ENOMEM;
    list->items = items;
    items[list->count] = strndup(item, size);
    if (!items[list->count])
        return -ENOMEM;
    list->count++;
    return 0;
}

/* Appends the items of "a, b". A comma at the end is allowed, for the sake of the next line. */
static int list_append(struct settings_list *list, const char *text, struct value_fault *fault)
{
    size_t offset = 0, size;

    while (text[offset += strspn(text + offset, " \t")]) {
        size = strcspn(text + offset, ", \t");
        if (size == 0)
            return fault_at(fault, offset, "an item of the list is missing before the comma");
        if (size > SETTINGS_VALUE_MAX)
            return fault_at(fault, offset + SETTINGS_VALUE_MAX,
                            "the item is too long: at most %d octets", SETTINGS_VALUE_MAX);
        if (list_add(list, text + offset, size) < 0)
            return -ENOMEM;
        offset += size;
        offset += strspn(text + offset, " \t");
        if (!text[offset])
            break;
        if (text[offset] != ',')
            return fault_at(fault, offset, "the items of a list are separated by commas");
        offset++;
    }
    return VALUE_GOOD;
}

static int parse_list(const char *text, struct settings_list *member, struct value_fault *fault)
{
    struct settings_list list = { NULL, 0 };
    int result = list_append(&list, text, fault);

    if (result != VALUE_GOOD) {
        list_deinit(&list);
        return result;
    }
    list_deinit(member);
    *member = list;
    return VALUE_GOOD;
}

/* "a, b or c" */
static void join_units(const struct unit *units, size_t count, char *into, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < count && used < room; i++)
        used += (size_t)snprintf(into + used, room - used, "%s%s",
                                 i == 0 ? "" : (i + 1 == count ? " or " : ", "), units[i].name);
}

static void join_choices(enum settings_kind kind, const char *last, char *into, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < CHOICES_MAX && choices[kind][i] && used < room; i++) {
        bool is_last = i + 1 == CHOICES_MAX || !choices[kind][i + 1];

        used += (size_t)snprintf(into + used, room - used, "%s%s",
                                 i == 0 ? "" : (is_last ? last : ", "), choices[kind][i]);
    }
}

static const struct unit *units_of(enum settings_kind kind, size_t *ret_count)
{
    if (kind == KIND_DURATION) {
        *ret_count = sizeof(durations) / sizeof(durations[0]);
        return durations;
    }
    *ret_count = kind == KIND_BYTES ? sizeof(sizes) / sizeof(sizes[0]) : 0;
    return sizes;
}

void settings_value_format(enum settings_kind kind, uint64_t number, char *into, size_t room)
{
    size_t count;
    const struct unit *units = units_of(kind, &count);

    if (count == 0) {
        snprintf(into, room, "%" PRIu64, number);
        return;
    }
    while (count > 1 && (number == 0 || number % units[count - 1].factor != 0))
        count--;
    snprintf(into, room, "%" PRIu64 "%s", number / units[count - 1].factor, units[count - 1].name);
}

/* The factor of the unit that `text` begins with behind its digits. */
static int parse_unit(enum settings_kind kind, const char *text, size_t digits,
                      uint64_t *ret_factor, struct value_fault *fault)
{
    size_t count, offset = digits + strspn(text + digits, " \t");
    const struct unit *units = units_of(kind, &count);
    char names[40];

    for (size_t i = 0; i < count; i++) {
        if (strcmp(units[i].name, text + offset) == 0) {
            *ret_factor = units[i].factor;
            return VALUE_GOOD;
        }
    }
    if (!text[offset] && kind == KIND_BYTES) { /* a plain size can only be octets */
        *ret_factor = 1;
        return VALUE_GOOD;
    }
    join_units(units, count, names, sizeof(names));
    if (!text[offset])
        return fault_at(fault, digits, "the unit is missing: %s", names);
    if (strpbrk(text + offset, "0123456789"))
        return fault_at(fault, offset, "one number has one unit: %s", names);
    return fault_at(fault, offset, "\"%s\" is no unit here: %s", text + offset, names);
}

static int judge_range(const struct settings_key *key, bool overflow, uint64_t number,
                       struct value_fault *fault)
{
    char minimum[32], maximum[32];

    if (!overflow && number >= key->minimum && number <= key->maximum)
        return VALUE_GOOD;
    settings_value_format(key->kind, key->minimum, minimum, sizeof(minimum));
    settings_value_format(key->kind, key->maximum, maximum, sizeof(maximum));
    return fault_at(fault, 0, "%s must be from %s to %s", key->name, minimum, maximum);
}

static int parse_number(const struct settings_key *key, const char *text, void *member,
                        struct value_fault *fault)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number = 0, factor = 1;
    bool overflow = false;
    int result;

    if (*text == '-' && isdigit((unsigned char)text[1]))
        return judge_range(key, true, 0, fault);
    if (digits == 0)
        return fault_at(fault, 0, "%s needs a whole number", key->name);
    if (text[digits] == '.' || text[digits] == ',')
        return fault_at(fault, digits, "%s needs a whole number%s", key->name,
                        key->kind == KIND_COUNT ? "" : ", perhaps of a smaller unit");
    for (size_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            overflow = true;
    if (key->kind == KIND_COUNT && text[digits])
        return fault_at(fault, digits, "%s is a plain number without a unit", key->name);
    if (key->kind != KIND_COUNT) {
        result = parse_unit(key->kind, text, digits, &factor, fault);
        if (result != VALUE_GOOD)
            return result;
        overflow |= __builtin_mul_overflow(number, factor, &number);
    }
    result = judge_range(key, overflow, number, fault);
    if (result != VALUE_GOOD)
        return result;
    if (key->kind == KIND_BYTES)
        *(uint64_t *)member = number;
    else
        *(uint32_t *)member = (uint32_t)number;
    return VALUE_GOOD;
}

/* What other programs write for no and yes. NULL: nobody does. */
static const char *other_boolean(const char *text)
{
    static const char *const words[][3] = { { "false", "off", "0" }, { "true", "on", "1" } };

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 3; j++)
            if (strcasecmp(words[i][j], text) == 0)
                return choices[KIND_BOOLEAN][i];
    return NULL;
}

static int fault_choice(const struct settings_key *key, const char *text, size_t count,
                        struct value_fault *fault)
{
    const char *nearest = diagnostics_nearest(text, choices[key->kind], count);
    char words[80];

    if (key->kind == KIND_BOOLEAN && !nearest)
        nearest = other_boolean(text);
    join_choices(key->kind, " or ", words, sizeof(words));
    if (nearest)
        return fault_at(fault, 0, "%s must be %s; did you mean \"%s\"?", key->name, words, nearest);
    return fault_at(fault, 0, "%s must be %s", key->name, words);
}

static int parse_choice(const struct settings_key *key, const char *text, void *member,
                        struct value_fault *fault)
{
    size_t count = 0;

    for (; count < CHOICES_MAX && choices[key->kind][count]; count++) {
        if (strcmp(choices[key->kind][count], text) == 0) {
            if (key->kind == KIND_BOOLEAN)
                *(bool *)member = count == 1;
            else
                *(unsigned *)member = (unsigned)count;
            return VALUE_GOOD;
        }
    }
    return fault_choice(key, text, count, fault);
}

int settings_value_parse(const struct settings_key *key, const char *text, void *member,
                         struct value_fault *ret_fault)
{
    int result = judge_text(key, text, ret_fault);

    if (result != VALUE_GOOD)
        return result;
    switch (key->kind) {
    case KIND_TEXT:
    case KIND_PATH:
        return parse_text(key, text, member, ret_fault);
    case KIND_LIST:
        return parse_list(text, member, ret_fault);
    case KIND_COUNT:
    case KIND_DURATION:
    case KIND_BYTES:
        return parse_number(key, text, member, ret_fault);
    case KIND_BOOLEAN:
    case KIND_PROTOCOL:
    case KIND_TLS_RULE:
    case KIND_REQUIRE_TLS:
    case KIND_EARLY_TALKER:
    case KIND_IDENTITY:
    case KIND_BARE_NEWLINE:
    case KIND_LOG_LEVEL:
    case KIND_TLS_VERSION:
    case KIND_BACKEND_TLS:
    case KIND_POLICY:
    case KIND_TLS_PROFILE:
        return parse_choice(key, text, member, ret_fault);
    }
    return VALUE_BAD;
}

int settings_value_append(const struct settings_key *key, const char *text, void *member,
                          struct value_fault *ret_fault)
{
    int result = judge_text(key, text, ret_fault);

    if (result != VALUE_GOOD)
        return result;
    if (key->kind != KIND_LIST)
        return fault_at(ret_fault, 0, "%s is no list: its value may not go on in an indented line",
                        key->name);
    return list_append(member, text, ret_fault);
}

/* A list that would make a long line goes on in indented ones: the reader takes no line over
 * INI_LINE_MAX. */
static void print_list(const struct settings_list *list, int column, FILE *out)
{
    for (size_t i = 0; i < list->count; i++) {
        int width = (int)strlen(list->items[i]) + 2;

        if (i > 0 && column + width > LIST_LINE_MAX) {
            fputs("\n   ", out);
            column = 3;
        }
        fprintf(out, " %s%s", list->items[i], i + 1 < list->count ? "," : "");
        column += width;
    }
}

static void print_number(const struct settings_key *key, const void *member, FILE *out)
{
    char number[32];

    settings_value_format(
        key->kind, key->kind == KIND_BYTES ? *(const uint64_t *)member : *(const uint32_t *)member,
        number, sizeof(number));
    fprintf(out, " %s", number);
}

void settings_value_print(const struct settings_key *key, const void *member, FILE *out)
{
    int column = fprintf(out, "%s =", key->name);

    switch (key->kind) {
    case KIND_TEXT:
    case KIND_PATH:
        fprintf(out, "%s%s", **(char *const *)member ? " " : "", *(char *const *)member);
        break;
    case KIND_LIST:
        print_list(member, column, out);
        break;
    case KIND_COUNT:
    case KIND_DURATION:
    case KIND_BYTES:
        print_number(key, member, out);
        break;
    case KIND_BOOLEAN:
        fprintf(out, " %s", choices[KIND_BOOLEAN][*(const bool *)member ? 1 : 0]);
        break;
    case KIND_PROTOCOL:
    case KIND_TLS_RULE:
    case KIND_REQUIRE_TLS:
    case KIND_EARLY_TALKER:
    case KIND_IDENTITY:
    case KIND_BARE_NEWLINE:
    case KIND_LOG_LEVEL:
    case KIND_TLS_VERSION:
    case KIND_BACKEND_TLS:
    case KIND_POLICY:
    case KIND_TLS_PROFILE:
        fprintf(out, " %s", choices[key->kind][*(const unsigned *)member]);
        break;
    }
    putc('\n', out);
}

static void print_range(const struct settings_key *key, FILE *out)
{
    char minimum[32], maximum[32];

    if (key->minimum == 0 && key->maximum == 0)
        return;
    settings_value_format(key->kind, key->minimum, minimum, sizeof(minimum));
    settings_value_format(key->kind, key->maximum, maximum, sizeof(maximum));
    fprintf(out, ", from %s to %s", minimum, maximum);
}

void settings_value_print_type(const struct settings_key *key, FILE *out)
{
    static const char *const words[] = {
        [KIND_TEXT] = "text",
        [KIND_PATH] = "an absolute path",
        [KIND_LIST] = "a list, separated by commas",
        [KIND_COUNT] = "a whole number",
        [KIND_DURATION] = "a duration",
        [KIND_BYTES] = "a size",
    };
    size_t count;
    const struct unit *units = units_of(key->kind, &count);
    char names[80];

    if (key->kind == KIND_BOOLEAN || settings_kind_is_choice(key->kind)) {
        join_choices(key->kind, " or ", names, sizeof(names));
        fputs(names, out);
        return;
    }
    fputs(words[key->kind], out);
    if (count > 0) {
        join_units(units, count, names, sizeof(names));
        fprintf(out, " in %s", names);
    }
    print_range(key, out);
}

const char *settings_value_default(const struct settings_key *key)
{
    if (!*key->initial)
        return "empty";
    if (key->kind == KIND_COUNT && strtoull(key->initial, NULL, 10) < key->minimum)
        return "none"; /* listen.port: the section has to say it */
    return key->initial;
}

int settings_value_initial(const struct settings_section_info *info, void *section)
{
    struct value_fault fault;

    for (size_t i = 0; i < info->key_count; i++) {
        const struct settings_key *key = &info->keys[i];
        struct settings_key free_of_range = *key;
        int result;

        free_of_range.minimum = 0; /* listen.port begins at 0: not given */
        result = settings_value_parse(&free_of_range, key->initial, settings_member(section, key),
                                      &fault);
        if (result < 0)
            return result;
        if (result != VALUE_GOOD)
            abort();
    }
    return 0;
}

const char *settings_value_choice(const struct settings_key *key, unsigned value)
{
    return choices[key->kind][value];
}

static bool list_equal(const struct settings_list *a, const struct settings_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

bool settings_value_equal(const struct settings_key *key, const void *a, const void *b)
{
    if (key->kind == KIND_TEXT || key->kind == KIND_PATH)
        return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    if (key->kind == KIND_LIST)
        return list_equal(a, b);
    if (key->kind == KIND_BYTES)
        return *(const uint64_t *)a == *(const uint64_t *)b;
    if (key->kind == KIND_BOOLEAN)
        return *(const bool *)a == *(const bool *)b;
    return *(const unsigned *)a == *(const unsigned *)b; /* also uint32_t */
}

void settings_value_deinit(const struct settings_section_info *info, void *section)
{
    for (size_t i = 0; i < info->key_count; i++) {
        void *member = settings_member(section, &info->keys[i]);

        if (info->keys[i].kind == KIND_TEXT || info->keys[i].kind == KIND_PATH)
            free(*(char **)member);
        else if (info->keys[i].kind == KIND_LIST)
            list_deinit(member);
    }
}
