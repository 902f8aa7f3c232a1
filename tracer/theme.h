/* theme.h: colours, and how each state looks. */
#ifndef TRACER_THEME_H
#define TRACER_THEME_H

#include <SDL.h>

#include "model.h"

#define RGB(hex) ((SDL_Color) {(hex) >> 16 & 255, (hex) >> 8 & 255, (hex) & 255, 255})
#define BACK RGB(0x1E1E24)
#define PANEL RGB(0x26262E)
#define RAISED RGB(0x32323C)
#define EDGE RGB(0x45454F)
#define FAINT RGB(0x8A8F99)
#define DIM RGB(0xBFC3CC)
#define TEXT RGB(0xF4F4F6)
#define ACCENT RGB(0x56B4E9)
#define WARN RGB(0xF0E442)
#define ALARM RGB(0xFF7A45)
#define GOOD RGB(0x2BD4A4)
#define IN_SELECT RGB(0x4A5A78)                   /* what the loop itself does, in its lane */
#define AT_TIMERS RGB(0x5A4A66)
#define IN_CALLBACK RGB(0x55555F)

typedef enum Pattern { PAT_SOLID, PAT_DOTS, PAT_HATCH, PAT_LINES, PAT_CROSS, PAT_HOLLOW, PAT_SLASH } Pattern;
typedef enum Icon {
    ICON_PLAY, ICON_DOTS, ICON_HOURGLASS, ICON_CLOCK, ICON_PLUG, ICON_CHECK, ICON_SLASH, ICON_CROSS,
    ICON_PAUSE, ICON_DISC, ICON_BACK, ICON_ARROW_RIGHT, ICON_ARROW_LEFT, ICON_ARROW_DOWN, ICON_WARN, ICON_LOOP,
    ICON_COUNT
} Icon;

SDL_Color state_color(State s);
SDL_Color state_ink(State s);                     /* readable on state_color() */
Pattern state_pattern(State s);
Icon state_icon(State s);
SDL_Color mix(SDL_Color a, SDL_Color b, double part);             /* part 0 = a, 1 = b */

#endif
