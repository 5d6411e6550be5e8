/* The presets that a CLAP host lists in its browser. */
#ifndef TIMBREL_CLAP_PRESETS_H
#define TIMBREL_CLAP_PRESETS_H

#include "clap_more.h"

/* Takes the path of the plugin's binary: the file `presets` beside it has a line for each preset. */
void presets_lie_beside(const char *binary);

extern const clap_preset_factory_t preset_factory;

#endif
