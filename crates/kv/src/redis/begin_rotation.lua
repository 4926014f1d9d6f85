-- KEYS: family. ARGV: first id, time to live in ms. The record is: when the active id became so (ms), it, its parent or nothing.
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('SET', KEYS[1], now_ms .. ' ' .. ARGV[1] .. ' ', 'PX', ARGV[2])
