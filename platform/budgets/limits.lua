-- Counters that look back from now: each a hash of 61 pieces, a 60th of its period wide. The piece that is leaving
-- counts whole, so that never more than the amount passes in any period.
--
-- KEYS: one a limit. ARGV: the mode ("take": all of them or none; "add": whatever they hold), then per limit the
-- amount, the period in seconds, and how many are wanted; 0 asks whether any are left.
-- Answers per limit: used, milliseconds until what is wanted fits (0: it does), milliseconds until nothing is used.
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local answer, fits = {}, true

local function read(key, piece, slot)
  local fields, used, slots = redis.call('HGETALL', key), 0, {}
  for i = 1, #fields, 2 do
    local at, count = tonumber(fields[i]), tonumber(fields[i + 1])
    if at < slot - 60 then
      redis.call('HDEL', key, fields[i])
    else
      used = used + count
      slots[#slots + 1] = {at, count}
    end
  end
  table.sort(slots, function(a, b) return a[1] < b[1] end)
  return used, slots
end

for i, key in ipairs(KEYS) do
  local amount, period, wanted = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local piece = period * 1000 / 60
  local slot = math.floor(ms / piece)
  local used, slots = read(key, piece, slot)
  local need, wait, left = math.max(wanted, 1), 0, used
  if left + need > amount then
    wait = period * 1000
    for _, entry in ipairs(slots) do
      left = left - entry[2]
      if left + need <= amount then
        wait = math.ceil((entry[1] + 61) * piece - ms)
        break
      end
    end
    fits = false
  end
  local last = slots[#slots]
  answer[#answer + 1] = used
  answer[#answer + 1] = wait
  answer[#answer + 1] = last and math.ceil((last[1] + 61) * piece - ms) or 0
end

if ARGV[1] == 'add' or fits then
  for i, key in ipairs(KEYS) do
    local period, wanted = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    if wanted > 0 then
      local slot = math.floor(ms / (period * 1000 / 60))
      redis.call('HINCRBY', key, string.format('%d', slot), wanted)
      redis.call('PEXPIRE', key, math.ceil(period * 1000 * 62 / 60))
    end
  end
end
return answer
