-- world: what specs of llmpool.http need of the world outside: scripts in a
-- program of their own, certificates, an nginx.

local files = require "spec.support.files"
local shell = require "spec.support.shell"

local world = {}

world.program = os.getenv "LLMPOOL" or "build/llmpool"

-- What requests of whoever runs the tests may need is not for these.
local CLEAN = "-u CURL_CA_BUNDLE -u SSL_CERT_FILE -u http_proxy " ..
  "-u https_proxy -u HTTPS_PROXY -u all_proxy -u ALL_PROXY -u no_proxy " ..
  "-u NO_PROXY"

--- Runs a script in the program, with `llmpool` and `http` there.
-- @return as shell.run
function world.script(code, environment)
  code = 'local llmpool = require "llmpool"\n'
    .. 'local http = require "llmpool.http"\n' .. code
  return files.with(code, function(path)
    return shell.run(("env %s %s timeout 20 %s %s"):format(CLEAN,
      environment or "", world.program, path))
  end)
end

--- A directory with ca.pem, and of that authority cert.pem and expired.pem for
-- 127.0.0.1, both with key.pem.
function world.certificates()
  local directory = shell.out "mktemp -d"
  shell.must(([[cd %s && chmod 755 . &&
    new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes" &&
    openssl req -x509 $new -days 2 -keyout ca.key -out ca.pem \
      -subj /CN=authority &&
    openssl req $new -keyout key.pem -out request.pem -subj /CN=server &&
    printf 'subjectAltName=IP:127.0.0.1\n' > names &&
    for one in "cert 2" "expired -1"; do
      openssl x509 -req -days ${one#* } -in request.pem -CA ca.pem \
        -CAkey ca.key -CAcreateserial -extfile names -out ${one%% *}.pem
    done]]):format(directory))
  return directory
end

--- Starts nginx in the directory, on a port that it finds; nil: there is none.
-- @param conf string: $port and $dir are replaced
function world.nginx(directory, conf)
  if not os.execute "command -v nginx >/dev/null" then return nil end
  local frame = [[
    daemon on; master_process off; pid $dir/pid; error_log $dir/log;
    events { worker_connections 1024; }
    http { access_log off;
      client_body_temp_path $dir/1; proxy_temp_path $dir/2;
      fastcgi_temp_path $dir/3; uwsgi_temp_path $dir/4; scgi_temp_path $dir/5;
      %s } ]]
  for _ = 1, 10 do
    local port = math.random(20000, 30000)
    files.write(directory .. "/conf", (frame:format(conf):gsub("%$(%l+)",
      { dir = directory, port = port })))
    local output, ok = shell.run("nginx -c " .. directory .. "/conf")
    if ok then return port end
    assert(output:find "in use" or output:find "http2", output)
  end
end

function world.stop_nginx(directory)
  shell.run("kill $(cat " .. directory .. "/pid)")
end

return world
