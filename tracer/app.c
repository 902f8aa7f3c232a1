/* app.c: see app.h. The window shows a surface that is drawn in software, exactly as a picture without a window is. */
#include "app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

enum { IDLE = 10 };                               /* milliseconds between looks, when there is nothing to do */

static bool resize(App *app) {
    SDL_Surface *surface = SDL_GetWindowSurface(app->window);
    app->dirty = true;
    return surface && canvas_size(app->canvas, surface->w, surface->h, surface);
}

/* Window managers, and the tests, see where we are. */
static void set_title(App *app) {
    char label[32], title[256];
    const Session *s = app->session;
    const char *name = base_name(s->history.log.program);
    snprintf(title, sizeof title, "tracer: %s%sstep %zu of %zu, %s%s", name, *name ? ", " : "", s->now.k,
             session_count(s), session_label(s, label), session_alive(s) ? "" : ", at rest");
    if (strcmp(title, SDL_GetWindowTitle(app->window)))
        SDL_SetWindowTitle(app->window, title);
}

static void draw(App *app) {
    view_draw(&app->view);
    SDL_UpdateWindowSurface(app->window);
    set_title(app);
    app->dirty = false;
}

void app_picture(App *app) {
    char *error = NULL, *path = NULL;
    FILE *there;
    do {
        free(path);
        path = xformat("%s%stracer-%03d.png", app->folder ? app->folder : "", app->folder ? "/" : "", ++app->pictures);
        if ((there = fopen(path, "rb")))
            fclose(there);
    } while (there);
    buf_clear(&app->session->note);
    draw(app);                                    /* without the last message, so that equal states give equal pictures */
    picture_write(app->canvas, path, &error);
    buf_fmt(&app->session->note, "%s%s", error ? "" : "Picture written: ", error ? error : path);
    free(error);
    free(path);
}

static void handle(App *app, const SDL_Event *e) {
    if (e->type == SDL_QUIT) {
        app->quit = true;
    } else if (e->type == SDL_WINDOWEVENT) {
        if (e->window.event == SDL_WINDOWEVENT_SIZE_CHANGED)
            resize(app);
        app->dirty = app->dirty || e->window.event == SDL_WINDOWEVENT_EXPOSED;
    } else if (e->type == SDL_KEYDOWN) {
        app->dirty = true;
        app_key(app, e->key.keysym);
    } else if (e->type == SDL_TEXTINPUT) {
        app->dirty = true;
        app_text(app, e->text.text);
    } else {
        app_mouse(app, e);
    }
}

/* Asks for events rather than waiting for them: SDL_WaitEvent() wakes itself through a second connection to the X
 * server, and a wake-up that arrives after the window has been closed ends the program with an X error. */
int app_run(App *app, int w, int h) {
    app->window = SDL_CreateWindow("tracer", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, w, h, SDL_WINDOW_RESIZABLE);
    if (!app->window || !resize(app)) {
        fprintf(stderr, "tracer: no window can be opened: %s\n", SDL_GetError());
        return 2;
    }
    SDL_SetWindowMinimumSize(app->window, 800, 560);
    SDL_StartTextInput();
    while (!app->quit) {
        int wait;
        SDL_Event e;
        if (session_tick(app->session, now_seconds(), &wait))
            app->dirty = true;
        if (app->dirty)
            draw(app);
        bool idle = true;
        for (; SDL_PollEvent(&e); idle = false)
            handle(app, &e);
        if (idle)
            SDL_Delay(wait < IDLE ? wait : IDLE);
    }
    return 0;
}
