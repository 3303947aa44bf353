"""Maps for routes: cdb files as `cdb -c` of tinycdb makes them (https://cr.yp.to/cdb/cdb.txt)."""
import os
import pathlib
import struct


def octets(entries):
    """The file that maps each key of a dictionary (or each of a list of pairs) to its value."""
    records, tables = bytearray(2048), [[] for _ in range(256)]
    for key, value in entries.items() if isinstance(entries, dict) else entries:
        key, value = key.encode(), value.encode()
        hashed = 5381
        for octet in key:
            hashed = (hashed * 33 ^ octet) & 0xffffffff
        tables[hashed % 256].append((hashed, len(records)))
        records += struct.pack("<II", len(key), len(value)) + key + value
    header = bytearray()
    for table in tables:
        places = [(0, 0)] * (2 * len(table))
        header += struct.pack("<II", len(records), len(places))
        for hashed, position in table:
            at = hashed // 256 % len(places)
            while places[at][1]:
                at = (at + 1) % len(places)
            places[at] = hashed, position
        records += b"".join(struct.pack("<II", *place) for place in places)
    return bytes(header) + bytes(records[2048:])


def replace(path, entries):
    """As an operator does: written beside it, then renamed."""
    path = pathlib.Path(path)
    beside = path.with_suffix(".new")
    beside.write_bytes(octets(entries))
    os.rename(beside, path)
