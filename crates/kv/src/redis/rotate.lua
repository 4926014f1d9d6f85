-- KEYS: family. ARGV: presented id, next id, grace in ms, time to live in ms. The record is that of begin_rotation.lua.
local held = redis.call('GET', KEYS[1])
if not held then
    return {'absent', false}
end
local since_ms, active, parent = string.match(held, '^(%d+) (%S+) (%S*)$')
if not since_ms then
    return redis.error_reply('CORRUPT not a family')
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local presented, next_id = ARGV[1], ARGV[2]

local function activate(its_parent)
    local record = string.format('%.0f', now_ms) .. ' ' .. next_id .. ' ' .. its_parent
    redis.call('SET', KEYS[1], record, 'PX', ARGV[4])
end

if presented == active then
    activate(presented)
    return {'rotated', false}
end
if presented == parent and parent ~= '' then
    if now_ms - tonumber(since_ms) <= tonumber(ARGV[3]) then
        return {'repeated', active}
    end
    activate(parent)
    return {'repeated', next_id}
end
redis.call('DEL', KEYS[1])
return {'reused', false}
