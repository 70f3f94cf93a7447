-- The Debian package that cpack makes: what is in it, what it depends on, that
-- dpkg takes it on this system, and that what it installs runs.

local shell = require "spec.support.shell"

local build = os.getenv "LLMPOOL_BUILD" or "build"
local must, run = shell.must, shell.run

-- What is installed, and where, is in the quick run by install_spec.lua.
describe("the Debian package #once #host #slow", function()
  local place, deb

  setup(function()
    place = must("mktemp -d"):gsub("\n", "")
    -- that generator builds nothing first: these specs run in what is built
    must(("cd %s && cpack -G DEB -D CPACK_DEBIAN_COMPRESSION_TYPE=gzip " ..
          "-D CPACK_CMAKE_GENERATOR=Ninja -B %s"):format(build, place))
    deb = must(("ls %s/*.deb"):format(place)):gsub("\n", "")
  end)

  teardown(function() must("rm -rf " .. place) end)

  it("depends on what it is linked with", function()
    local depends = must("dpkg-deb -f " .. deb .. " Depends")
    for _, name in ipairs { "libc6", "liblua5.4-0", "libuv1",
                            "libreadline8" } do
      assert.truthy(depends:find(name, 1, true), depends)
    end
  end)

  it("has the version of the project, a maintainer and a description",
     function()
    local version = must(build .. "/llmpool --version"):match "^llmpool (%S+)"
    assert.same(version .. "\n", must("dpkg-deb -f " .. deb .. " Version"))
    assert.same("llmpool\n", must("dpkg-deb -f " .. deb .. " Package"))
    assert.matches("%S", must("dpkg-deb -f " .. deb .. " Maintainer"))
    assert.matches("LLM clients", must("dpkg-deb -f " .. deb .. " Description"))
  end)

  it("holds the program, the module, the library and their words", function()
    local files = must("dpkg-deb -c " .. deb)
    for _, name in ipairs {
      "bin/llmpool", "lib/lua/5.4/llmpool.so", "lib/libllmpool.so.0",
      "include/llmpool.h", "lib/pkgconfig/llmpool.pc",
      "share/man/man1/llmpool.1.gz", "share/doc/llmpool/copyright",
      "share/doc/llmpool/changelog.gz", "share/doc/llmpool/README.md",
      "share/doc/llmpool/manual/reference.md", "share/llmpool/meta/pool.lua",
      "share/bash-completion/completions/llmpool",
      "share/zsh/vendor-completions/_llmpool",
      "share/fish/vendor_completions.d/llmpool.fish",
    } do
      assert.truthy(files:find("./usr/" .. name .. "\n", 1, true) or
                    files:find("./usr/" .. name .. " ", 1, true), name)
    end
    assert.is_nil(files:find("llmpool/init.lua", 1, true))
  end)

  -- Into a root of its own, by the list of what this system has: dpkg refuses
  -- it where a package that it depends on is missing.
  it("is installed by dpkg, and runs", function()
    if run "id -u" ~= "0\n" then
      pending "only root may run dpkg"
      return
    end
    must(([[
      mkdir -p %s/admin %s/system && cp /var/lib/dpkg/status %s/admin &&
      mkdir -p %s/admin/updates %s/admin/info &&
      dpkg --admindir=%s/admin --instdir=%s/system --force-script-chrootless \
        --force-bad-path -i %s]]):gsub("%%s", function()
        return place end, 7):gsub("%%s", deb))
    local program = place .. "/system/usr/bin/llmpool"
    assert.same("table\tfunction\n", must(program ..
      [[ -e 'print(type(require "llmpool"), type(require "llmpool".spawn))']]))
    assert.matches("%- Lua with a pool", must("man -l " .. place ..
      "/system/usr/share/man/man1/llmpool.1.gz 2>/dev/null || zcat " .. place ..
      "/system/usr/share/man/man1/llmpool.1.gz"):gsub("\\", ""))
    assert.matches("install ok installed",
      must(("dpkg-query --admindir=%s/admin -s llmpool"):format(place)))
  end)

  it("is in order by what lintian finds, but for what it cannot have",
     function()
    if not select(2, run "command -v lintian") then
      return pending "lintian is not installed"
    end
    local allowed = { -- no address, one package for all, CPack's own scripts
      ["bogus-mail-host"] = true, ["lacks-ldconfig-trigger"] = true,
      ["bogus-mail-host-in-debian-changelog"] = true,
      ["maintscript-calls-ldconfig"] = true,
      ["link-to-shared-library-in-wrong-package"] = true,
      ["package-name-doesnt-match-sonames"] = true,
      ["pkg-config-unavailable-for-cross-compilation"] = true,
    }
    local found = {}
    for line in run("lintian " .. deb):gmatch "[^\n]+" do
      local tag = line:match "^[EW]: %S+ (%S+)"
      if tag and not allowed[tag] then found[#found + 1] = line end
    end
    assert.same({}, found)
  end)

  it("has a README whose links lead to its manual", function()
    must(("dpkg-deb -x %s %s/y"):format(deb, place))
    local doc, seen = place .. "/y/usr/share/doc/llmpool/", 0
    local file <close> = assert(io.open(doc .. "README.md"))
    for path in file:read "a":gmatch "%]%(([%w_/%-.]+%.md)%)" do
      seen = seen + 1
      must("test -s " .. doc .. path)
    end
    assert.is_true(seen > 5, seen)
  end)

  it("brings real providers where it was built with them", function()
    must(("dpkg-deb -x %s %s/x"):format(deb, place))
    if not run(("ls %s/x/usr/lib/lua/5.4/llmpool/http.so"):format(place))
      :find "No such file" then
      assert.same("function\n", must(place .. "/x/usr/bin/llmpool -e " ..
        [['print(type(require "llmpool.http".request))']]))
    end
  end)
end)

describe("the rockspec #once", function()
  local path = "scripts/llmpool-scm-0.rockspec"

  it("says what LuaRocks asks for", function()
    local rock = {}
    assert(loadfile(path, "t", rock))()
    assert.same("llmpool", rock.package)
    assert.same("scm-0", rock.version)
    assert.same("MIT", rock.description.license)
    assert.same("cmake", rock.build.type)
    local _, ran = run "command -v luarocks"
    if ran then must("luarocks --lua-version 5.4 lint " .. path) end
  end)
end)
