-- The namespace and its keys: KEYS[1] is the namespace (NS below). Every other key is derived from it in Lua. Redis
-- Cluster is not supported, so the caller need not name the keys.
--
-- A script gets only the lines that define names it uses, so each definition must be on one line.

local NS = KEYS[1]

local CLAIMS = NS .. ':claims'
local LEASES = NS .. ':leases'
local DELAYED = NS .. ':delayed'
local EXPIRING = NS .. ':expiring'
local PRUNABLE = NS .. ':prunable'
local ARCHIVED = NS .. ':archived'
local ARCHIVE = NS .. ':archive'
local ARCHIVER = NS .. ':archiver'
local FORGOTTEN = NS .. ':forgotten'
local PAUSED = NS .. ':paused'
local PARKED = NS .. ':parked'
local LIMITS = NS .. ':limits'
local RATES = NS .. ':rates'
local REQUIRED = NS .. ':required'
local TERMINATING = NS .. ':terminating'
local IDS = NS .. ':ids'
local QUEUES = NS .. ':queues'
local DEAD_LETTERS = NS .. ':dead-letters'
local OUTBOX = NS .. ':outbox'
local HINTS = NS .. ':hints'
local EVENTS = NS .. ':events'
local METRICS = NS .. ':metrics'
local SUCCEEDED = NS .. ':succeeded'
local FAILED_IN_ROW = NS .. ':failed-in-row'
local SILENT = NS .. ':silent'
local OVERRUNNING = NS .. ':overrunning'
local OVERFULL = NS .. ':overfull'
local OVERFULL_RULES = NS .. ':overfull-rules'
local SCHEDULES = NS .. ':schedules'
local SLOTS = NS .. ':slots'
local BACKFILLS = NS .. ':backfills'
local FLOWS = NS .. ':flows'
local REMOVED_FLOWS = NS .. ':removed-flows'
local WORKERS = NS .. ':workers'
local SWEEP = NS .. ':sweep'

local function run_key(id) return NS .. ':run:' .. id end
local function log_key(id) return NS .. ':log:' .. id end
local function meta_key(id) return 'celery-task-meta-' .. id end
local function changed_key(id) return NS .. ':changed:' .. id end
local function state_key(state) return NS .. ':state:' .. state end
local function job_key(job, state) return NS .. ':job:' .. job .. ':' .. state end
local function step_state_key(state) return NS .. ':step-state:' .. state end
local function step_job_key(job, state) return NS .. ':step-job:' .. job .. ':' .. state end
local function submission_key(job, key) return NS .. ':key:' .. job .. ':' .. key end
local function slot_key(job, slot) return NS .. ':slot:' .. job .. ':' .. slot end
local function backfill_key(id) return NS .. ':backfill:' .. id end
local function flow_key(id) return NS .. ':flow:' .. id end
local function flow_runs_key(id) return NS .. ':flow-runs:' .. id end
local function flow_states_key(id, state) return NS .. ':flow-states:' .. id .. ':' .. state end
local function unique_key(job, digest) return NS .. ':unique:' .. job .. ':' .. digest end
local function queue_key(queue, priority) return NS .. ':queue:' .. queue .. ':' .. priority end
local function ring_key(queue) return NS .. ':ring:' .. queue end
local function bell_key(queue) return NS .. ':bell:' .. queue end
local function binding_key(queue) return NS .. ':binding:' .. queue end
local function permanent_binding_key(queue) return NS .. ':binding-permanent:' .. queue end
local function parked_key(job) return NS .. ':parked:' .. job end
local function holders_key(group) return NS .. ':holders:' .. group end
local function waiting_key(group) return NS .. ':waiting:' .. group end
local function starts_key(group) return NS .. ':starts:' .. group end
local function passes_key(group) return NS .. ':passes:' .. group end
local function rated_key(group) return NS .. ':rated:' .. group end
local function requiring_key(job, within) return NS .. ':requiring:' .. job .. ':' .. within end
local function worker_key(worker) return NS .. ':worker:' .. worker end
local function known_key(digest) return NS .. ':known:' .. digest end
local function audit_key(kind) return NS .. ':audit' .. kind end
