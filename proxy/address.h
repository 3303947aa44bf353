/* The addresses behind the proxy, as they are connected to, and their slots.
 *
 * Every item of every [backend] `address` has ADDRESS_PER_ITEM slots in the order of the settings:
 * a socket's path uses the first of them, a host name one for each address that it has. The
 * supervisor resolves names and tells the workers (CHILD_ADDRESSES); workers never do. */
#ifndef GATEPOST_PROXY_ADDRESS_H
#define GATEPOST_PROXY_ADDRESS_H

#include <netinet/in.h>
#include <sys/un.h>

#include "conf/settings.h"
#include "proxy/base/child.h"

#define ADDRESS_PER_ITEM  4   /* addresses of one name that are used; guessed */
#define ADDRESS_SLOTS_MAX 256 /* of a whole configuration: 64 items (the check says so) */
#define ADDRESS_TEXT_MAX  128

struct address {
    union {
        struct sockaddr any; /* sa_family 0: the slot is empty */
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } to;
};

/* An IP address as it travels in CHILD_ADDRESSES; family 0: none. */
struct address_ip {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } to;
};

/* The first slot of a backend (one of settings->backends), and how many it has. */
size_t address_first_slot(const struct settings *settings, const struct settings_backend *backend);
size_t address_slot_count(const struct settings_backend *backend);

/* Fills the slot with what needs no name server: unix:/path, embedded (its socket below
 * runtime_dir), 192.0.2.1:25, [2001:db8::1]:25; `number` counts the slots of this backend. An empty
 * slot for a host name. 0 or -ENAMETOOLONG. */
int address_of_slot(const struct settings *settings, const struct settings_backend *backend,
                    size_t number, struct address *ret_address);

/* Splits host:port or [v6]:port (its form was checked). False: the item is no such. */
bool address_host_port(const char *item, char host[256], char port[8]);

/* "unix:/path", "192.0.2.1:25", "[2001:db8::1]:25". */
void address_text(const struct address *address, char into[ADDRESS_TEXT_MAX]);

bool address_equal(const struct address *a, const struct address *b);

/* One entry of CHILD_ADDRESSES: what the slot (of the whole configuration) stands for now. */
struct child_address {
    uint32_t slot;
    struct address_ip ip;
};

#define ADDRESS_MESSAGE_MOST ((CHILD_MESSAGE_MAX - 8) / sizeof(struct child_address))

/* The message; only `count` items are sent. */
struct child_addresses {
    uint32_t type, count;
    struct child_address items[ADDRESS_MESSAGE_MOST];
};

struct address address_of_ip(const struct address_ip *ip);

/* The answers for one name, put into its slots: an address that is still among them keeps its slot,
 * the others leave, new ones take free slots in the order of the answers; what finds no slot is
 * left out. Returns a bit for each slot that has changed. */
unsigned address_assign(const struct address_ip *answers, size_t count,
                        struct address_ip slots[ADDRESS_PER_ITEM]);

#endif
