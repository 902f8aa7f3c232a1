/* picture.c: see picture.h. */
#include "picture.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *pixels(const Canvas *c) {
    SDL_Surface *s = SDL_ConvertSurfaceFormat(c->surface, SDL_PIXELFORMAT_RGB24, 0);
    unsigned char *out = xalloc((size_t) c->w * c->h * 3);
    for (int y = 0; y < c->h; y++)
        memcpy(out + (size_t) y * c->w * 3, (unsigned char *) s->pixels + (size_t) y * s->pitch, (size_t) c->w * 3);
    SDL_FreeSurface(s);
    return out;
}

bool picture_write(const Canvas *c, const char *path, char **error) {
    unsigned char *rgb = pixels(c);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = c->w, .height = c->h, .format = PNG_FORMAT_RGB};
    errno = 0;
    bool good = png_image_write_to_file(&image, path, 0, rgb, 0, NULL);
    if (!good)
        *error = xformat("The picture %s cannot be written: %s.", path, errno ? strerror(errno) : image.message);
    free(rgb);
    return good;
}
