/* pmap.c: a radix tree whose nodes count their references.
 *
 * Sixteen children per node, four bits of the key per level; the leaves' children are cells. Whoever wants to write
 * walks down from the root and replaces each node that somebody else also holds by a copy of its own ("path copying").
 */
#include "pmap.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

enum { BITS = 4, FAN = 1 << BITS };

typedef struct Node {
    unsigned refs;
    unsigned used;
    void *child[FAN];                             /* nodes, or cells in the lowest level (level 1) */
} Node;

static unsigned digit(uint64_t key, int level) {
    return key >> (BITS * (level - 1)) & (FAN - 1);
}

static int fits(uint64_t key, int height) {
    return height * BITS >= 64 || key >> (BITS * height) == 0;
}

static void cell_unref(const CellKind *kind, void *p) {
    if (--((Cell *) p)->refs)
        return;
    if (kind->drop)
        kind->drop(p);
    free(p);
}

static void node_unref(const CellKind *kind, Node *node, int level) {
    if (!node || --node->refs)
        return;
    for (int i = 0; i < FAN; i++) {
        if (!node->child[i])
            continue;
        if (level == 1)
            cell_unref(kind, node->child[i]);
        else
            node_unref(kind, node->child[i], level - 1);
    }
    free(node);
}

static Node *node_new(void) {
    Node *node = xalloc(sizeof *node);
    node->refs = 1;
    return node;
}

/* Makes *slot a node that only we hold, creating or copying as needed. */
static Node *node_own(Node **slot) {
    Node *node = *slot;
    if (!node)
        return *slot = node_new();
    if (node->refs == 1)
        return node;
    Node *own = xalloc(sizeof *own);
    *own = *node;
    own->refs = 1;
    for (int i = 0; i < FAN; i++)
        if (own->child[i])
            (*(unsigned *) own->child[i])++;      /* nodes and cells both begin with their count */
    node->refs--;
    return *slot = own;
}

static void *cell_own(const CellKind *kind, void **slot) {
    Cell *cell = *slot;
    if (cell && cell->refs == 1)
        return cell;
    Cell *own = xalloc(kind->size);
    if (cell) {
        memcpy(own, cell, kind->size);
        if (kind->keep)
            kind->keep(own);
        cell->refs--;
    }
    own->refs = 1;
    return *slot = own;
}

static void grow_to(Pmap *map, uint64_t key) {
    while (!fits(key, map->height) || !map->root) {
        if (map->root) {
            Node *top = node_new();
            top->child[0] = map->root;
            top->used = 1;
            map->root = top;
        } else {
            map->root = node_new();
        }
        map->height++;
    }
}

const void *pmap_get(const Pmap *map, uint64_t key) {
    if (!map->root || !fits(key, map->height))
        return NULL;
    void *p = map->root;
    for (int level = map->height; level > 0 && p; level--)
        p = ((Node *) p)->child[digit(key, level)];
    return p;
}

void *pmap_make(Pmap *map, uint64_t key) {
    grow_to(map, key);
    Node **slot = &map->root;
    for (int level = map->height;; level--) {
        Node *node = node_own(slot);
        void **next = &node->child[digit(key, level)];
        if (!*next)
            node->used++;
        if (level > 1) {
            slot = (Node **) next;
            continue;
        }
        if (!*next)
            map->count++;
        return cell_own(map->kind, next);
    }
}

void *pmap_edit(Pmap *map, uint64_t key) {
    return pmap_get(map, key) ? pmap_make(map, key) : NULL;
}

/* True if the node is empty afterwards, and therefore gone. */
static int remove_in(const CellKind *kind, Node **slot, int level, uint64_t key) {
    Node *node = node_own(slot);
    void **child = &node->child[digit(key, level)];
    if (level == 1) {
        cell_unref(kind, *child);
    } else if (!remove_in(kind, (Node **) child, level - 1, key)) {
        return 0;
    }
    *child = NULL;
    if (--node->used)
        return 0;
    free(node);
    *slot = NULL;
    return 1;
}

void pmap_remove(Pmap *map, uint64_t key) {
    if (!pmap_get(map, key))
        return;
    map->count--;
    if (remove_in(map->kind, &map->root, map->height, key))
        map->height = 0;
}

static const void *from_in(const Node *node, int level, uint64_t base, uint64_t *key) {
    unsigned first = *key > base ? digit(*key - base, level) : 0;
    for (unsigned i = first; i < FAN; i++) {
        if (!node->child[i])
            continue;
        uint64_t low = base + ((uint64_t) i << (BITS * (level - 1)));
        if (level == 1) {
            *key = low;
            return node->child[i];
        }
        const void *found = from_in(node->child[i], level - 1, low, key);
        if (found)
            return found;
    }
    return NULL;
}

const void *pmap_from(const Pmap *map, uint64_t *key) {
    return map->root && fits(*key, map->height) ? from_in(map->root, map->height, 0, key) : NULL;
}

Pmap pmap_copy(const Pmap *map) {
    if (map->root)
        map->root->refs++;
    return *map;
}

void pmap_free(Pmap *map) {
    node_unref(map->kind, map->root, map->height);
    *map = (Pmap) {.kind = map->kind};
}
