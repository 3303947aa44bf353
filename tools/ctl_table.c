/* Tables by libsmartcols. Fails for want of memory only. */
#include "tools/ctl_table.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/utf8.h"

void ctl_put_age(json_int_t seconds, FILE *out)
{
    long long s = seconds;

    if (s < 60)
        fprintf(out, "%lld s", s);
    else if (s < 3600)
        fprintf(out, "%lld min", s / 60);
    else if (s < 86400)
        fprintf(out, "%lld h %02lld min", s / 3600, s / 60 % 60);
    else
        fprintf(out, "%lld d %lld h", s / 86400, s / 3600 % 24);
}

void ctl_put_octets(json_int_t octets, FILE *out)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)octets;
    size_t unit = 0;

    for (; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    fprintf(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

/* Controls that begin with U+00C2, and the marks of direction and of lines in U+2000 to U+206F. */
static bool is_harmful(const unsigned char *octets, size_t size)
{
    unsigned last = octets[size - 1];

    if (size == 1)
        return octets[0] < 0x20 || octets[0] == 0x7f;
    if (size == 2)
        return octets[0] == 0xc2 && last < 0xa0;
    if (size == 4 || octets[0] != 0xe2)
        return false;
    if (octets[1] == 0x80)
        return last == 0x8e || last == 0x8f || (last >= 0xa8 && last <= 0xae);
    return octets[1] == 0x81 && last >= 0xa6 && last <= 0xa9;
}

void ctl_put_harmless(const char *text, FILE *out)
{
    size_t left = strlen(text), size;

    for (; left > 0; text += size, left -= size) {
        size = utf8_size(text, left);
        if (size > 0 && !is_harmful((const unsigned char *)text, size)) {
            fwrite(text, 1, size, out);
            continue;
        }
        size = size > 0 ? size : 1;
        for (size_t i = 0; i < size; i++)
            fprintf(out, "\\x%02x", (unsigned char)text[i]);
    }
}

static void put_value(const json_t *value, FILE *out)
{
    if (json_is_string(value))
        ctl_put_harmless(json_string_value(value), out);
    else if (json_is_integer(value))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        putc('-', out);
}

/* The text of a cell, for free(). NULL: no memory. */
static char *cell_text(const struct ctl_column *column, const json_t *row)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    if (column->key)
        put_value(json_object_get(row, column->key), out);
    else
        column->write(row, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static int add_row(struct libscols_table *table, const struct ctl_column *columns, size_t count,
                   const json_t *row)
{
    struct libscols_line *line = scols_table_new_line(table, NULL);

    if (!line)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        char *text = cell_text(&columns[i], row);

        if (!text)
            return -ENOMEM;
        if (scols_line_refer_data(line, i, text) < 0) {
            free(text);
            return -ENOMEM;
        }
    }
    return 0;
}

static int fill(struct libscols_table *table, const json_t *rows, const struct ctl_column *columns,
                size_t count)
{
    const json_t *row;
    size_t i;

    for (i = 0; i < count; i++)
        if (!scols_table_new_column(table, columns[i].title, 0,
                                    columns[i].right ? SCOLS_FL_RIGHT : 0))
            return -ENOMEM;
    json_array_foreach(rows, i, row)
    {
        if (add_row(table, columns, count, row) < 0)
            return -ENOMEM;
    }
    return scols_print_table(table) < 0 ? -ENOMEM : 0;
}

int ctl_table_print(const json_t *rows, const struct ctl_column *columns, size_t column_count)
{
    struct libscols_table *table;
    int r;

    if (json_array_size(rows) == 0)
        return 0;
    table = scols_new_table();
    if (!table)
        return -ENOMEM;
    r = fill(table, rows, columns, column_count);
    scols_unref_table(table);
    return r;
}
