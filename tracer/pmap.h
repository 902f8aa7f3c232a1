/* pmap.h: a persistent map from numbers to cells.
 *
 * Copying a map costs one increment: the copies share everything, and a change in one of them first copies what it is
 * about to touch. That is what makes a snapshot of the model cheap, however many tasks it holds.
 *
 * A cell is any struct that begins with `Cell cell;`. Its kind tells the map how large it is and what else has to be
 * kept or let go when it is copied or freed.
 */
#ifndef TRACER_PMAP_H
#define TRACER_PMAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct Cell {
    unsigned refs;
} Cell;

typedef struct CellKind {
    size_t size;
    void (*keep)(void *cell);                     /* after a copy was made; may be NULL */
    void (*drop)(void *cell);                     /* before it is freed; may be NULL */
} CellKind;

typedef struct Pmap {
    const CellKind *kind;
    struct Node *root;
    int height;                                   /* levels of nodes; 0 = empty */
    size_t count;
} Pmap;

const void *pmap_get(const Pmap *map, uint64_t key);              /* NULL if absent */
void *pmap_edit(Pmap *map, uint64_t key);                         /* for writing: this map's own copy; NULL if absent */
void *pmap_make(Pmap *map, uint64_t key);                         /* the same, zeroed and new if absent */
void pmap_remove(Pmap *map, uint64_t key);
const void *pmap_from(const Pmap *map, uint64_t *key);            /* the first at or after *key, which is updated */
Pmap pmap_copy(const Pmap *map);
void pmap_free(Pmap *map);

/* for (uint64_t k = 0; (cell = pmap_from(&map, &k)); k++) ... visits all in ascending order of keys. */

#endif
