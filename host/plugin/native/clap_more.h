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

static const char CLAP_PRESET_DISCOVERY_FACTORY_ID[] = "clap.preset-discovery-factory/2";
static const char CLAP_PRESET_DISCOVERY_FACTORY_ID_DRAFT[] = "clap.preset-discovery-factory/draft-2";
enum { CLAP_PRESET_IS_SHIPPED = 1, CLAP_PRESET_IS_THE_USERS = 2 };

typedef struct {
	const char *abi; /* "clap" */
	const char *id;
} clap_universal_plugin_id_t;

/* What a host hears of presets, one after another; what is told of a preset follows its `begin_preset`. */
typedef struct clap_preset_receiver {
	void *receiver_data;
	void (*on_error)(const struct clap_preset_receiver *, int32_t os_error, const char *message);
	bool (*begin_preset)(const struct clap_preset_receiver *, const char *name, const char *load_key); /* false: enough */
	void (*add_plugin_id)(const struct clap_preset_receiver *, const clap_universal_plugin_id_t *plugin);
	void (*set_soundpack_id)(const struct clap_preset_receiver *, const char *soundpack);
	void (*set_flags)(const struct clap_preset_receiver *, uint32_t flags);
	void (*add_creator)(const struct clap_preset_receiver *, const char *creator);
	void (*set_description)(const struct clap_preset_receiver *, const char *description);
	void (*set_timestamps)(const struct clap_preset_receiver *, uint64_t created, uint64_t modified);
	void (*add_feature)(const struct clap_preset_receiver *, const char *feature);
	void (*add_extra_info)(const struct clap_preset_receiver *, const char *key, const char *value);
} clap_preset_receiver_t;

typedef struct {
	uint32_t flags;
	const char *name;
	uint32_t kind;
	const char *location; /* null for those in the plugin */
} clap_preset_location_t;

/* The host's side. */
typedef struct clap_preset_indexer {
	clap_version_t clap_version;
	const char *name, *vendor, *url, *version;
	void *indexer_data;
	bool (*declare_filetype)(const struct clap_preset_indexer *, const void *filetype);
	bool (*declare_location)(const struct clap_preset_indexer *, const clap_preset_location_t *location);
	bool (*declare_soundpack)(const struct clap_preset_indexer *, const void *soundpack);
	const void *(*get_extension)(const struct clap_preset_indexer *, const char *id);
} clap_preset_indexer_t;

typedef struct {
	clap_version_t clap_version;
	const char *id, *name, *vendor;
} clap_preset_provider_descriptor_t;

typedef struct clap_preset_provider {
	const clap_preset_provider_descriptor_t *desc;
	void *provider_data;
	bool (*init)(const struct clap_preset_provider *); /* tells the indexer where presets are */
	void (*destroy)(const struct clap_preset_provider *);
	bool (*get_metadata)(
		const struct clap_preset_provider *, uint32_t kind, const char *location, const clap_preset_receiver_t *);
	const void *(*get_extension)(const struct clap_preset_provider *, const char *id);
} clap_preset_provider_t;

typedef struct clap_preset_factory {
	uint32_t (*count)(const struct clap_preset_factory *);
	const clap_preset_provider_descriptor_t *(*get_descriptor)(const struct clap_preset_factory *, uint32_t index);
	const clap_preset_provider_t *(*create)(
		const struct clap_preset_factory *, const clap_preset_indexer_t *, const char *provider_id);
} clap_preset_factory_t;

#endif
