-- Exports a session of Ardour: lua FOLDER NAME RATE OUT-FOLDER OUT-NAME PRESET, PRESET being the id of an export preset.
local backend = AudioEngine:set_backend("None (Dummy)", "", "")
backend:set_sample_rate(tonumber(arg[3]))
backend:set_buffer_size(1024)
local session = load_session(arg[1], arg[2])
assert(session, "no session")
-- A thread of Ardour's reads the tracks' MIDI once the engine runs. An export that does not wait for it, as that of
-- ardour7-export, lacks tracks: of four with Ardour's own synthesizer the first, each time.
ARDOUR.LuaAPI.usleep(3000000)
local export = session:simple_export()
export:set_folder(arg[4])
export:set_name(arg[5])
assert(export:set_preset(arg[6]) and export:check_outputs() and export:run_export(), "no export")
close_session()
quit()
