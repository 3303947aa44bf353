/* Numbers in human words, and a mean of the rate.
 *
 * The rate is the mean of samples of at least half a second, each forgotten by half in about four
 * seconds: steady enough to read, quick enough to show a link that has died. */
#include "tools/fetch/progress_words.h"

#define SAMPLE_MS 500
#define HALF_LIFE                                                                                  \
    8 /* samples' worth of weight: new = old + (sample - old) / (HALF_LIFE / samples) */

void progress_rate_add(struct progress_rate *rate, uint64_t octets, uint64_t now_ms)
{
    uint64_t passed_ms = rate->begun ? now_ms - rate->since_ms : 0;
    double sample, weight;

    if (!rate->begun) {
        rate->begun = true;
        rate->since_ms = now_ms;
    }
    rate->octets += octets;
    if (passed_ms < SAMPLE_MS)
        return;
    sample = 1000.0 * (double)rate->octets / (double)passed_ms;
    weight = (double)passed_ms / SAMPLE_MS / HALF_LIFE;
    if (!rate->known || weight > 1)
        weight = 1;
    rate->octets_per_s += (sample - rate->octets_per_s) * weight;
    rate->known = true;
    rate->since_ms = now_ms;
    rate->octets = 0;
}

/* Index of the unit that fits, and its size. */
static unsigned unit_of(uint64_t octets, double *ret_unit)
{
    unsigned unit = 0;

    *ret_unit = 1;
    while (unit < 4 && (double)octets >= 1024 * *ret_unit) {
        unit++;
        *ret_unit *= 1024;
    }
    return unit;
}

static const char *const units[] = { "octets", "KiB", "MiB", "GiB", "TiB" };

static void put_number(struct text *text, double value, bool whole)
{
    text_printf(text, "%.*f", whole || value >= 9.95 ? 0 : 1, value);
}

void progress_put_octets(struct text *text, uint64_t octets)
{
    double size;
    unsigned unit = unit_of(octets, &size);

    put_number(text, (double)octets / size, unit == 0);
    text_printf(text, " %s", octets == 1 ? "octet" : units[unit]);
}

/* "4.2 of 31 MiB": in the unit of the whole. */
static void put_part(struct text *text, uint64_t octets, uint64_t total)
{
    double size;
    unsigned unit = unit_of(total, &size);

    put_number(text, (double)octets / size, unit == 0);
    text_puts(text, " of ");
    progress_put_octets(text, total);
}

void progress_put_time(struct text *text, uint64_t seconds)
{
    if (seconds < 60)
        text_printf(text, "%llu s", (unsigned long long)seconds);
    else if (seconds < 3600)
        text_printf(text, "%llu min %llu s", (unsigned long long)seconds / 60,
                    (unsigned long long)seconds % 60);
    else if (seconds < 172800)
        text_printf(text, "%llu h %llu min", (unsigned long long)seconds / 3600,
                    (unsigned long long)seconds / 60 % 60);
    else
        text_printf(text, "%llu days", (unsigned long long)(seconds / 86400));
}

static void put_message(struct text *text, const struct progress_facts *facts)
{
    text_printf(text, "%s %llu", facts->verb, (unsigned long long)facts->message);
    if (facts->messages >= facts->message)
        text_printf(text, " of %llu", (unsigned long long)facts->messages);
}

static void put_octets_so_far(struct text *text, const struct progress_facts *facts)
{
    text_puts(text, ", ");
    if (facts->total >= facts->octets && facts->total > 0)
        put_part(text, facts->octets, facts->total);
    else
        progress_put_octets(text, facts->octets);
}

static void put_rate(struct text *text, const struct progress_facts *facts)
{
    if (facts->octets_per_s <= 0)
        return;
    text_puts(text, ", ");
    progress_put_octets(text, (uint64_t)facts->octets_per_s);
    text_puts(text, "/s");
}

static void put_time_left(struct text *text, const struct progress_facts *facts)
{
    if (facts->octets_per_s < 1 || facts->total <= facts->octets)
        return;
    text_puts(text, ", ");
    progress_put_time(text,
                      (uint64_t)((double)(facts->total - facts->octets) / facts->octets_per_s) + 1);
    text_puts(text, " left");
}

void progress_put(struct text *text, const struct progress_facts *facts, size_t columns)
{
    static void (*const parts[])(struct text *,
                                 const struct progress_facts *) = { put_message, put_octets_so_far,
                                                                    put_rate, put_time_left };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char room[128];
        struct text part = TEXT_OVER(room);

        parts[i](&part, facts);
        if (part.overflow || text->size + part.size > columns)
            return;
        text_put(text, text_span(&part));
    }
}
