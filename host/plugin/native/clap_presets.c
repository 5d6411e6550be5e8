#define _GNU_SOURCE
#include "clap_presets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path[4096]; /* empty where it would be longer */

void presets_lie_beside(const char *binary)
{
	const char *slash = strrchr(binary, '/');
	int folder = slash ? (int)(slash - binary) + 1 : 0;
	if (snprintf(path, sizeof path, "%.*spresets", folder, binary) >= (int)sizeof path)
		path[0] = 0;
}

static const clap_preset_provider_descriptor_t descriptor = {
	.clap_version = CLAP_VERSION_INIT,
	.id = "timbrel.presets",
	.name = "timbrel",
	.vendor = "timbrel",
};

typedef struct {
	clap_preset_provider_t provider;
	const clap_preset_indexer_t *indexer;
} presets;

static bool init(const clap_preset_provider_t *provider)
{
	const clap_preset_indexer_t *indexer = ((presets *)provider->provider_data)->indexer;
	clap_preset_location_t location = {CLAP_PRESET_IS_SHIPPED | CLAP_PRESET_IS_THE_USERS, "timbrel",
	                                   CLAP_PRESET_IN_PLUGIN, NULL};
	return indexer->declare_location(indexer, &location);
}

static void destroy(const clap_preset_provider_t *provider)
{
	free(provider->provider_data);
}

/* A line is `shipped` or `own`, the preset's name and its description, a tab between each. */
static bool announce_preset(char *line, const clap_preset_receiver_t *receiver)
{
	line[strcspn(line, "\r\n")] = 0;
	const char *kind = strsep(&line, "\t"), *name = strsep(&line, "\t");
	if (!name || !name[0])
		return true;
	if (!receiver->begin_preset(receiver, name, name))
		return false;
	receiver->add_plugin_id(receiver, &(clap_universal_plugin_id_t){"clap", "timbrel.instrument"});
	receiver->set_flags(receiver, strcmp(kind, "own") == 0 ? CLAP_PRESET_IS_THE_USERS : CLAP_PRESET_IS_SHIPPED);
	if (line && line[0])
		receiver->set_description(receiver, line);
	return true;
}

static bool get_metadata(
	const clap_preset_provider_t *provider, uint32_t kind, const char *location, const clap_preset_receiver_t *receiver)
{
	(void)provider, (void)location;
	if (kind != CLAP_PRESET_IN_PLUGIN)
		return false;
	FILE *file = path[0] ? fopen(path, "re") : NULL;
	if (!file) {
		receiver->on_error(receiver, errno, "no presets are listed beside the plugin; `timbrel plugin install` lists them");
		return false;
	}
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, file) >= 0 && announce_preset(line, receiver))
		continue;
	free(line);
	fclose(file);
	return true;
}

static const void *get_extension(const clap_preset_provider_t *provider, const char *id)
{
	(void)provider, (void)id;
	return NULL;
}

static uint32_t count(const clap_preset_factory_t *factory)
{
	(void)factory;
	return 1;
}

static const clap_preset_provider_descriptor_t *describe(const clap_preset_factory_t *factory, uint32_t index)
{
	(void)factory;
	return index ? NULL : &descriptor;
}

static const clap_preset_provider_t *create(
	const clap_preset_factory_t *factory, const clap_preset_indexer_t *indexer, const char *id)
{
	(void)factory;
	presets *made = strcmp(id, descriptor.id) == 0 ? calloc(1, sizeof *made) : NULL;
	if (!made)
		return NULL;
	made->indexer = indexer;
	made->provider = (clap_preset_provider_t){&descriptor, made, init, destroy, get_metadata, get_extension};
	return &made->provider;
}

const clap_preset_factory_t preset_factory = {count, describe, create};
