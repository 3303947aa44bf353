/* Tables and figures for people. */
#ifndef GATEPOST_TOOLS_CTL_TABLE_H
#define GATEPOST_TOOLS_CTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* One column: what stands in it is made from a row, an object. */
struct ctl_column {
    const char *title;
    bool right;      /* numbers */
    const char *key; /* a text or number of the row; NULL: `write` */
    void (*write)(const json_t *row, FILE *out);
};

/* Prints the array as a table, a row for each object; nothing where there is none. 0 or -ENOMEM. */
int ctl_table_print(const json_t *rows, const struct ctl_column *columns, size_t column_count);

/* "45 s", "3 min", "2 h 05 min", "4 d 3 h". */
void ctl_put_age(json_int_t seconds, FILE *out);

/* "512 B", "3.4 KiB", "1.2 GiB". */
void ctl_put_octets(json_int_t octets, FILE *out);

/* A text that came from others: what would move the cursor or turn the direction of writing comes
 * out as \xHH or \u{HHHH}. */
void ctl_put_harmless(const char *text, FILE *out);

#endif
