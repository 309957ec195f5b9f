-- An echo server on luaevent and LuaSocket. It prints "port <n>" and serves until it is
-- killed. LuaSocket reads until nothing is left, so that one receive is two recv(2).
local core = require "luaevent.core"
local socket = require "socket"

local SIZE = 16384
local EV_READ, EV_WRITE, LEAVE = core.EV_READ, core.EV_WRITE, core.LEAVE

local base = core.new()
local listener = assert(socket.bind("127.0.0.1", 0, 1024))
listener:settimeout(0)

-- An event is cancelled when its handle is collected.
local events = {}

local function close(client)
	events[client] = nil
	client:close()
	return LEAVE
end

-- Sends data from position at on, in a callback of its own when the socket is full.
local function send(client, data, at)
	local last, err, partial = client:send(data, at)
	if last then
		return true
	end
	if err ~= "timeout" then
		return nil, err
	end
	return false, partial + 1
end

local function serve(client)
	local rest, at
	local reading, writing

	function reading()
		local data, err, partial = client:receive(SIZE)
		data = data or partial
		if err and err ~= "timeout" then
			return close(client)
		end
		if #data == 0 then
			return
		end
		local done, where = send(client, data, 1)
		if done then
			return
		end
		if done == nil then
			return close(client)
		end
		rest, at = data, where
		events[client] = base:addevent(client, EV_WRITE, writing)
		return LEAVE
	end

	function writing()
		local done, where = send(client, rest, at)
		if done == nil then
			return close(client)
		end
		if not done then
			at = where
			return
		end
		events[client] = base:addevent(client, EV_READ, reading)
		return LEAVE
	end

	events[client] = base:addevent(client, EV_READ, reading)
end

events[listener] = base:addevent(listener, EV_READ, function()
	local client = listener:accept()
	if client then
		client:settimeout(0)
		client:setoption("tcp-nodelay", true)
		serve(client)
	end
end)

local _, port = listener:getsockname()
print("port " .. port)
io.stdout:flush()
base:loop()
