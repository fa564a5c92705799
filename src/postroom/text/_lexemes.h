/* Lexemes and their places, in the order in which they were met, and the tsvector that they make.
 *
 * Strangers choose the words, so the table is hashed with a secret (SipHash-1-3).
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PLACES = 255,     /* of a lexeme; this and what follows as in vector.py */
    MAX_BYTES = 700000,   /* of a tsvector */
    MAX_LEXEMES = 40000,
};

typedef struct {
    uint32_t at, length;   /* its bytes in `letters` */
    uint32_t hash;
    uint32_t count;        /* places */
    uint32_t first, last;  /* in `places`, plus one; 0: none */
} Lexeme;

typedef struct {
    uint32_t next;  /* in `places`, plus one; 0: none */
    uint16_t place;
} Place;

typedef struct {
    char *items;
    size_t count, room, size;
} Row;

typedef struct {
    Row letters, lexemes, places;
    uint32_t *slots;  /* which lexeme, plus one; 0: none */
    size_t last_slot;
} Table;

static uint64_t secret[2];

static void *extend(Row *row, size_t more)
{
    if (row->count + more > row->room) {
        size_t room = row->room * 2 + more;
        char *items = room > UINT32_MAX / 2 ? NULL : realloc(row->items, room * row->size);
        if (items == NULL)
            return PyErr_NoMemory();
        row->items = items;
        row->room = room;
    }
    void *added = row->items + row->count * row->size;
    row->count += more;
    return added;
}

static int begin_row(Row *row, size_t size, size_t room)
{
    *row = (Row){malloc(size * room), 0, room, size};
    if (row->items == NULL)
        PyErr_NoMemory();
    return row->items ? 0 : -1;
}

static void end_table(Table *table)
{
    free(table->letters.items);
    free(table->lexemes.items);
    free(table->places.items);
    free(table->slots);
}

static int begin_table(Table *table)
{
    table->last_slot = 2047;
    table->slots = calloc(table->last_slot + 1, sizeof *table->slots);
    if (table->slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (begin_row(&table->letters, 1, 8192) || begin_row(&table->lexemes, sizeof(Lexeme), 1024))
        return -1;
    return begin_row(&table->places, sizeof(Place), 2048);
}

#define ROTATE(x, by) ((x) << (by) | (x) >> (64 - (by)))
#define SIP_ROUND                                                               \
    (a += b, b = ROTATE(b, 13) ^ a, a = ROTATE(a, 32), c += d, d = ROTATE(d, 16) ^ c, \
     a += d, d = ROTATE(d, 21) ^ a, c += b, b = ROTATE(b, 17) ^ c, c = ROTATE(c, 32))

static uint32_t hash_of(const char *letters, size_t length)
{
    uint64_t a = secret[0] ^ 0x736f6d6570736575, b = secret[1] ^ 0x646f72616e646f6d;
    uint64_t c = secret[0] ^ 0x6c7967656e657261, d = secret[1] ^ 0x7465646279746573;
    uint64_t word, last = (uint64_t)length << 56;
    for (; length >= 8; letters += 8, length -= 8) {
        memcpy(&word, letters, 8);
        d ^= word;
        SIP_ROUND;
        a ^= word;
    }
    word = 0;
    memcpy(&word, letters, length);
    last |= word;
    d ^= last;
    SIP_ROUND;
    a ^= last;
    c ^= 0xff;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return (uint32_t)(a ^ b ^ c ^ d);
}

static int widen(Table *table)
{
    size_t mask = table->last_slot * 2 + 1;
    uint32_t *slots = calloc(mask + 1, sizeof *slots);
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const Lexeme *lexemes = (Lexeme *)table->lexemes.items;
    for (size_t number = 0; number < table->lexemes.count; number++) {
        size_t slot = lexemes[number].hash & mask;
        while (slots[slot])
            slot = (slot + 1) & mask;
        slots[slot] = (uint32_t)number + 1;
    }
    free(table->slots);
    table->slots = slots;
    table->last_slot = mask;
    return 0;
}

static Lexeme *lexeme_of(Table *table, const char *letters, size_t length)
{
    if (table->lexemes.count * 2 > table->last_slot && widen(table))
        return NULL;
    uint32_t hash = hash_of(letters, length);
    size_t slot = hash & table->last_slot;
    for (; table->slots[slot]; slot = (slot + 1) & table->last_slot) {
        Lexeme *lexeme = (Lexeme *)table->lexemes.items + table->slots[slot] - 1;
        if (lexeme->hash == hash && lexeme->length == length
            && memcmp(table->letters.items + lexeme->at, letters, length) == 0)
            return lexeme;
    }
    size_t at = table->letters.count;
    char *kept = extend(&table->letters, length);
    Lexeme *lexeme = kept ? extend(&table->lexemes, 1) : NULL;
    if (lexeme == NULL)
        return NULL;
    memcpy(kept, letters, length);
    *lexeme = (Lexeme){(uint32_t)at, (uint32_t)length, hash, 0, 0, 0};
    table->slots[slot] = (uint32_t)table->lexemes.count;
    return lexeme;
}

/* A lexeme never stands twice at one place. */
static int add(Table *table, const char *letters, size_t length, long place)
{
    Lexeme *lexeme = lexeme_of(table, letters, length);
    if (lexeme == NULL)
        return -1;
    if (lexeme->last && ((Place *)table->places.items)[lexeme->last - 1].place == place)
        return 0;
    Place *added = extend(&table->places, 1);
    if (added == NULL)
        return -1;
    *added = (Place){0, (uint16_t)place};
    uint32_t number = (uint32_t)table->places.count;
    if (lexeme->last)
        ((Place *)table->places.items)[lexeme->last - 1].next = number;
    else
        lexeme->first = number;
    lexeme->last = number;
    lexeme->count++;
    return 0;
}

static char *put16(char *to, uint32_t number)
{
    *to++ = (char)(number >> 8);
    *to++ = (char)number;
    return to;
}

/* PostgreSQL's binary form, of as many lexemes as a tsvector holds. */
static PyObject *encoded(const Table *table)
{
    const Lexeme *lexemes = (Lexeme *)table->lexemes.items;
    const Place *places = (Place *)table->places.items;
    size_t size = 0, kept = 0, bytes = 4;
    for (; kept < table->lexemes.count && kept < MAX_LEXEMES; kept++) {
        uint32_t count = lexemes[kept].count < MAX_PLACES ? lexemes[kept].count : MAX_PLACES;
        size += lexemes[kept].length + 8 + 2 * (size_t)count;
        if (size > MAX_BYTES)
            break;
        bytes += lexemes[kept].length + 3 + 2 * (size_t)count;
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (made == NULL)
        return NULL;
    char *to = put16(put16(PyBytes_AS_STRING(made), (uint32_t)kept >> 16), (uint32_t)kept);
    for (size_t number = 0; number < kept; number++) {
        const Lexeme *lexeme = lexemes + number;
        uint32_t count = lexeme->count < MAX_PLACES ? lexeme->count : MAX_PLACES, next = lexeme->first;
        memcpy(to, table->letters.items + lexeme->at, lexeme->length);
        to += lexeme->length;
        *to++ = 0;
        to = put16(to, count);
        for (; count; count--, next = places[next - 1].next)
            to = put16(to, places[next - 1].place);
    }
    return Py_BuildValue("NO", made, kept < table->lexemes.count ? Py_True : Py_False);
}
