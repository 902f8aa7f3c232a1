/* app.h: the window. */
#ifndef TRACER_APP_H
#define TRACER_APP_H

#include "view.h"

typedef struct App {
    SDL_Window *window;
    View view;
    Canvas *canvas;
    Session *session;
    bool quit, dirty, dragging, full;
    int pictures;
    const char *folder;                           /* for F12 */
} App;

/* Runs until the user quits; returns the exit status. */
int app_run(App *app, int w, int h);
void app_key(App *app, SDL_Keysym key);           /* keys.c */
void app_text(App *app, const char *text);
void app_mouse(App *app, const SDL_Event *e);     /* mouse.c */
void app_picture(App *app);

#endif
