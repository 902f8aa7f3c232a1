/* theme.c: the palette is Okabe and Ito's, so that it can be told apart without full colour vision too. */
#include "theme.h"

static const struct {
    unsigned color;
    Pattern pattern;
    Icon icon;
    bool dark_ink;
} looks[ST_COUNT] = {
    [ST_NONE] = {0x45454F, PAT_HOLLOW, ICON_DOTS, false},
    [ST_RUNNING] = {0x56B4E9, PAT_SOLID, ICON_PLAY, true},
    [ST_READY] = {0xF0E442, PAT_DOTS, ICON_DOTS, true},
    [ST_WAITING] = {0xE69F00, PAT_HATCH, ICON_HOURGLASS, true},
    [ST_SLEEPING] = {0xE39AC4, PAT_LINES, ICON_CLOCK, true},
    [ST_IO] = {0x00A878, PAT_CROSS, ICON_PLUG, true},
    [ST_DONE] = {0x6B7078, PAT_HOLLOW, ICON_CHECK, false},
    [ST_CANCELLED] = {0xF2F2F2, PAT_SLASH, ICON_SLASH, true},
    [ST_FAILED] = {0xD9480F, PAT_SOLID, ICON_CROSS, false},
};

SDL_Color state_color(State s) {
    return RGB(looks[s].color);
}

SDL_Color state_ink(State s) {
    return looks[s].dark_ink ? RGB(0x101014) : RGB(0xFFFFFF);
}

Pattern state_pattern(State s) {
    return looks[s].pattern;
}

Icon state_icon(State s) {
    return looks[s].icon;
}

SDL_Color mix(SDL_Color a, SDL_Color b, double t) {
    return (SDL_Color) {(Uint8) (a.r + (b.r - a.r) * t), (Uint8) (a.g + (b.g - a.g) * t),
                        (Uint8) (a.b + (b.b - a.b) * t), 255};
}
