-- Commit one partition if its version and nonce are still those its owner last read.
-- KEYS: progress, customers, statistics, outbox, erasures, seen
-- ARGV: expected version, expected nonce, then ten lists, each as its length and its items:
--   progress pairs, customer pairs, deleted customers, statistics pairs, deleted statistics,
--   outbox pairs, deleted outbox versions, erasure pairs, keys to empty first (1-based),
--   (byte offset, bytes) pairs for the dedup ring
-- Returns 1 if committed, 0 if another owner has written, or a key was evicted or deleted since the
-- last commit, unless all are emptied first.
--
-- Redis does not roll back a script that fails half way, so every possible failure is checked
-- before the first write. Types, permissions and the size of the ring are checked here. Redis itself
-- checks memory, replicas, a full disk and a read-only replica, only at the first write.
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local wanted = i < 6 and 'hash' or 'string'
  if kind ~= wanted and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not a ' .. wanted .. '; nothing was written')
  end
end

-- Permissions may be revoked while workers run. Redis before 7.0 cannot check them.
if redis.acl_check_cmd then
  for i, key in ipairs(KEYS) do
    local hash = i < 6
    if not (redis.acl_check_cmd('UNLINK', key)
        and (not hash or redis.acl_check_cmd('HSET', key, 'f', 'v'))
        and (not hash or redis.acl_check_cmd('HDEL', key, 'f'))
        and (hash or redis.acl_check_cmd('SETRANGE', key, '0', 'v'))) then
      return redis.error_reply('NOPERM The user executing the script may not write to ' .. key .. '; nothing was written')
    end
  end
end

-- One integer a field, for that is what earlier releases of `verify` read. A worker of theirs writes
-- no sizes and leaves those of an earlier version, which say nothing.
local SIZES = {'sized_version', 'sized_customers', 'sized_statistics', 'sized_outbox', 'sized_erasures', 'sized_seen'}
local function sizes(version)
  local found = {version}
  for i = 2, 5 do
    found[i] = tostring(redis.call('HLEN', KEYS[i]))
  end
  found[6] = redis.call('TYPE', KEYS[6]).ok == 'none' and '0' or '1'
  return found
end

local now = redis.call('HMGET', KEYS[1], 'version', 'nonce')
if (now[1] or '0') ~= ARGV[1] or (now[2] or '') ~= ARGV[2] then
  return 0
end

local at = 3
local lists = {}
for list = 1, 10 do
  local n = tonumber(ARGV[at])
  lists[list] = {at + 1, at + n}
  at = at + 1 + n
end

if lists[9][2] < lists[9][1] then
  local written = redis.call('HMGET', KEYS[1], unpack(SIZES))
  if written[1] and written[1] == now[1] and table.concat(written, ':') ~= table.concat(sizes(now[1]), ':') then
    return 0
  end
end

for i = lists[9][1], lists[9][2] do
  redis.call('UNLINK', KEYS[tonumber(ARGV[i])])
end

-- Write the ring first, and of two parts the one with the higher offset first: only these writes
-- can exceed the server's maximum string length (proto-max-bulk-len).
local first, last, step = lists[10][1], lists[10][2] - 1, 2
if last > first and tonumber(ARGV[last]) > tonumber(ARGV[first]) then
  first, last, step = last, first, -2
end
for i = first, last, step do
  redis.call('SETRANGE', KEYS[6], ARGV[i], ARGV[i + 1])
end

-- Lua's stack limits unpack(); an even chunk size keeps pairs together.
local CHUNK = 4000
local function each(command, key, list)
  local first, last = lists[list][1], lists[list][2]
  for i = first, last, CHUNK do
    redis.call(command, key, unpack(ARGV, i, math.min(i + CHUNK - 1, last)))
  end
end

each('HSET', KEYS[2], 2)
each('HDEL', KEYS[2], 3)
each('HSET', KEYS[3], 4)
each('HDEL', KEYS[3], 5)
each('HSET', KEYS[4], 6)
each('HDEL', KEYS[4], 7)
each('HSET', KEYS[5], 8)
each('HSET', KEYS[1], 1)
for i, size in ipairs(sizes(redis.call('HMGET', KEYS[1], 'version')[1])) do
  redis.call('HSET', KEYS[1], SIZES[i], size)
end
return 1
