/* picture.h: what is on a canvas, as a PNG file. */
#ifndef TRACER_PICTURE_H
#define TRACER_PICTURE_H

#include "canvas.h"

bool picture_write(const Canvas *c, const char *path, char **error);

#endif
