-- rate-limit where nodes share a store: the gate (portico/gate/limits.py) leases requests of a key's window from the
-- counts of all nodes, and each worker lets its lease through without asking again.
local pcall, tostring, abs, ceil, max, min = pcall, tostring, math.abs, math.ceil, math.max, math.min
local QUESTION = '{"limit":"%s","key":"%s","capacity":%d,"seconds":%d,"wanted":%d}'
local MILLISECONDS = 20000 -- a gate that was never asked before has to start
local REST = 20 -- seconds in which a gate that did not answer is not asked
local AGAIN = 5 -- seconds that a refusal of ours alone holds at most
local MOST = 10000 -- keys
local leases, shares = P.gate.answers(MOST), P.gate.answers(MOST)
local rests_until, said = 0, false -- and whether it was said that the gate does not answer

-- What is known of a key; nothing where it is of a time that has not come yet: clocks are set back, too.
local function known(kept, name, now)
  local found = kept:get(name, now)
  if found and found.since <= now then return found end
end

-- Adds what the gate has granted to what is left of the same window.
local function keep(name, now, granted, till)
  local lease = known(leases, name, now)
  if not lease or abs(lease.till - till) > 1 then lease = {held = 0, used = 0} end
  lease.held, lease.since, lease.till = lease.held + granted, now, till
  lease.used_up = granted == 0
  leases:keep(name, lease, till)
  return lease
end

local function ask(visit, action, key, wanted)
  local question = QUESTION:format(action.limit, key, action.capacity, action.seconds, wanted)
  local answer = P.gate.ask(visit, "/limits", question, MILLISECONDS, true)
  return answer.granted + 0, answer.seconds + 0 -- an error where it is another answer
end

-- The worker's own share of a window, while the gate does not answer.
local function alone(name, action, now)
  local share = known(shares, name, now)
  if not share then
    share = {used = 0, since = now, till = now + action.seconds}
    shares:keep(name, share, share.till)
  end
  if share.used >= action.share then return min(AGAIN, share.till - now) end
  share.used = share.used + 1
end

-- Lets one request of the lease through, or says for how many seconds there is none.
local function spend(lease, now)
  if lease.held > 0 then
    lease.held, lease.used = lease.held - 1, lease.used + 1
    return true
  end
  return lease.used_up, lease.till - now
end

-- Seconds that the visitor has to wait; nothing where the request is within the limit.
local function wait_of(visit, action, key)
  local name, now = action.limit .. key, P.gate.now(visit)
  local lease = known(leases, name, now)
  if lease then
    local settled, seconds = spend(lease, now)
    if settled then return seconds end
  end
  if rests_until > now and rests_until - now <= REST then return alone(name, action, now) end
  local done, granted, seconds = pcall(ask, visit, action, key, max(1, lease and lease.used or 0))
  if not done then
    if not said then visit.handle:logErr("policy: " .. action.apart .. ": " .. P.reason_of(granted)) end
    said, rests_until = true, P.gate.now(visit) + REST
    return alone(name, action, now)
  end
  said = false
  -- Counted from before the question: here the window ends no later than there.
  local _, left = spend(keep(name, now, granted, now + seconds), now)
  return left
end

--- Counts the visit for a key (a text), and ends it where the limit is reached and enforced.
function P.count_together(visit, action, key)
  local seconds = wait_of(visit, action, P.hex.encode(P.hash.sha256(key)))
  if seconds and action.enforce then
    P.respond(visit, 429, {["retry-after"] = tostring(max(1, ceil(seconds)))}, "")
    return true
  end
  visit:leave("rate_limit", {{"bucket_key", key}, {"limited", seconds ~= nil}})
  return false
end
