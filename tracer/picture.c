/* picture.c: see picture.h. */
#include "picture.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <string.h>

/* libpng, given a name, would delete what it cannot write to, were it a device. */
static bool write_to(FILE *out, png_image *image, const SDL_Surface *rgb) {
    bool good = png_image_write_to_stdio(image, out, 0, rgb->pixels, rgb->pitch, NULL);
    return fclose(out) == 0 && good;
}

bool picture_write(const Canvas *c, const char *path, char **error) {
    SDL_Surface *rgb = SDL_ConvertSurfaceFormat(c->surface, SDL_PIXELFORMAT_RGB24, 0);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = rgb->w, .height = rgb->h, .format = PNG_FORMAT_RGB};
    errno = 0;
    FILE *out = fopen(path, "wb");
    bool good = out && write_to(out, &image, rgb);
    if (!good)
        *error = xformat("The picture %s cannot be written: %s.", path, errno ? strerror(errno) : image.message);
    SDL_FreeSurface(rgb);
    return good;
}
