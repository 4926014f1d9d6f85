-- KEYS: windows. ARGV: for each its maximum and its length in ms. Answers the place of a full window and the time until
-- it ends in ms; 0 if there is none.
local place, longest = 0, 0
for i, key in ipairs(KEYS) do
    local held = redis.call('GET', key)
    if held and not string.match(held, '^%d+$') then
        return redis.error_reply('CORRUPT not a window')
    end
    if (tonumber(held) or 0) >= tonumber(ARGV[2 * i - 1]) then
        local left = redis.call('PTTL', key)
        if left < 0 then
            left = tonumber(ARGV[2 * i])
        end
        if place == 0 or left > longest then
            place, longest = i, left
        end
    end
end
if place > 0 then
    return {place, longest}
end
for i, key in ipairs(KEYS) do
    if redis.call('INCR', key) == 1 then
        redis.call('PEXPIRE', key, ARGV[2 * i])
    end
end
return {0, 0}
