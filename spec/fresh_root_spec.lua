-- The Debian package in a root that has nothing else: a minimal Debian 12 of
-- debootstrap's, in which apt-get finds by itself what the package depends on.
-- There a newcomer's first commands run. Only where debootstrap is installed
-- and may be run (it takes root, a mirror and a minute).

local shell = require "spec.support.shell"

local build = os.getenv "LLMPOOL_BUILD" or "build"
local must, run = shell.must, shell.run

local function missing()
  if run "id -u" ~= "0\n" then return "only root may make a root" end
  if not select(2, run "command -v debootstrap") then
    return "debootstrap is not installed (apt-get install debootstrap)"
  end
end

describe("the Debian package in a fresh root #once #host #slow", function()
  local place, skipped

  -- A shell's commands in the root, as in a container.
  local function inside(commands)
    return must(("unshare -m sh -c 'mount -t proc proc %s/debian/proc && " ..
                 "exec chroot %s/debian sh -e' <<'END'\n%s\nEND\n"):format(
                 place, place, commands))
  end

  setup(function()
    skipped = missing()
    if skipped then return end
    place = must("mktemp -d"):gsub("\n", "")
    local said, made = run("debootstrap --variant=minbase bookworm " .. place ..
                           "/debian")
    if not made then
      skipped = "debootstrap failed: " .. said:match "[^\n]*\n?$"
      return
    end
    must(("cp /etc/resolv.conf %s/debian/etc/; cp /etc/apt/apt.conf.d/* " ..
          "%s/debian/etc/apt/apt.conf.d/"):format(place, place))
    must(("cd %s && cpack -G DEB -D CPACK_DEBIAN_COMPRESSION_TYPE=gzip " ..
          "-D CPACK_CMAKE_GENERATOR=Ninja -B %s/debian/srv"):format(build,
          place))
    inside [[
      export DEBIAN_FRONTEND=noninteractive
      apt-get update -q
      apt-get install -q -y --no-install-recommends /srv/*.deb]]
  end)

  teardown(function()
    if place then must("rm -rf " .. place) end
  end)

  local function root_test(title, test)
    it(title, function()
      if skipped then return pending(skipped) end
      test()
    end)
  end

  root_test("runs all that a newcomer tries", function()
    local said = inside [[
      llmpool doctor
      cd /srv && llmpool new shop >/dev/null && cd shop
      llmpool main.lua && llmpool check main.lua && llmpool sim scenario.lua
      llmpool test || echo "status $?"]]
    assert.matches("\nllmpool.http +loads\n", said)
    assert.matches("Response to: Question 3\n", said)
    assert.matches("\nok    served_rate == 1", said)
    assert.matches("llmpool: test needs busted, which is not in PATH %(on " ..
                   "Debian: apt%-get install lua%-busted%)\nstatus 1\n", said)
  end)

  root_test("serves a plain lua5.4, busted, man, and C programs", function()
    local said = inside [[
      export DEBIAN_FRONTEND=noninteractive
      apt-get install -q -y --no-install-recommends lua5.4 lua-busted man-db \
        pkg-config gcc libc6-dev >/dev/null 2>&1
      cd /srv/shop && llmpool test -o TAP
      lua5.4 -e 'print(require "llmpool"._VERSION, require "llmpool.http")'
      man llmpool | head -n 4
      echo '#include <llmpool.h>
        int main(void) {
          llm_pool *pool = llm_pool_new(0);
          int lent = (int)llm_pool_lent(pool);
          llm_pool_unref(pool);
          return lent + 7;
        }' >/srv/p.c
      cc -o /srv/p /srv/p.c $(pkg-config --cflags --libs llmpool)
      /srv/p || echo "status $?"]]
    assert.matches("\n1..3\nllmpool [%d.]+\ttable: ", said)
    assert.matches("llmpool %- Lua with a pool of LLM clients", said)
    assert.matches("status 7\n$", said)
  end)
end)
