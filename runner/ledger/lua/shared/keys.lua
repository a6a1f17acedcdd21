-- The namespace and the keys in it: KEYS[1] is the namespace (NS below). Every other key is derived from it in
-- Lua; Redis Cluster is not supported, so keys need not be named by the caller.

local NS = KEYS[1]

local CLAIMS, LEASES = NS .. ':claims', NS .. ':leases'
local DELAYED, EXPIRING, PRUNABLE = NS .. ':delayed', NS .. ':expiring', NS .. ':prunable'
local PAUSED, PARKED, LIMITS = NS .. ':paused', NS .. ':parked', NS .. ':limits'
local TERMINATING, IDS = NS .. ':terminating', NS .. ':ids'

local function run_key(id) return NS .. ':run:' .. id end
local function log_key(id) return NS .. ':log:' .. id end
local function meta_key(id) return 'celery-task-meta-' .. id end
local function state_key(state) return NS .. ':state:' .. state end
local function job_key(job, state) return NS .. ':job:' .. job .. ':' .. state end
