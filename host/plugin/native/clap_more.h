/* Extensions of CLAP 1.2 that dpf-source's headers leave out: their published names and binary interface. */
#ifndef TIMBREL_CLAP_MORE_H
#define TIMBREL_CLAP_MORE_H

#include <clap/plugin.h>

static const char CLAP_EXT_RENDER[] = "clap.render";
enum { CLAP_RENDER_REALTIME, CLAP_RENDER_OFFLINE };
typedef struct {
	bool (*has_hard_realtime_requirement)(const clap_plugin_t *plugin); /* main thread */
	bool (*set)(const clap_plugin_t *plugin, int32_t mode);             /* main thread */
} clap_plugin_render_t;

static const char CLAP_EXT_TAIL[] = "clap.tail";
typedef struct {
	uint32_t (*get)(const clap_plugin_t *plugin); /* samples; INT32_MAX and more: without end; main or audio thread */
} clap_plugin_tail_t;

static const char CLAP_EXT_LOG[] = "clap.log";
enum { CLAP_LOG_DEBUG, CLAP_LOG_INFO, CLAP_LOG_WARNING, CLAP_LOG_ERROR };
typedef struct {
	void (*log)(const clap_host_t *host, int32_t severity, const char *message); /* any thread */
} clap_host_log_t;

static const char CLAP_EXT_PRESET_LOAD[] = "clap.preset-load/2";
static const char CLAP_EXT_PRESET_LOAD_DRAFT[] = "clap.preset-load.draft/2"; /* the same, before it was settled */
enum { CLAP_PRESET_IN_FILE, CLAP_PRESET_IN_PLUGIN };
typedef struct {
	/* A file's path; or null, for a preset that comes with the plugin, and `load_key` says which. Main thread. */
	bool (*from_location)(const clap_plugin_t *plugin, uint32_t kind, const char *location, const char *load_key);
} clap_plugin_preset_load_t;

#endif
