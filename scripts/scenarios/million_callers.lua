-- million_callers: a million callers ask at once. They wait in one line, in
-- order of arrival, and all are served: the line costs memory, not time.
-- Smaller: --set callers=10000
local scenario = require "llmpool.scenario"
local set = scenario.settings { callers = 1000000 }

return scenario {
  name = "million callers",
  models = { m = { clients = scenario.clients(1000, { latency = 1 }) } },
  traffic = { "once", callers = set.callers },
  expect = {
    "served_rate == 100 %",
    function(report)
      local rounds = math.ceil(set.callers / 1000)
      return math.abs(report.seconds - rounds) < 1e-6,
        ("a thousand a second: %d s expected, got %g"):format(rounds,
        report.seconds)
    end,
    function(report)
      local line = math.max(0, set.callers - 1000)
      return report.queue.max == line,
        ("%d in line expected, got %d"):format(line, report.queue.max)
    end,
  },
}
