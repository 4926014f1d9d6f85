-- KEYS: version. ARGV: record, time to live in ms. The first 20 bytes of a record are ordered as versions are.
local held = redis.call('GET', KEYS[1])
if held then
    if not string.match(held, '^' .. string.rep('%d', 20) .. '[+-]') then
        return redis.error_reply('CORRUPT not a version')
    end
    if string.sub(held, 1, 20) > string.sub(ARGV[1], 1, 20) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
