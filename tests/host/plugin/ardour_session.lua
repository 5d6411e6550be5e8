-- Makes a session of Ardour: lua FOLDER NAME RATE FORMAT PLUGIN PRESET…, a track with an instance of timbrel for each
-- preset. FORMAT is LV2 or VST3, in which the plugin has that name.
local function wait(seconds)
	if arg[4] == "VST3" then ARDOUR.LuaAPI.usleep(seconds * 1000000) end -- LV2 has all of this in its files
end
local rate = tonumber(arg[3])
local backend = AudioEngine:set_backend("None (Dummy)", "", "")
backend:set_sample_rate(rate)
backend:set_buffer_size(1024)
local session = create_session(arg[1], arg[2], rate)
assert(session, "no session")
local outputs = {}
for i = 6, #arg do
	local plugin = ARDOUR.LuaAPI.new_plugin_info(arg[5], ARDOUR.PluginType[arg[4]])
	assert(not plugin:isnil(), "Ardour does not find the plugin")
	local midi, stereo = ARDOUR.DataType("midi"), ARDOUR.DataType("audio")
	local tracks = session:new_midi_track(ARDOUR.ChanCount(midi, 1), ARDOUR.ChanCount(stereo, 2), true, plugin, nil, nil,
		1, arg[i], ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)
	local instance = tracks:front():to_track():nth_plugin(0):to_insert():plugin(0)
	wait(4) -- for the names of its presets, which Ardour asks for once
	local preset = instance:preset_by_label(arg[i])
	assert(preset and instance:load_preset(preset), "no preset " .. arg[i])
	table.insert(outputs, tracks:front():output())
end
-- Ardour connects tracks to the master bus in a thread of its own: one that is saved before that is silent.
for _, output in ipairs(outputs) do
	local waits = 3000
	while not (output:audio(0):connected() and output:audio(1):connected()) do
		assert(waits > 0, "a track stays without a connection")
		waits = waits - 1
		ARDOUR.LuaAPI.usleep(10000)
	end
end
wait(2) -- for what the presets' knobs stand at, which Ardour saves
session:save_state("")
close_session()
quit()
