-- The health of an object of bitbuilder.cloud, of any kind, as Argo CD names it.
local health = {status = "Progressing", message = "no controller has looked at it yet"}

local ready = nil
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Ready" then
      ready = condition
    end
  end
end

if ready ~= nil then
  health.message = (ready.reason or "") .. ": " .. (ready.message or "")
end
if obj.metadata.deletionTimestamp ~= nil then
  -- What keeps it is told, such as a protection that somebody has to take off.
  if ready == nil or ready.status == "True" then
    health.message = "it is being deleted"
  end
  return health
end
if ready == nil then
  return health
end
-- A Ready of an earlier spec says nothing of this one.
if ready.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and ready.observedGeneration < obj.metadata.generation then
  health.message = "the last change was not looked at yet"
  return health
end
if ready.status == "True" then
  health.status = "Healthy"
elseif ready.status == "False" then
  local passing = {Pending = true, Waiting = true, Deleting = true}
  if ready.reason == "Paused" then
    health.status = "Suspended"
  elseif not passing[ready.reason or ""] then
    health.status = "Degraded"
  end
end
return health
