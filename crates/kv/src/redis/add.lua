-- KEYS: counter. ARGV: what to add; time to live of a new counter in ms, 0 for none.
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' and sum.err then
    return redis.error_reply('CORRUPT not a counter, or more than 64 bits')
end
if is_new and ARGV[2] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
-- As text: numbers of scripts have 53 bits.
return redis.call('GET', KEYS[1])
